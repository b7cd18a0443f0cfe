"""The large tables of extract: parts that stay as they are, shards in groups, what kills leave."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from extracting import SETTINGS, assert_same, new_out, tables
from musicrec.errors import SchemaError
from musicrec.settings import CatalogSettings
from musicrec.stages import song_tasks
from musicrec.stages.catalog.stage import catalog
from musicrec.stages.extract import stage
from musicrec.stages.extract.plan import plan, wanted_tracks
from musicrec.stages.extract.stage import extract, extract_track
from musicrec.stages.extract.track_rows import tables_of
from musicrec.stages.song_tasks import stage_rows
from musicrec.store import staging, table_parts, table_spec
from musicrec.store.store import Store


@pytest.fixture
def growing(copy: Store, synthetic: Path) -> tuple[Store, Path]:
    """An OUT, and its source, which may be changed."""
    source = copy.out.parent / "synthetic"
    shutil.copytree(synthetic, source)
    catalog(copy, CatalogSettings(source=str(source)), force=True)
    return copy, source


def refresh(store: Store, source: Path) -> int:
    """Take up what changed in the source; return how many tracks were decoded."""
    catalog(store, CatalogSettings(source=str(source)))
    return extract(store, SETTINGS).fresh


def mel_parts(store: Store) -> dict[int, list[str]]:
    """Tracks of each part of the mel table, by its inode, in order of the parts' names."""
    parts = sorted((store.out / "mel").glob("*.parquet"))
    return {part.stat().st_ino: pq.read_table(part, columns=["track_id"])["track_id"].to_pylist() for part in parts}


def some_songs(source: Path) -> list[Path]:
    return sorted(source.rglob("*-0[13].wav"))


def test_new_songs_come_as_a_part_of_their_own_and_no_other_is_written_again(growing: tuple[Store, Path]) -> None:
    store, source = growing
    before = mel_parts(store)
    assert len(before) > 2
    shutil.copy(some_songs(source)[0], source / "synthetic-added.wav")
    assert refresh(store, source) == 1
    after = mel_parts(store)
    assert {inode: after.get(inode) for inode in before} == before
    assert [after[inode] for inode in after.keys() - before.keys()] == [["synthetic-added.wav"]]
    firsts = [part[0] for part in after.values()]
    assert firsts == sorted(firsts)
    found, in_order = tables(store), store.read("features")["track_id"].to_pylist()
    for old in (store.out / "_versions").glob("*/00001-*"):
        shutil.rmtree(old)
    assert_same(tables(store), found)
    assert in_order == sorted(in_order)
    whole = pd.read_parquet(store.out / "mel")
    glob = store.out / "mel" / "*.parquet"
    rows = duckdb.sql(f"select track_id, n_frames, len(mel) from read_parquet('{glob}')").fetchall()
    assert rows == list(zip(whole.track_id, whole.n_frames, whole.mel.map(len), strict=True))
    assert sorted(whole.track_id) == in_order


def test_only_the_parts_that_rows_have_left_are_written_again(growing: tuple[Store, Path], tmp_path: Path) -> None:
    store, source = growing
    before = mel_parts(store)
    last = list(before.values())[-1]
    gone, changed = (source / name for name in last[-2:])
    gone.unlink()
    shutil.copy(some_songs(source)[0], changed)
    assert refresh(store, source) == 1
    after = mel_parts(store)
    assert [part for inode, part in before.items() if inode not in after] == [last]
    assert sorted(chain(*after.values())) == sorted({*chain(*before.values())} - {last[-2]})
    fresh = new_out(tmp_path / "fresh", source)
    extract(fresh, SETTINGS)
    assert_same(tables(store), tables(fresh))


@pytest.mark.engine
@pytest.mark.parametrize(("left", "together"), [(6, False), (4, False), (3, True)])
def test_what_rows_have_left_stays_apart_unless_it_is_less_than_half_a_part(
    synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int, together: bool
) -> None:
    monkeypatch.setattr(song_tasks, "LEAST_S", 1e9)
    monkeypatch.setattr(table_parts, "TRACKS_PER_PART", 8)
    source = tmp_path / "synthetic"
    shutil.copytree(synthetic, source)
    store = new_out(tmp_path / "out", source)
    extract(store, SETTINGS)
    before = store.read("mel").to_pandas().set_index("track_id")
    (_, one), (_, other), *rest = mel_parts(store).items()
    stay_of_one, stay_of_other = (sorted(random.Random(0).sample(part, left)) for part in (one, other))
    for name in {*one, *other} - {*stay_of_one, *stay_of_other}:
        (source / name).unlink()
    assert refresh(store, source) == 0
    after = mel_parts(store)
    assert [after.get(inode) for inode, _ in rest] == [part for _, part in rest]
    written = [part for inode, part in after.items() if inode not in dict(rest)]
    assert written == ([stay_of_one + stay_of_other] if together else [stay_of_one, stay_of_other])
    for track_id, row in store.read("mel").to_pandas().set_index("track_id").iterrows():
        assert row["mel"].tobytes() == before.loc[track_id, "mel"].tobytes()


def test_small_parts_are_merged_once_there_are_too_many(
    growing: tuple[Store, Path], undisturbed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_parts, "SMALL_PARTS", 4)
    monkeypatch.setattr(table_parts, "TRACKS_PER_PART", 32)
    store, source = growing
    before, sizes = store.read("mel").num_rows, []
    for number in range(40):
        shutil.copy(some_songs(source)[0], source / f"synthetic-{number:02d}.wav")
        assert refresh(store, source) == 1
        sizes.append([len(part) for part in mel_parts(store).values()])
    assert [sum(part) for part in sizes] == [before + 1 + number for number in range(40)]
    assert max(map(len, sizes)) <= 8
    assert max(map(max, sizes)) <= 32


