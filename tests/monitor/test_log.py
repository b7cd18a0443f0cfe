"""What a run says of itself: lines for people by default, JSON for machines when asked."""

import datetime
import json
import logging
import os
import time

import pytest

from musicrec.cli import main
from musicrec.cli.common import show
from musicrec.monitor import log, progress
from musicrec.monitor.progress import Progress
from musicrec.stages.run_report import reported
from musicrec.store.outcomes import Counts
from musicrec.store.store import Store


@pytest.fixture
def as_json(monkeypatch):
    monkeypatch.setenv("MUSICREC_LOG", "json")
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)


def objects(text: str) -> list[dict]:
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert datetime.datetime.fromisoformat(line.pop("time")).tzinfo
    return lines


def test_progress_is_one_object_a_line(as_json, capsys):
    with Progress("extract", 8, done=1) as bar:
        bar.advance()
        bar.advance(2, failed=1)
    text, lines = capsys.readouterr()
    first, second = objects(lines)
    assert text == ""
    assert first | {"seconds": 0} == {
        **{"level": "info", "event": "progress", "stage": "extract", "done": 2, "total": 8},
        **{"failed": None, "note": "", "seconds": 0},
    }
    assert (second["done"], second["failed"], second["note"]) == (4, 1, "1 failed")


def test_the_end_of_a_stage_is_its_counts_and_goes_where_progress_goes(as_json, capsys, tmp_path):
    def work():
        time.sleep(0.1)
        used = time.process_time()
        while time.process_time() < used + 0.1:
            pass
        return Counts("extract", 5, 2, 1, 3)

    started = time.monotonic()
    with reported(Store(tmp_path), "extract") as run:
        show(run.stage("extract", work))
    most = time.monotonic() - started
    text, lines = capsys.readouterr()
    assert text == ""
    (line,) = objects(lines)
    assert 0.2 <= line.pop("seconds") <= most + 0.001
    assert 0.08 <= line.pop("cpu_seconds") <= most * os.cpu_count()  # the system counts in hundredths
    counts = {"stage": "extract", "ok": 5, "skipped": 2, "failed": 1, "fresh": 3, "faults": [], "unread": []}
    assert line == {"level": "info", "event": "stage"} | counts


def test_by_default_people_read_the_same_line_as_ever(capsys):
    show(Counts("extract", 5, 2, 1, 3))
    assert capsys.readouterr() == ("extract: 5 ok + 2 skipped + 1 failed = 8 (3 decoded now)\n", "")


def test_an_error_is_an_object_too(as_json, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["similar", str(tmp_path)])
    (said,) = objects(capsys.readouterr().err)
    assert ended.value.code == 2
    assert (said["level"], said["event"]) == ("error", "error")
    assert "is not a musicrec OUT" in said["message"]


def test_a_program_that_has_its_own_handler_gets_the_records_and_nothing_is_printed(monkeypatch, capsys):
    class Records(logging.Handler):
        seen: list = []  # noqa: RUF012

        def emit(self, record):
            self.seen.append((record.getMessage(), record.event, record.fields))

    monkeypatch.setattr(log.LOGGER, "handlers", [Records()])
    monkeypatch.setattr(log.LOGGER, "level", logging.INFO)
    log.log_event("progress", "half done", done=1)
    assert Records.seen == [("half done", "progress", {"done": 1})]
    assert capsys.readouterr() == ("", "")


def test_of_a_refresh_every_stage_is_told_with_its_seconds(as_json, capsys, synthetic, tmp_path, ray_session):
    source = tmp_path / "songs"
    source.mkdir()
    for file in sorted(synthetic.rglob("*-02.*"))[:6]:
        (source / file.parent.name).mkdir(exist_ok=True)
        (source / file.parent.name / file.name).write_bytes(file.read_bytes())
    started = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        main(["refresh", str(tmp_path / "out"), "--source", str(source)])
    took = time.monotonic() - started
    said = objects(capsys.readouterr().err)
    told = [line for line in said if line["event"] == "stage"]
    assert [line["stage"] for line in told] == ["catalog", "extract", "train", "embed", "similar", "report"]
    assert ended.value.code == 0
    (foretold,) = [line for line in said if line["event"] == "too_few_genres"]
    assert "genre" in foretold["problem"]
    assert told[1].items() >= {"ok": 6, "failed": 0, "fresh": 6}.items()
    seconds = [line["seconds"] for line in told]
    assert 0.5 * took < sum(seconds) <= took  # stages are all that takes time, and none counts twice
