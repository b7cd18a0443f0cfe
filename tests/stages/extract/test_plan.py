"""The plan of a run, from tables and outcomes written by hand: which songs are decoded, left, kept and given up."""

import pyarrow as pa
import pytest

from musicrec.errors import ConfigError
from musicrec.files.parquet import write_parquet
from musicrec.schemas import FAILED, OK, SKIPPED, TRACKS
from musicrec.settings import CatalogSettings, ExtractSettings
from musicrec.stages.extract import faults
from musicrec.stages.extract.plan import Plan, plan, wanted_tracks, work_of
from musicrec.store.outcomes import Outcome, outcomes_table, save_outcomes
from musicrec.store.store import Store
from musicrec.store.table_parts import ROWS_FILE

SETTINGS = ExtractSettings()
OLD = "TypeError at musicrec/audio/ffmpeg.py:68: no; with musicrec 0.0.1"
TODAY = f"TypeError at musicrec/audio/ffmpeg.py:68: no; with {faults.versions()}"
PUBLISHED = {  # outcome of each song, and the tables that hold it
    "changed": (OK, None, None, ("features", "mel")),  # but of the file before
    "corrupt": (FAILED, "corrupt", "no frame", ()),
    "done": (OK, None, None, ("features", "mel")),
    "fault": (FAILED, "error", TODAY, ()),
    "half": (OK, None, None, ("features",)),
    "old-fault": (FAILED, "error", OLD, ()),
    "old-fault-again": (FAILED, "error", OLD, ()),
    "silent": (SKIPPED, "silent", None, ()),
}
SECONDS = {OK: 2.0, SKIPPED: 9.0, FAILED: 9.0}
STAGED = {"old-fault-again": (FAILED, "error", TODAY), "staged": (OK, None, None)}
SONGS = sorted({*PUBLISHED, *STAGED, "new"})


def fingerprint(song, content="content"):
    return SETTINGS.fingerprint(f"{content} of {song}")


def outcomes(rows):
    of_before = {"changed": "content before"}
    return outcomes_table(
        Outcome(song, "extract", *outcome, fingerprint(song, of_before.get(song, "content")), SECONDS[outcome[0]])
        for song, outcome in rows.items()
    )


def publish(store, name, content, rows=None):
    with store.new_version(name, SETTINGS, "0" * 16) as version:
        version.write_part(content)
        if rows is not None:
            write_parquet(version.folder / ROWS_FILE, rows)
        store.publish(version)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "out")
    store.create()
    tracks = [{"track_id": song, "uri": f"/{song}.wav", "content_hash": f"content of {song}"} for song in SONGS]
    publish(store, "tracks", pa.Table.from_pylist(tracks, TRACKS))
    published = outcomes({song: row[:3] for song, row in PUBLISHED.items()})
    save_outcomes(store, "extract", published, SETTINGS, "0" * 16)
    others = [Outcome(song, "catalog", FAILED, "missing", None, fingerprint(song), 1000.0) for song in SONGS]
    save_outcomes(store, "catalog", outcomes_table(others), CatalogSettings(source="/"), "0" * 16)
    for name in ("features", "mel"):
        held = [song for song, (*_, tables) in PUBLISHED.items() if name in tables]
        rows = published.select(["track_id", "fingerprint"])
        rows = rows.filter(pa.array([song in held for song in rows["track_id"].to_pylist()]))
        rows = rows.append_column("part", pa.array(["part.parquet"] * len(held)))
        publish(store, name, rows.select(["track_id"]), rows)
    store.work.stage(work_of(SETTINGS), "shard", outcomes(STAGED))
    store.settings.record(SETTINGS)
    return store


def names(tracks):
    return [track.track_id for track in tracks]


def lists(todo):
    return {name: names(getattr(todo, name)) for name in ("now", "left", "kept", "failed")}