def test_a_part_lacks_rows_and_is_not_published_again(growing: tuple[Store, Path]) -> None:
    store, source = growing
    part = next((store.out / "mel").glob("*.parquet"))
    pq.write_table(pq.read_table(part).slice(1), part)
    some_songs(source)[0].unlink()
    before = store.path("mel").resolve()
    for breakage in (lambda: None, part.unlink):
        breakage()
        with pytest.raises(SchemaError, match="mel lacks songs that outcomes lists"):
            refresh(store, source)
        assert store.path("mel").resolve() == before


@pytest.mark.parametrize("reason", [errno.EPERM, errno.EXDEV])
def test_where_files_cannot_be_linked_they_are_copied(
    growing: tuple[Store, Path], monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    store, source = growing
    before = mel_parts(store)
    monkeypatch.setattr(os, "link", refuse)
    shutil.copy(some_songs(source)[0], source / "synthetic-added.wav")
    assert refresh(store, source) == 1
    after = mel_parts(store)
    assert not before.keys() & after.keys()
    assert sorted(after.values()) == sorted([*before.values(), ["synthetic-added.wav"]])


def test_a_full_disk_leaves_the_old_table_and_the_work_done(
    growing: tuple[Store, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store, source = growing
    before = tables(store)
    shutil.copy(some_songs(source)[0], source / "synthetic-added.wav")
    with monkeypatch.context() as full:
        full.setattr(os, "link", no_space)
        full.setattr(shutil, "copyfile", no_space)
        with pytest.raises(OSError, match="No space left"):
            refresh(store, source)
    assert tables(store)["mel"].equals(before["mel"])
    assert refresh(store, source) == 0
    assert "synthetic-added.wav" in tables(store)["mel"].track_id.tolist()


def test_a_shard_is_written_in_groups_as_its_rows_come(
    undisturbed: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tables_of(SETTINGS)
    monkeypatch.setattr(table_spec, "GROUP_BYTES", 3 * sum(table.track_bytes for table in made))
    published = undisturbed.read("mel")
    wanted = {w.track_id: w for w in wanted_tracks(undisturbed, SETTINGS)}
    shard = [wanted[track_id] for track_id in published["track_id"].to_pylist()[:8]]
    store = Store(tmp_path)
    sizes = []

    def rows() -> Iterator[dict[str, Any]]:
        for track in shard:
            sizes.append(sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()))
            yield extract_track(track, SETTINGS)

    staging.stage_shard(store.work, "extract", "shard", made, rows())
    assert max(sizes[:3]) == 0 < sizes[3]
    assert sizes[5] < sizes[6]
    (mel,) = tmp_path.rglob("mel/shard.parquet")
    footer = pq.read_metadata(mel)
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    assert [group.num_rows for group in groups] == [3, 3, 2]
    assert [groups[0].column(i).is_stats_set for i in range(3)] == [True, False, True]
    assert pq.read_table(mel).equals(published.slice(0, 8))
    (features_file,) = tmp_path.rglob("features/shard.parquet")
    assert pq.read_metadata(features_file).num_row_groups == 1


@pytest.mark.parametrize("killed_at", ["replacing", "write_table", "write_parquet"])
def test_a_shard_killed_before_its_outcomes_are_written_does_not_count(
    growing: tuple[Store, Path], tmp_path: Path, killed_at: str
) -> None:
    store, source = growing
    songs = [source / f"synthetic-{name}.wav" for name in "ab"]
    for song in songs:
        shutil.copy(some_songs(source)[0], song)
    catalog(store, CatalogSettings(source=str(source)))
    owner = {
        "replacing": "musicrec.store.table_spec",
        "write_table": "musicrec.store.table_spec.pq.ParquetWriter",
        "write_parquet": "musicrec.store.staging",
    }[killed_at]
    code = f"""
import os, signal, sys
from unittest import mock
from musicrec.stages import song_tasks
from musicrec.stages.extract import stage
from musicrec.stages.extract.track_rows import extract_track
from musicrec.stages.song_tasks import stage_rows
from musicrec.settings import ExtractSettings
from musicrec.store.store import Store
store, settings = Store(sys.argv[1]), ExtractSettings()
shard = stage.plan(store, settings).now
with mock.patch("{owner}.{killed_at}", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)):
    stage_rows(store, stage.job_of(settings), shard, [extract_track(track, settings) for track in shard])
"""
    assert subprocess.run([sys.executable, "-c", code, store.out], check=False).returncode == -signal.SIGKILL
    left = [path for path in (store.out / "_work").rglob("*") if path.is_file()]
    assert len(left) == {"replacing": 0, "write_table": 1, "write_parquet": 2}[killed_at]
    assert refresh(store, source) == 2
    fresh = new_out(tmp_path / "fresh", source)
    extract(fresh, SETTINGS)
    assert_same(tables(store), tables(fresh))
    assert not (store.out / "_work/extract").exists()


def test_a_track_that_stands_in_two_shards_is_published_once(growing: tuple[Store, Path], tmp_path: Path) -> None:
    store, source = growing
    for name in "abc":
        shutil.copy(some_songs(source)[0], source / f"synthetic-{name}.wav")
    catalog(store, CatalogSettings(source=str(source)))
    new = plan(store, SETTINGS).now
    for shard in (new[:2], new[1:2], new[:1]):  # as when a worker dies after it staged
        stage_rows(store, stage.job_of(SETTINGS), shard, [extract_track(track, SETTINGS) for track in shard])
    assert refresh(store, source) == 1
    fresh = new_out(tmp_path / "fresh", source)
    extract(fresh, SETTINGS)
    assert_same(tables(store), tables(fresh))
