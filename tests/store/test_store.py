"""Tables appear whole or not at all, whoever reads, fails or is killed meanwhile; one writer an OUT."""

import datetime
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import musicrec.store.versions
from musicrec.errors import ConfigError, InUse, SchemaError
from musicrec.files.parquet import write_parquet
from musicrec.files.paths import write_atomic
from musicrec.settings import CatalogSettings, ExtractSettings, SimilarSettings
from musicrec.store import lineage
from musicrec.store.outcomes import Outcome, outcomes_table, save_outcomes
from musicrec.store.store import Store

SETTINGS = CatalogSettings(source="/music")
PARTS, ROWS_A_PART = 3, 5


def generation(g):
    """One part of generation `g` of a table."""
    return pa.table({"track_id": [f"song-{i}" for i in range(ROWS_A_PART)], "generation": [g] * ROWS_A_PART})


def write_version(store, g, name="tracks", parts=PARTS):
    version = store.new_version(name, SETTINGS, "0123456789abcdef")
    for _ in range(parts):
        version.write_part(generation(g))
    return version


def publish(store, g, name="tracks", **how):
    store.publish(write_version(store, g, name), **how)


def generations(table):
    """What generations are in a table; every row of every part must be there."""
    assert len(table) == PARTS * ROWS_A_PART
    return set(table["generation"].to_pylist())


def versions(store, name="tracks"):
    return sorted(p.name for p in (store.out / "_versions" / name).iterdir() if p.is_dir())


def python(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "out")
    store.create()
    return store


# --- versions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tracks", "models/mlp"])
def test_a_version_is_invisible_before_publish_and_whole_after(store, name):
    version = write_version(store, 1, name)
    assert not store.exists(name)
    assert [p.name for p in store.out.iterdir()] == ["_versions"]
    with pytest.raises(SchemaError, match=f"no {name} yet"):
        store.read(name)
    store.publish(version)
    assert store.exists(name)
    assert generations(store.read(name)) == {1}
    unpublished = write_version(store, 2, name)
    assert generations(store.read(name)) == {1}
    store.publish(unpublished)
    assert generations(store.read(name)) == {2}


def test_pandas_and_duckdb_read_a_published_table(store):
    publish(store, 7)
    expected = pa.concat_tables([generation(7)] * PARTS).to_pydict()
    assert pd.read_parquet(store.out / "tracks").to_dict("list") == expected
    glob = store.out / "tracks" / "*.parquet"
    assert duckdb.sql(f"select * from read_parquet('{glob}')").to_arrow_table().to_pydict() == expected


def test_a_reader_finds_parts_and_nothing_else_in_the_folder_of_a_table(store):
    version = write_version(store, 1)
    (version.folder / "_sidecar").mkdir()
    (version.folder / "_sidecar" / "data.bin").write_bytes(b"not parquet")
    (version.folder / "_rows").write_bytes(b"PAR1")
    store.publish(version)
    files = [path.relative_to(store.out / "tracks") for path in (store.out / "tracks").rglob("*")]
    assert sorted({path.suffix for path in files}) == [".parquet"]
    assert len(files) == PARTS
    assert len(store.read("tracks")) == len(pd.read_parquet(store.out / "tracks")) == PARTS * ROWS_A_PART


def test_everything_that_is_published_is_named_also_in_groups(store):
    for name in ("vectors/small", "models/svm", "similar", "models/mlp", "tracks"):
        publish(store, 1, name)
    write_version(store, 1, "features")  # never published
    assert store.published() == ["models/mlp", "models/svm", "similar", "tracks", "vectors/small"]


def test_columns_and_rows_can_be_read_alone(store):
    publish(store, 3)
    table = store.read("tracks", ["track_id"], pc.field("track_id") == "song-2")
    assert table.to_pydict() == {"track_id": ["song-2"] * PARTS}
    assert store.track_ids() == sorted(f"song-{i}" for i in range(ROWS_A_PART) for _ in range(PARTS))


@pytest.mark.thorough
def test_readers_never_see_a_mixture_while_versions_are_published(store):
    publish(store, 0)
    seen, problems, done = [0], [], threading.Event()

    def poll():
        while not done.is_set():
            try:
                seen.append(*generations(store.dataset("tracks").to_table()))
            except Exception as e:  # a mixture is two values, which append refuses
                problems.append(e)
                return

    reader = threading.Thread(target=poll)
    reader.start()
    for g in range(1, 31):
        publish(store, g, keep=30)
    done.set()
    reader.join()
    assert not problems
    assert len(seen) > 1
    assert all(a <= b for a, b in pairwise(seen))
    assert generations(store.read("tracks")) == {30}


