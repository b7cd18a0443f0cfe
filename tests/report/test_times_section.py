"""What the report says of the time that stages took, from the reports of runs."""

import json

import pytest

from musicrec.report.times_section import RUNS, times


@pytest.fixture
def wrote(store):
    """Keep the report of a run of a day of November 2026."""

    def wrote(day, content=None, **stages):
        run = {"started_at": f"2026-11-{day:02d}T02:00:00+00:00", "stages": stages}
        path = store.out / RUNS / f"202611{day:02d}T020000.000000Z.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(run) if content is None else content)

    return wrote


def took(seconds, made, cpu=None):
    return {"seconds": seconds, "fresh": made, "cpu_seconds": cpu}


def test_a_stage_took_what_it_took_when_it_last_made_something(store, wrote):
    wrote(1, catalog=took(1.0, 9), extract=took(20.0, 8, 4.0), train=took(7.0, 8, None))
    wrote(2, catalog=took(0.5, 0), extract=took(3.0, 1, 0.5), train=took(0.1, 0))
    found = {time.stage: (time.began[8:10], time.made, time.seconds) for time in times(store)}
    assert found == {"catalog": ("01", 9, 1.0), "extract": ("02", 1, 3.0), "train": ("01", 8, 7.0)}
    assert {time.stage: time.cpu_ms_a_song for time in times(store)} == {
        "catalog": None, "extract": 500.0, "train": None,
    }  # fmt: skip


def test_the_run_that_writes_the_page_counts_too(store, wrote):
    wrote(1, extract=took(20.0, 8))
    now = ("2026-11-03T02:00:00+00:00", {"extract": took(2.0, 1), "report": {}})
    assert [(time.stage, time.began, time.made) for time in times(store, now)] == [("extract", now[0], 1)]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"stages": {}}', '{"started_at": 3, "stages": {}}', '{"started_at": "x", "stages": {}}',
     '{"started_at": "2026-11-02", "stages": [1]}', '{"started_at": "2026-11-02", "stages": {"extract": 3}}',
     '{"started_at": "2026-11-02", "stages": {"extract": {"seconds": "many"}}}'],
)  # fmt: skip
def test_a_damaged_report_of_a_run_takes_nothing_from_the_others(store, wrote, content):
    wrote(1, extract=took(20.0, 8))
    wrote(2, content)
    assert [time.stage for time in times(store)] == ["extract"]
    assert times(store)[0].seconds == 20.0


def test_without_a_run_there_is_nothing_to_tell(store):
    assert times(store) == []
