"""Rolling back: what is published again, what is withdrawn, and what faults do to either."""

import json
import shutil
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from musicrec.errors import ConfigError, SchemaError
from musicrec.settings import SimilarSettings
from musicrec.store import versions as module
from musicrec.store.store import Store

SETTINGS = SimilarSettings()
STEPS_OF_ROLLBACK = ["write_bytes", "chmod", "symlink_to"]  # methods of Path, in the order in which it calls them


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "out")
    store.create()
    return store


def publish(store, g, *, keep=3):
    """Publish generation `g`, whose fingerprint is made of its digits; return the name of its version."""
    with store.new_version("similar", SETTINGS, f"{g:016d}"[::-1]) as version:
        version.write_part(pa.table({"generation": [g]}))
        store.publish(version, keep=keep)
    return store.versions("similar").published


def generation(store):
    (g,) = store.read("similar")["generation"].to_pylist()
    return g


def rollback(store, to=None):
    store.rollback("similar", to)
    return generation(store)


def on_disk(store):
    return [int(name.split("-")[0]) for name in store.versions("similar").on_disk()]


def withdrawn(store):
    return sorted(int(name.split("-")[0]) for name in store.versions("similar").withdrawn)


def test_rolling_back_goes_one_version_back_at_a_time(store):
    for g in (1, 2, 3):
        publish(store, g)
    assert [rollback(store), rollback(store)] == [2, 1]
    with pytest.raises(ConfigError, match="similar has no version before 00001-1"):
        rollback(store)
    assert generation(store) == 1
    assert (on_disk(store), withdrawn(store)) == ([1, 2, 3], [2, 3])


@pytest.mark.parametrize("by", ["name", "number", "padded"])
def test_a_version_can_be_named_and_a_withdrawn_one_published_again(store, by):
    names = {g: publish(store, g) for g in (1, 2, 3)}
    said = {"name": names.get, "number": str, "padded": "{:05d}".format}[by]
    assert rollback(store, said(1)) == 1
    assert withdrawn(store) == [2, 3]
    assert rollback(store, said(3)) == 3
    assert withdrawn(store) == [2]  # nobody has said that it was good
    assert rollback(store, said(3)) == 3  # once more changes nothing
    assert rollback(store) == 1


@pytest.mark.parametrize("to", ["4", "0", "00002", "nonsense", "..", "00001-ffffffff"])
def test_a_version_that_there_is_not_is_refused_with_those_there_are(store, to):
    name = publish(store, 1)
    with pytest.raises(ConfigError, match=f"no version {to} on disk; it has {name}"):
        rollback(store, to)
    assert generation(store) == 1


def test_nothing_published_is_nothing_to_roll_back(store):
    with pytest.raises(SchemaError, match="has no similar yet"):
        rollback(store)


def test_the_next_version_neither_removes_a_withdrawn_one_nor_takes_its_number(store):
    publish(store, 1)
    publish(store, 2)
    rollback(store)
    assert publish(store, 3).startswith("00003-")
    assert on_disk(store) == [1, 2, 3]
    assert rollback(store) == 1  # 2 was withdrawn
    assert rollback(store, "2") == 2


def test_a_version_that_is_withdrawn_stays_withdrawn_since_then(store, monkeypatch):
    names = [publish(store, g) for g in (1, 2, 3)]
    for minute in (1, 2):
        monkeypatch.setattr(module, "now", lambda minute=minute: f"2026-01-01T00:0{minute}:00+00:00")
        rollback(store)
    assert store.versions("similar").withdrawn == {
        names[2]: "2026-01-01T00:01:00+00:00",
        names[1]: "2026-01-01T00:02:00+00:00",
    }


def test_what_a_killed_run_left_is_removed_and_is_no_version_though_newer_than_a_withdrawn_one(store):
    publish(store, 1)
    publish(store, 2)
    rollback(store)
    left = store.new_version("similar", SETTINGS, "f" * 16).folder
    assert on_disk(store) == [1, 2]
    with pytest.raises(ConfigError, match="no version 3"):
        rollback(store, "3")
    publish(store, 4)
    assert not left.exists()
    assert on_disk(store) == [1, 2, 3]
    assert generation(store) == 4


def test_each_step_reads_the_state_once(store, monkeypatch):
    """In a bucket, every reading is a request."""
    for g in (1, 2, 3):
        publish(store, g)
    read, kinds = [], ("read_bytes", "children", "write_atomic")
    for kind in kinds:
        counted = partial(lambda kind, real, *rest: read.append(kind) or real(*rest), kind, getattr(module, kind))
        monkeypatch.setattr(module, kind, counted)

    def requests(step):
        read.clear()
        step()
        return [read.count(kind) for kind in kinds]

    table, folder = store.versions("similar"), []
    assert requests(lambda: folder.append(table.new_folder("f" * 16))) == [1, 1, 0]
    assert requests(lambda: table.publish(folder[0], 3)) == [1, 1, 1]
    assert requests(table.rollback) == [1, 1, 1]
    assert requests(table.confirm) == [1, 0, 1]
    assert requests(table.on_disk) == [1, 1, 0]


def test_good_versions_are_not_crowded_out_by_withdrawn_ones_and_neither_pile_up(store):
    for g in range(1, 4):
        publish(store, g)
    for g in range(4, 14):
        publish(store, g)
        assert rollback(store) == 3
    assert set(on_disk(store)) >= {1, 2, 3}
    assert len(on_disk(store)) <= 3 + 4  # three withdrawn ones, and the last
    for g in range(14, 20):
        publish(store, g)
    assert on_disk(store)[-4:] == [16, 17, 18, 19]
    assert rollback(store) == 18