@pytest.mark.parametrize("keep", [1, 3])
def test_the_versions_before_stay_on_disk_and_open_tables_stay_readable(store, keep, monkeypatch):
    monkeypatch.setattr(musicrec.store.versions, "READ_S", 0)
    for g in range(1, 5):
        publish(store, g, keep=keep)
    opened = store.dataset("tracks")
    publish(store, 5, keep=keep)
    assert [int(name.split("-")[0]) for name in versions(store)] == list(range(5 - keep, 6))
    assert generations(opened.to_table()) == {4}
    assert generations(store.read("tracks")) == {5}


def test_versions_are_told_apart_even_if_made_of_the_same(store):
    names = []
    for _ in range(3):
        publish(store, 1)
        names.append(store.path("tracks").name)
    assert len(set(names)) == 3
    assert names == sorted(names)


def test_an_unwritten_table_is_missing_not_empty(store):
    with pytest.raises(SchemaError, match="no tracks yet") as e:
        store.footer("tracks")
    assert str(store.out) in str(e.value)


KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from musicrec.settings import CatalogSettings
from musicrec.store.store import Store
store, where = Store(sys.argv[1]), sys.argv[2]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
version = store.new_version("tracks", CatalogSettings(source="/music"), "2" * 16)
version.write_part(pa.table({"generation": [2]}))
if where == "publish":
    die()
setattr(Path, where, die)
store.publish(version)
"""
STEPS_OF_PUBLISH = ["symlink_to", "replace"]  # methods of Path, in the order in which publish calls them


@pytest.mark.thorough
@pytest.mark.parametrize("where", ["publish", *STEPS_OF_PUBLISH])
def test_a_kill_before_or_in_publish_leaves_the_old_table_and_the_next_run_goes_on(store, where):
    publish(store, 1)
    with python(KILLED, store.out, where) as process:
        assert process.wait() == -signal.SIGKILL
    for _ in range(2):
        assert generations(store.read("tracks")) == {1}
        assert set(pd.read_parquet(store.out / "tracks")["generation"]) == {1}
        version = write_version(store, 3)  # as the next run does
    store.publish(version)
    assert generations(store.read("tracks")) == {3}


def die_at(step, store, monkeypatch):
    """Publish generation 2, but end at a step as if killed: nothing after it is run."""

    def die(*_):
        raise SystemExit

    version = write_version(store, 2)
    with monkeypatch.context() as killed:
        killed.setattr(Path, step, die)
        with pytest.raises(SystemExit):
            store.publish(version)


@pytest.mark.parametrize("step", STEPS_OF_PUBLISH)
def test_a_killed_publish_does_not_cost_the_version_to_roll_back_to(store, monkeypatch, step):
    publish(store, 1)
    live = (store.out / "tracks").resolve()
    die_at(step, store, monkeypatch)
    publish(store, 3)
    assert live.exists()


@pytest.mark.parametrize("step", STEPS_OF_PUBLISH)
def test_nothing_hidden_is_left_by_the_run_after_a_killed_publish(store, monkeypatch, step):
    publish(store, 1)
    die_at(step, store, monkeypatch)
    publish(store, 3)
    assert not list(store.out.rglob(".*"))


def test_leftovers_of_a_killed_run_are_removed_by_the_next_version(store):
    write_version(store, 1)
    version = write_version(store, 2)
    assert versions(store) == [version.folder.name]


KILLED_WRITING = """
import os, signal, sys
from pathlib import Path
from musicrec.settings import SimilarSettings
from musicrec.store.store import Store
store = Store(sys.argv[1])
with store.lock():
    Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    store.settings.record(SimilarSettings())