def test_what_is_whole_is_kept_and_what_failed_is_not_tried_again(store):
    todo = plan(store, SETTINGS)
    assert lists(todo) == {
        "now": ["changed", "half", "new", "old-fault"],
        "left": [],
        "kept": ["done", "silent", "staged"],
        "failed": ["corrupt", "fault", "old-fault-again"],
    }
    assert (todo.n_known, names(todo.covered)) == (6, SONGS)
    assert todo.seconds_a_track == 2.0  # of songs that were decoded, by extract
    assert str(todo) == (
        "extract would decode 4 songs, leave 0 for a later run, keep 3 that are up to date and 3 that failed before = "
        "10; time: about 8.0 s on one CPU, at 2.000 s per song"
    )


def test_failed_songs_are_tried_again_when_asked_but_for_those_an_unfinished_run_has_tried(store):
    todo = plan(store, SETTINGS, retry_failed=True)
    assert names(todo.now) == ["changed", "corrupt", "fault", "half", "new", "old-fault"]
    assert names(todo.failed) == ["old-fault-again"]


def test_songs_beyond_the_limit_are_left_and_those_that_failed_stay_failed(store):
    todo = plan(store, SETTINGS, retry_failed=True, limit=2)
    assert lists(todo) == {
        "now": ["changed", "corrupt"],
        "left": ["half", "new"],
        "kept": ["done", "silent", "staged"],
        "failed": ["fault", "old-fault", "old-fault-again"],
    }
    assert names(todo.covered) == [song for song in SONGS if song not in ("half", "new")]


def test_songs_that_were_not_tried_are_left(store):
    todo = plan(store, SETTINGS)
    less = todo.without(todo.now[1:3])
    assert lists(less) == lists(todo) | {"now": ["changed", "old-fault"], "left": ["half", "new"]}


def test_other_settings_are_refused_unless_forced(store):
    other = ExtractSettings(n_mels=40)
    with pytest.raises(ConfigError, match="n_mels"):
        plan(store, other)
    todo = plan(store, other, force=True)
    assert names(todo.now) == SONGS
    assert todo.seconds_a_track == 2.0


def test_an_out_without_outcomes_has_everything_to_do_and_no_time_is_known(tmp_path):
    store = Store(tmp_path / "out")
    store.create()
    publish(
        store, "tracks", pa.Table.from_pylist([{"track_id": "b", "uri": "/b"}, {"track_id": "a", "uri": "/a"}], TRACKS)
    )
    todo = plan(store, SETTINGS)
    assert names(todo.now) == ["a", "b"]
    assert [track.fingerprint for track in todo.now] == [SETTINGS.fingerprint("")] * 2
    assert str(todo).endswith(" = 2; time: unknown, as no song has been decoded yet")
    assert str(Plan([], [], todo.now, [], None)).endswith(" = 2; time: none")


def test_a_track_knows_its_file_and_about_how_long_it_takes(tmp_path):
    store = Store(tmp_path / "out")
    store.create()
    far = {"track_id": "far", "uri": "s3://a/far.mp3", "content_hash": "f", "duration_s": 3600.0}
    near = {"track_id": "near", "uri": "/near.mp3", "content_hash": "n", "duration_s": 10.0}
    unknown = {"track_id": "unknown", "uri": "s3://a/b.mp3", "content_hash": "u"}
    sized = [song | {"size_bytes": 40_000_000} for song in (far, near)]
    publish(store, "tracks", pa.Table.from_pylist([*sized, unknown], TRACKS))
    far, near, unknown = wanted_tracks(store, SETTINGS)
    assert near[:4] == ("near", "/near.mp3", SETTINGS.fingerprint("n"), 40_000_000)
    assert unknown[:4] == ("unknown", "s3://a/b.mp3", SETTINGS.fingerprint("u"), 0)
    assert near.row == ("near", SETTINGS.fingerprint("n"))
    assert [far.work_s, near.work_s, unknown.work_s] == pytest.approx([2.064, 0.024, 0.064])  # 2 s to fetch 40 MB