def test_a_withdrawn_fingerprint_is_remembered_until_it_is_published_again(store):
    versions = store.versions("similar")
    publish(store, 1)
    publish(store, 2)
    rollback(store)
    name, at = versions.withdrawn_as(f"{2:016d}"[::-1])
    assert name.startswith("00002-")
    assert at[:2] == "20"
    assert versions.withdrawn_as(f"{1:016d}"[::-1]) is None
    for g in range(3, 12):
        publish(store, g, keep=0)
    assert on_disk(store) == [11]
    assert versions.withdrawn_as(f"{2:016d}"[::-1]) == (name, at)  # though its files are gone
    publish(store, 2)
    assert versions.withdrawn_as(f"{2:016d}"[::-1]) is None


def test_an_out_that_was_copied_without_its_links_is_said_to_be(store, tmp_path):
    publish(store, 1)
    publish(store, 2)
    shutil.copytree(store.out, tmp_path / "copy")
    with pytest.raises(ConfigError, match="copied without its links; copy it with cp -a"):
        rollback(Store(tmp_path / "copy"))


def test_a_damaged_version_is_not_rolled_back_to(store):
    folder = store.out / "_versions" / "similar" / publish(store, 1)
    publish(store, 2)
    (part,) = folder.rglob("*.parquet")
    part.write_bytes(b"PAR1 but no more")
    with pytest.raises(SchemaError, match="damaged"):
        rollback(store)
    assert generation(store) == 2
    assert withdrawn(store) == []


def die_in_rollback(store, monkeypatch, step):
    def die(*_):
        raise SystemExit

    with monkeypatch.context() as killed:
        killed.setattr(Path, step, die)
        killed.setattr(Path, "unlink", lambda *_, **__: None)  # a killed process tidies nothing up
        with pytest.raises(SystemExit):
            rollback(store)


@pytest.mark.parametrize("step", STEPS_OF_ROLLBACK)
def test_a_killed_rollback_leaves_a_whole_table_and_can_be_done_again(store, monkeypatch, step):
    for g in (1, 2):
        publish(store, g)
    die_in_rollback(store, monkeypatch, step)
    assert generation(store) == 2
    assert withdrawn(store) == []
    assert rollback(store) == 1
    publish(store, 3)
    assert (on_disk(store), withdrawn(store)) == ([1, 2, 3], [2])
    assert not list(store.out.rglob(".*"))


@pytest.mark.parametrize("step", STEPS_OF_ROLLBACK)
def test_a_killed_rollback_that_is_not_done_again_has_withdrawn_nothing(store, monkeypatch, step):
    for g in (1, 2):
        publish(store, g)
    die_in_rollback(store, monkeypatch, step)
    publish(store, 3)
    assert withdrawn(store) == []
    assert rollback(store) == 2


def test_a_damaged_state_says_what_to_do(store):
    publish(store, 1)
    publish(store, 2)
    rollback(store)
    state = store.out / "_versions" / "similar" / "state.json"
    assert json.loads(state.read_text())["withdrawn"].keys() == {store.versions("similar").on_disk()[-1]}
    state.write_bytes(b"{")
    with pytest.raises(SchemaError, match=r"state\.json is damaged; delete it"):
        publish(store, 3)
    assert generation(store) == 1


def test_a_version_found_up_to_date_says_since_when(store):
    publish(store, 1)
    versions = store.versions("similar")
    assert versions.confirmed_at is None
    versions.confirm()
    assert versions.confirmed_at[:2] == "20"
    publish(store, 2)
    assert versions.confirmed_at is None  # that was another version


def test_a_reader_through_the_link_finds_a_file_missing_rather_than_another_versions(store):
    publish(store, 1)
    listed = list((store.out / "similar").glob("*.parquet"))  # as a reader does that knows nothing of versions
    publish(store, 2)
    assert listed
    assert not any(path.exists() for path in listed)


def test_a_version_that_fails_leaves_nothing(store):
    def fail():
        with store.new_version("similar", SETTINGS, "f" * 16) as version:
            version.write_part(pa.table({"generation": [2]}))
            raise KeyError

    publish(store, 1)
    with pytest.raises(KeyError):
        fail()
    assert [p.name[:5] for p in (store.out / "_versions" / "similar").iterdir()] == ["00001"]
    assert generation(store) == 1


def test_a_version_whose_removal_was_cut_short_is_none_to_roll_back_to_and_goes_with_the_next(store, monkeypatch):
    monkeypatch.setattr(module, "READ_S", 0)
    names = [publish(store, g, keep=1) for g in (1, 2)]
    half = store.versions("similar").root / names[0]

    def die(folder, **_):
        next(folder.rglob("*.parquet")).unlink()
        raise SystemExit

    version = store.new_version("similar", SETTINGS, "3" * 16)
    with monkeypatch.context() as killed:
        killed.setattr(shutil, "rmtree", die)
        with pytest.raises(SystemExit):
            store.publish(version)
    assert half.exists()
    assert on_disk(store) == [2, 3]
    with pytest.raises(ConfigError, match="no version 1 on disk"):
        rollback(store, "1")
    publish(store, 4, keep=1)
    assert not half.exists()
    assert on_disk(store) == [3, 4]


def test_a_version_stays_for_those_who_are_reading_it_and_goes_a_minute_later(store, monkeypatch):
    listing = store.versions("similar").root / publish(store, 1, keep=0)
    for g in (2, 3):
        publish(store, g, keep=0)
        assert on_disk(store) == [g]  # there is no going back to it
        assert list(listing.rglob("*.parquet"))
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    publish(store, 4, keep=0)
    assert not listing.exists()