"""


def test_a_file_that_a_killed_run_was_writing_goes_when_the_next_one_takes_out(store):
    with python(KILLED_WRITING, store.out) as process:
        assert process.wait() == -signal.SIGKILL
    assert list(store.out.glob(".settings.toml.*"))
    with store.lock():
        assert sorted(p.name for p in store.out.glob(".*")) == [".lock", ".lock.json"]


# --- footers ------------------------------------------------------------------------------------------------------


def test_every_part_says_what_made_it(store):
    settings = SimilarSettings(n=7)
    version = store.new_version("similar", settings, "0123456789abcdef", model_id="mlp-1")
    for _ in range(2):
        version.write_part(generation(0))
    store.publish(version)
    parts = sorted((store.out / "similar").glob("*.parquet"))
    assert len(parts) == 2
    for part in parts:
        footer = json.loads(pq.read_schema(part).metadata[b"musicrec"])
        created = datetime.datetime.fromisoformat(footer.pop("created_at"))
        assert abs(datetime.datetime.now(datetime.UTC) - created) < datetime.timedelta(minutes=5)
        assert footer.pop("versions") == [{"numpy": np.__version__}]
        assert footer == {
            "schema_version": 1,
            "algorithm": f"similar {settings.code_version}",
            "settings": settings.model_dump(mode="json"),
            "fingerprint": "0123456789abcdef",
            "lineage": {"model_id": "mlp-1"},
        }
    assert store.footer("similar")["settings"]["n"] == 7


@pytest.mark.parametrize("read", [Store.dataset, Store.read, Store.footer])
def test_a_table_of_another_schema_version_is_refused(store, monkeypatch, read):
    with monkeypatch.context() as future:
        future.setattr(lineage, "SCHEMA_VERSION", 99)
        publish(store, 1)
    with pytest.raises(SchemaError) as e:
        read(store, "tracks")
    assert all(said in str(e.value) for said in (str(store.out / "tracks"), "99", "reads 1"))


@pytest.mark.parametrize("number", [0, PARTS - 1])
@pytest.mark.parametrize("at", [4, -8])  # rows, footer
def test_a_damaged_table_is_said_to_be_damaged_and_once_deleted_is_missing(store, number, at):
    publish(store, 1)
    with sorted((store.out / "tracks").glob("*.parquet"))[number].open("r+b") as part:
        part.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        part.write(b"damaged!")
    with pytest.raises(SchemaError, match=f"{re.escape(str(store.out / 'tracks'))} is damaged .+; delete ") as e:
        store.read("tracks")
    assert "\n" not in str(e.value)
    (store.out / "tracks").unlink()
    with pytest.raises(SchemaError, match="no tracks yet"):
        store.read("tracks")


def test_a_column_that_there_is_not_is_no_damage(store):
    publish(store, 1)
    with pytest.raises(pa.ArrowInvalid, match="genre"):
        store.read("tracks", ["genre"])


def test_a_table_that_is_not_ours_is_refused(store):
    (store.out / "tracks").mkdir()
    pq.write_table(generation(1), store.out / "tracks" / "part.parquet")
    with pytest.raises(SchemaError, match="tracks"):
        store.read("tracks")


# --- one writer ---------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from musicrec.store.store import Store
with Store(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.thorough
def test_a_second_process_is_refused_until_the_first_dies(store):
    publish(store, 1)
    with python(HOLD, store.out) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(ConfigError, match="in use by another"), store.lock():
                pass
            assert holder.poll() is None  # refused at once: the holder still holds
            assert generations(store.read("tracks")) == {1}  # readers need no lock
        finally:
            holder.kill()
    for _ in range(2):
        with store.lock():
            pass


def test_who_is_refused_is_told_who_holds_the_lock(store, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/musicrec", "refresh", "out"])
    by = f"'musicrec refresh out', process {os.getpid()} on {socket.gethostname()} since "
    with store.lock():
        before = datetime.datetime.now(datetime.UTC)
        with pytest.raises(InUse) as e, Store(store.out).lock():
            pass
    told, since = re.fullmatch(r"OUT (.*) since (\S+); wait for it to end", str(e.value)).groups()
    assert f"{told} since " == f"{store.out} is in use by another musicrec run: {by}"
    assert abs(datetime.datetime.fromisoformat(since) - before) < datetime.timedelta(seconds=60)


def test_the_lock_is_freed_when_the_holder_fails(store):
    def fail():
        with store.lock():
            raise KeyError("stage failed")

    for _ in range(2):
        with pytest.raises(KeyError, match="stage failed"):
            fail()


# --- the folder ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_a_folder_below_a_file_cannot_be_an_out(tmp_path, below):
    (tmp_path / "file").write_text("a regular file")
    with pytest.raises(ConfigError, match="cannot be written") as e:
        Store(tmp_path / "file" / below).create()
    assert str(tmp_path / "file") in str(e.value)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system nobody can write to")
@pytest.mark.parametrize("out", ["/proc", "/proc/musicrec-out"])
def test_a_folder_nobody_can_write_cannot_be_an_out(out):
    with pytest.raises(ConfigError, match=f"OUT {out} cannot be written"):
        Store(out).create()


def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="holiday"):
        Store(tmp_path).create()
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.jpg"]


def test_an_out_or_an_empty_folder_is_accepted_again(store):
    (store.out / ".DS_Store").touch()
    store.create()
    with pytest.raises(ConfigError, match="not a musicrec OUT"):
        store.require()
    store.settings.record(SETTINGS)
    publish(store, 1)
    (store.out / "report.html").touch()
    store.create()
    store.require()


@pytest.mark.parametrize("address", ["s3://", "nowhere://bucket/prefix"])
def test_an_address_that_can_hold_no_tables_is_refused_in_plain_words(address):
    with pytest.raises(ConfigError, match=f"{address} cannot hold tables; expected a folder or s3://"):
        Store(address)


# --- files --------------------------------------------------------------------------------------------------------


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


WRITERS = {
    "bytes": (lambda path, g: write_atomic(path, b"%d" % g), (Path, "write_bytes")),
    "parquet": (lambda path, g: write_parquet(path, generation(g)), (pq, "write_table")),
    "sync": (lambda path, g: write_atomic(path, b"%d" % g), (os, "fsync")),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, writer):
    write, (owner, name) = WRITERS[writer]
    path = tmp_path / "file"
    write(path, 1)
    before = path.read_bytes()
    with monkeypatch.context() as full_disk:
        full_disk.setattr(owner, name, no_space)
        for target in (path, tmp_path / "new"):
            with pytest.raises(OSError, match="No space left"):
                write(target, 2)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == before
    write(path, 2)
    assert path.read_bytes() != before


def test_a_shard_written_twice_is_one_file_and_work_can_be_cleared(store):
    assert store.work.staged("extract") == []
    for name, g in (("b", 1), ("a", 2), ("b", 3)):
        store.work.stage("extract", name, generation(g))
    shards = store.work.staged("extract")
    assert [shard.name for shard in shards] == ["a.parquet", "b.parquet"]
    assert pq.read_table(shards[1])["generation"].unique().to_pylist() == [3]
    assert store.work.staged("similar") == []
    for _ in range(2):
        store.work.clear("extract")
        assert store.work.staged("extract") == []


# --- settings -----------------------------------------------------------------------------------------------------


def test_settings_come_back_from_toml_as_they_went_in(store):
    assert store.settings.recorded("extract") == {}
    asked = ExtractSettings(offset_s=1.5, feature_sets=("gtzan57",))
    odd_source = CatalogSettings(source='/müsik/"a\\b"\n[x]')
    for settings in (asked, odd_source):
        store.settings.record(settings)
    assert ExtractSettings(**store.settings.recorded("extract")) == asked
    assert CatalogSettings(**store.settings.recorded("catalog")) == odd_source
    store.settings.record(ExtractSettings())
    assert ExtractSettings(**store.settings.recorded("extract")) == ExtractSettings()
    assert CatalogSettings(**store.settings.recorded("catalog")) == odd_source


def test_other_settings_are_refused_by_name_unless_forced(store):
    store.settings.check(ExtractSettings(), force=False)  # nothing is recorded yet
    store.settings.record(ExtractSettings())
    store.settings.check(ExtractSettings(), force=False)
    other = ExtractSettings(n_mels=64, offset_s=0)
    with pytest.raises(ConfigError) as e:
        store.settings.check(other, force=False)
    assert "n_mels: 128 → 64" in str(e.value)
    assert "offset_s: 30.0 → 0.0" in str(e.value)
    assert "duration_s" not in str(e.value)
    assert "--force" in str(e.value)
    store.settings.check(other, force=True)


# --- outcomes -----------------------------------------------------------------------------------------------------


def test_outcomes_of_a_stage_replace_its_own_rows_only(store):
    def save(stage, *tracks):
        rows = outcomes_table(Outcome(t, stage, "ok") for t in tracks)
        save_outcomes(store, stage, rows, SETTINGS, "f" * 16)
        outcomes = store.read("outcomes")
        return list(zip(outcomes["stage"].to_pylist(), outcomes["track_id"].to_pylist(), strict=True))

    assert save("extract", "b", "a") == [("extract", "a"), ("extract", "b")]
    assert save("catalog", "a") == [("catalog", "a"), ("extract", "a"), ("extract", "b")]
    assert save("extract", "c") == [("catalog", "a"), ("extract", "c")]
    before = (store.out / "outcomes").resolve()
    assert save("extract", "c") == [("catalog", "a"), ("extract", "c")]
    assert (store.out / "outcomes").resolve() == before  # nothing new, so no new version
