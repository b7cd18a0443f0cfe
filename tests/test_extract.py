"""Extract on a real Ray: each track once, whatever the shards, the failures and the kills."""

import ctypes
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import librosa
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import ray
import soundfile as sf

from musicrec import audio, features, parts
from musicrec import extract as stage
from musicrec.catalog import catalog
from musicrec.errors import ConfigError, MusicrecError, SchemaError
from musicrec.extract import extract, extract_track, plan
from musicrec.rows import Wanted, tables_of
from musicrec.settings import CatalogSettings, ExtractSettings
from musicrec.storage import Store

SETTINGS = ExtractSettings()


def new_out(out: Path, source: Path) -> Store:
    store = Store(out)
    store.create()
    catalog(store, CatalogSettings(source=str(source)))
    return store


def tables(store: Store) -> dict[str, pd.DataFrame]:
    """The stage's tables in order of track, which the large ones need not be; no seconds that a decode took."""
    names = ("features", "mel", "segments", "images", "outcomes")
    found = {name: store.read(name).to_pandas() for name in names if store.exists(name)}
    found["outcomes"] = found["outcomes"].query("stage == 'extract'").drop(columns="seconds").reset_index(drop=True)
    found["mel"]["mel"] = found["mel"]["mel"].map(bytes)
    for name in {"mel", "images"} & found.keys():
        found[name] = found[name].sort_values("track_id", ignore_index=True)
    return found


def assert_same(a: dict[str, pd.DataFrame], b: dict[str, pd.DataFrame]) -> None:
    assert a.keys() == b.keys()
    for name, table in a.items():
        pd.testing.assert_frame_equal(table, b[name], check_exact=True)


@pytest.fixture(scope="module")
def undisturbed(synthetic: Path, ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = new_out(tmp_path_factory.mktemp("undisturbed") / "out", synthetic)
    extract(store, SETTINGS)
    return store


@pytest.fixture
def copy(undisturbed: Store, tmp_path: Path) -> Store:
    shutil.copytree(undisturbed.out, tmp_path / "out", symlinks=True)
    return Store(tmp_path / "out")


def test_every_track_has_one_outcome_and_the_broken_files_their_reason(undisturbed: Store, synthetic: Path) -> None:
    outcomes = tables(undisturbed)["outcomes"].set_index("track_id")
    files = [p.relative_to(synthetic).as_posix() for p in synthetic.rglob("*") if p.is_file()]
    assert sorted(outcomes.index) == sorted(files)
    reasons = outcomes[outcomes.status != "ok"].reason.to_dict()
    assert sorted(reasons.values()) == ["empty", "empty", "silent", "too_short", "undecodable", "undecodable"]
    good = sorted(outcomes.index[outcomes.status == "ok"])
    assert list(undisturbed.read("features")["track_id"].to_pylist()) == good
    assert list(undisturbed.read("mel")["track_id"].to_pylist()) == good


def test_stored_values_are_those_of_the_pure_functions(undisturbed: Store) -> None:
    published = undisturbed.read("features").to_pandas().set_index("track_id")
    mel = undisturbed.read("mel").to_pandas().set_index("track_id")
    wanted = {w.track_id: w for w in stage._wanted(undisturbed, SETTINGS)}
    for track_id in published.index[::9]:
        row = extract_track(wanted[track_id], SETTINGS)
        assert published.loc[track_id].to_dict() == pytest.approx({c: row[c] for c in published.columns}, rel=1e-6)
        expected = features.mel(audio.load(wanted[track_id].uri), SETTINGS.sample_rate).astype(np.float16)
        assert mel.loc[track_id, "n_frames"] == expected.shape[1]
        assert (mel.loc[track_id, "mel"] == expected.ravel()).all()


@pytest.mark.parametrize(("tracks", "group", "files"), [(1, 1000, 39), (7, 10**6, 7), (1000, 10**9, 1)])
def test_tables_do_not_depend_on_the_size_of_shards_groups_and_parts(
    undisturbed: Store, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    tracks: int, group: int, files: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(stage, "LEAST_S", 1e9)
    monkeypatch.setattr(parts, "TRACKS_PER_PART", tracks)
    monkeypatch.setattr(parts, "GROUP_BYTES", group)
    store = new_out(tmp_path / "out", synthetic)
    extract(store, SETTINGS)
    assert_same(tables(store), tables(undisturbed))
    assert len(list((store.out / "features").glob("*.parquet"))) == 1
    mel = sorted((store.out / "mel").glob("*.parquet"))
    assert len(mel) == files
    assert max(pq.read_metadata(part).num_rows for part in mel) <= tracks


def test_a_table_says_what_made_it_and_each_part_what_made_its_rows(undisturbed: Store) -> None:
    for name in ("features", "mel"):
        footer = undisturbed.footer(name)
        assert footer["fingerprint"].startswith((undisturbed.out / name).resolve().name.split("-")[1])
        rows = {key: footer[key] for key in ("schema_version", "algorithm", "settings", "lineage")}
        assert rows["lineage"] == {"hop_length": 512}
        for part in (undisturbed.out / name).glob("*.parquet"):
            assert json.loads(pq.read_metadata(part).metadata[b"musicrec"]) == rows


def test_a_published_table_that_lost_a_part_is_not_published_again(copy: Store, synthetic: Path) -> None:
    (part,) = (copy.out / "features").glob("*.parquet")
    pq.write_table(pq.read_table(part).slice(1), part)
    source = copy.out.parent / "synthetic"
    shutil.copytree(synthetic, source)
    next(source.rglob("*-02.*")).unlink()
    catalog(copy, CatalogSettings(source=str(source)), force=True)
    with pytest.raises(SchemaError, match="features lacks songs that outcomes lists"):
        extract(copy, SETTINGS)


def test_a_second_run_decodes_nothing_and_publishes_nothing(copy: Store) -> None:
    before = {name: copy.path(name).resolve() for name in ("features", "mel", "outcomes")}
    assert extract(copy, SETTINGS).fresh == 0
    assert {name: copy.path(name).resolve() for name in before} == before


def test_only_new_and_changed_files_are_decoded_and_removed_ones_leave_the_tables(
    undisturbed: Store, synthetic: Path, tmp_path: Path
) -> None:
    source = tmp_path / "synthetic"
    shutil.copytree(synthetic, source)
    store = new_out(tmp_path / "out", source)
    extract(store, SETTINGS)
    songs = sorted(p for p in source.rglob("*.wav") if "cut" not in p.name and "sample" not in p.name)
    shutil.copy(songs[0], songs[1])
    shutil.copy(songs[0], songs[0].with_name("synthetic-added.wav"))
    songs[2].unlink()
    catalog(store, CatalogSettings(source=str(source)))
    assert extract(store, SETTINGS).fresh == 2
    fresh = new_out(tmp_path / "fresh", source)
    extract(fresh, SETTINGS)
    assert_same(tables(store), tables(fresh))


def test_failed_tracks_are_tried_again_only_when_asked(copy: Store) -> None:
    assert extract(copy, SETTINGS).fresh == 0
    counts = extract(copy, SETTINGS, retry_failed=True)
    assert counts.fresh == counts.failed == 4


def test_other_settings_are_refused_unless_forced_and_then_recompute(copy: Store) -> None:
    other = ExtractSettings(n_mels=40)
    with pytest.raises(ConfigError, match=r"n_mels: 128 → 40.*--force"):
        extract(copy, other)
    counts = extract(copy, other, force=True)
    assert counts.fresh == counts.total
    mel = copy.read("mel")
    assert len(mel["mel"][0].as_py()) == 40 * mel["n_frames"][0].as_py()


def test_too_many_failures_fail_the_stage_but_keep_its_tables(copy: Store) -> None:
    with pytest.raises(MusicrecError, match="--max-failed-fraction"):
        extract(copy, SETTINGS, max_failed_fraction=0.01)
    assert copy.read("outcomes").num_rows > 0


# --- large tables -------------------------------------------------------------------------------------------------


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


def test_small_parts_are_merged_once_there_are_too_many(
    growing: tuple[Store, Path], undisturbed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SMALL_PARTS", 4)
    monkeypatch.setattr(parts, "TRACKS_PER_PART", 32)
    store, source = growing
    sizes = []
    for number in range(40):
        shutil.copy(some_songs(source)[0], source / f"synthetic-{number:02d}.wav")
        assert refresh(store, source) == 1
        sizes.append([len(part) for part in mel_parts(store).values()])
    assert [sum(part) for part in sizes] == [40 + number for number in range(40)]
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
    monkeypatch.setattr(parts, "GROUP_BYTES", 3 * sum(table.track_bytes for table in made))
    published = undisturbed.read("mel")
    wanted = {w.track_id: w for w in stage._wanted(undisturbed, SETTINGS)}
    shard = [wanted[track_id] for track_id in published["track_id"].to_pylist()[:8]]
    store = Store(tmp_path)
    sizes = []

    def rows() -> Iterator[dict[str, Any]]:
        for track in shard:
            sizes.append(sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()))
            yield extract_track(track, SETTINGS)

    parts.stage_shard(store, "extract", "shard", made, rows())
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


def test_any_table_may_be_a_large_one(
    segmented: Store, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ExtractSettings(segment_s=0.7, feature_sets=("iiitd41",))
    shutil.copytree(segmented.out.parent, tmp_path / "copy", symlinks=True)
    store, source = Store(tmp_path / "copy/out"), tmp_path / "copy/synthetic"
    shutil.copy(next((synthetic / "synthetic-bells").glob("*-01.*")), source / "synthetic-added.wav")
    catalog(store, CatalogSettings(source=str(source)), force=True)
    names = ("features", "segments", "mel")
    before = [len(list((store.out / name).glob("*.parquet"))) for name in names]
    with monkeypatch.context() as patch:
        patch.setattr("musicrec.rows.LARGE_BYTES", 0)
        extract(store, settings)
    assert [len(list((store.out / name).glob("*.parquet"))) for name in names] == [n + 1 for n in before]
    fresh = new_out(tmp_path / "fresh", source)
    extract(fresh, settings)
    found, expected = tables(store), tables(fresh)
    for both in (found, expected):
        both["segments"] = both["segments"].sort_values(["track_id", "segment"], ignore_index=True)
        both["features"] = both["features"].sort_values("track_id", ignore_index=True)
    assert_same(found, expected)


@pytest.mark.parametrize("killed_at", ["replacing", "write_table", "write_parquet"])
def test_a_shard_killed_before_its_outcomes_are_written_does_not_count(
    growing: tuple[Store, Path], tmp_path: Path, killed_at: str
) -> None:
    store, source = growing
    songs = [source / f"synthetic-{name}.wav" for name in "ab"]
    for song in songs:
        shutil.copy(some_songs(source)[0], song)
    catalog(store, CatalogSettings(source=str(source)))
    owner = "musicrec.parts.pq.ParquetWriter" if killed_at == "write_table" else "musicrec.parts"
    code = f"""
import os, signal, sys
from unittest import mock
from musicrec import extract as stage
from musicrec.rows import extract_track
from musicrec.settings import ExtractSettings
from musicrec.storage import Store
store, settings = Store(sys.argv[1]), ExtractSettings()
shard = stage.plan(store, settings).now
with mock.patch("{owner}.{killed_at}", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)):
    stage._stage(store, settings, shard, [extract_track(track, settings) for track in shard])
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
        stage._stage(store, SETTINGS, shard, [extract_track(track, SETTINGS) for track in shard])
    assert refresh(store, source) == 1
    fresh = new_out(tmp_path / "fresh", source)
    extract(fresh, SETTINGS)
    assert_same(tables(store), tables(fresh))


# --- files that hang or crash their decoder -----------------------------------------------------------------------


def segfault() -> None:
    ctypes.string_at(0)


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep_for_ever() -> None:
    threading.Event().wait()


def spin_with_the_interpreter_lock() -> None:
    re.fullmatch("(a+)+b", "a" * 64)  # 2^64 steps of native code that never gives the lock back


@pytest.fixture(scope="module")
def seventeen(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More songs than a shard has."""
    source = tmp_path_factory.mktemp("seventeen") / "synthetic"
    source.mkdir()
    for song in sorted(synthetic.rglob("synthetic-*-0[12].*"))[:17]:
        shutil.copy(song, source)
    return source


@pytest.fixture(scope="module")
def sixteen(seventeen: Path, ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Tables of a source without the sixth song."""
    folder = tmp_path_factory.mktemp("sixteen")
    shutil.copytree(seventeen, folder / "synthetic")
    sorted((folder / "synthetic").iterdir())[5].unlink()
    store = new_out(folder / "out", folder / "synthetic")
    extract(store, SETTINGS)
    return store


@pytest.mark.parametrize(
    ("misbehave", "reason", "tries"),
    [
        (segfault, "crashed", 3),  # with its shard, alone, and alone again
        (be_killed, "crashed", 3),
        (sleep_for_ever, "timeout", 1),
        (spin_with_the_interpreter_lock, "timeout", 1),
    ],
)
def test_a_file_that_hangs_or_crashes_its_decoder_takes_only_itself(
    sixteen: Store, seventeen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    misbehave: Callable[[], None], reason: str, tries: int,
) -> None:  # fmt: skip
    deadly = sorted(seventeen.iterdir())[5]
    log = tmp_path / "tries"
    load, extract_shard = audio.load, stage._extract_shard._function

    def load_or_die(uri: str, **options: float) -> audio.Samples:
        if uri == str(deadly):
            with log.open("a") as f:
                f.write("x")
            misbehave()
        return load(uri, **options)

    @ray.remote(num_cpus=1, max_retries=0)
    def shard_with_a_deadly_file(*arguments: object) -> int:
        with mock.patch("musicrec.audio.load", load_or_die):  # in the worker
            return extract_shard(*arguments)

    monkeypatch.setattr(stage, "_extract_shard", shard_with_a_deadly_file)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    store = new_out(tmp_path / "out", seventeen)
    counts = extract(store, SETTINGS, seconds_per_file=6 if reason == "timeout" else 300)
    assert (counts.ok, counts.failed, counts.left) == (16, 1, 0)
    found, expected = tables(store), tables(sixteen)
    failed = found["outcomes"].query("track_id == @deadly.name").iloc[0]
    assert (failed.status, failed.reason) == ("failed", reason)
    assert "ended every worker" in failed.detail if reason == "crashed" else "longer than 6 s" in failed.detail
    assert log.read_text() == "x" * tries
    found["outcomes"] = found["outcomes"].query("track_id != @deadly.name").reset_index(drop=True)
    assert_same(found, expected)
    assert extract(store, SETTINGS).fresh == 0


# --- a part of the work -------------------------------------------------------------------------------------------


def test_limited_runs_add_up_to_one(undisturbed: Store, synthetic: Path, tmp_path: Path) -> None:
    store = new_out(tmp_path / "out", synthetic)
    total = len(store.track_ids())
    for run in (1, 2):
        counts = extract(store, SETTINGS, limit=15)
        assert (counts.fresh, counts.total, counts.left) == (15, 15 * run, total - 15 * run)
        assert str(counts).endswith(f"(15 decoded now), {total - 15 * run} left for a later run")
        outcomes = tables(store)["outcomes"]
        assert outcomes.track_id.tolist() == store.track_ids()[: 15 * run]
        assert store.read("mel")["track_id"].to_pylist() == outcomes.query("status == 'ok'").track_id.tolist()
    counts = extract(store, SETTINGS)
    assert (counts.total, counts.left) == (total, 0)
    assert "left" not in str(counts)
    assert_same(tables(store), tables(undisturbed))


def test_failed_tracks_beyond_the_limit_keep_their_outcome(copy: Store, undisturbed: Store) -> None:
    todo = plan(copy, SETTINGS, retry_failed=True, limit=1)
    assert [len(tracks) for tracks in todo[:4]] == [1, 0, todo.n_known - 3, 3]
    counts = extract(copy, SETTINGS, retry_failed=True, limit=1)
    assert (counts.fresh, counts.failed, counts.left) == (1, 4, 0)
    assert_same(tables(copy), tables(undisturbed))


def test_a_changed_song_beyond_the_limit_leaves_the_tables_until_its_turn(synthetic: Path, tmp_path: Path) -> None:
    source, songs = own_source(synthetic, tmp_path)
    late = "synthetic-x2.wav"
    for song in songs[:2]:
        for name in ("synthetic-x1.wav", late):
            shutil.copy(song, source / name)
        store = new_out(tmp_path / "out", source)
        counts = extract(store, SETTINGS, limit=None if song is songs[0] else 1)
    assert (counts.fresh, counts.left) == (1, 1)
    assert late not in [*store.read("features")["track_id"].to_pylist(), *tables(store)["outcomes"].track_id]
    extract(store, SETTINGS)
    assert_as_fresh(store, source, tmp_path / "fresh")


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def test_a_plan_tells_what_would_be_done_and_writes_nothing(synthetic: Path, tmp_path: Path, ray_session: None) -> None:
    store = new_out(tmp_path / "out", synthetic)
    total = len(store.track_ids())
    before = files(store.out)
    assert str(plan(store, SETTINGS)) == (
        f"extract would decode {total}, leave 0 for a later run, keep 0 up to date and 0 that failed before = {total}; "
        "time: unknown, nothing was decoded here before"
    )
    assert files(store.out) == before
    extract(store, SETTINGS, limit=30)
    outcomes = store.read("outcomes").to_pandas().query("stage == 'extract'")
    failed = (outcomes.status == "failed").sum()
    seconds = outcomes.seconds[outcomes.status == "ok"].mean()
    before = files(store.out)
    todo = plan(store, SETTINGS, limit=4)
    assert [len(tracks) for tracks in todo[:4]] == [4, total - 34, 30 - failed, failed]
    assert todo.seconds_a_track == pytest.approx(seconds)
    assert f"about {4 * seconds:.1f} s of one CPU" in str(todo)
    assert files(store.out) == before
    with pytest.raises(ConfigError, match="--force"):
        plan(store, ExtractSettings(n_mels=40))


# --- segments and images ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def segmented(synthetic: Path, ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Store:
    source, _ = own_source(synthetic, tmp_path_factory.mktemp("segmented"))
    shutil.copy(synthetic / "synthetic-hum/synthetic-hum-text.mp3", source)
    store = new_out(source.parent / "out", source)
    extract(store, ExtractSettings(segment_s=0.7, feature_sets=("iiitd41",)))
    return store


def test_segments_are_the_features_of_consecutive_slices_of_the_clip(segmented: Store) -> None:
    segments = segmented.read("segments").to_pandas()
    assert segments[["track_id", "segment"]].equals(
        segments[["track_id", "segment"]].sort_values(["track_id", "segment"])
    )
    uris = dict(zip(*segmented.read("tracks", ["track_id", "uri"]).to_pydict().values(), strict=True))
    assert set(segments.track_id) == set(segmented.read("features")["track_id"].to_pylist())
    for track_id, rows in segments.groupby("track_id"):
        y = audio.load(uris[track_id])
        length = 15_435  # 0.7 s
        assert len(rows) == len(y) // length >= 3
        assert rows.segment.tolist() == list(range(len(rows)))
        np.testing.assert_allclose(rows.start_s, 0.7 * rows.segment, rtol=1e-6)
        last = rows.iloc[-1]
        expected = features.extract(y[int(last.segment) * length :][:length], 22050, "iiitd41")
        assert list(expected) == segments.columns[3:].tolist()
        np.testing.assert_allclose(last[list(expected)].astype("float64"), list(expected.values()), rtol=1e-6)


def test_segments_stay_what_they_are_when_a_song_is_added(segmented: Store, synthetic: Path, tmp_path: Path) -> None:
    shutil.copytree(segmented.out.parent, tmp_path / "copy", symlinks=True)
    store, source = Store(tmp_path / "copy/out"), tmp_path / "copy/synthetic"
    catalog(store, CatalogSettings(source=str(source)), force=True)
    before = store.read("segments").to_pandas()
    shutil.copy(next((synthetic / "synthetic-bells").glob("*-01.*")), source)
    catalog(store, CatalogSettings(source=str(source)))
    settings = ExtractSettings(segment_s=0.7, feature_sets=("iiitd41",))
    assert extract(store, settings).fresh == 1
    after = store.read("segments").to_pandas()
    added = after.track_id.str.contains("bells")
    assert 3 <= added.sum() <= 6
    pd.testing.assert_frame_equal(after[~added].reset_index(drop=True), before, check_exact=True)


def test_a_table_no_longer_asked_for_goes_and_comes_back(segmented: Store, tmp_path: Path) -> None:
    shutil.copytree(segmented.out, tmp_path / "out", symlinks=True)
    store = Store(tmp_path / "out")
    before = tables(store)
    extract(store, ExtractSettings(feature_sets=("iiitd41",)), force=True)
    assert not store.exists("segments")
    assert not (store.out / "_versions/segments").exists()
    del before["segments"]
    without = tables(store)
    for table in (before, without):
        del table["outcomes"]  # other settings, other fingerprints
    assert_same(without, before)
    extract(store, ExtractSettings(segment_s=0.7, feature_sets=("iiitd41",)), force=True)
    assert_same(tables(store), tables(segmented))


@pytest.mark.parametrize("segment_s", [0.05, -1.0, 30.5])
def test_segments_too_short_or_longer_than_the_clip_are_refused(segment_s: float) -> None:
    with pytest.raises(ValueError, match=r"expected 0, or 0\.1 s to the 30 s of the clip"):
        ExtractSettings(segment_s=segment_s)


def test_images_are_pngs_of_the_clip(synthetic: Path, tmp_path: Path, ray_session: None) -> None:
    images = pytest.importorskip("musicrec.features.images")
    from PIL import Image

    source, songs = own_source(synthetic, tmp_path)
    store = new_out(tmp_path / "out", source)
    extract(store, ExtractSettings(images=True))
    table = store.read("images").to_pandas()
    assert table.track_id.tolist() == store.read("features")["track_id"].to_pylist()
    for row in table.itertuples():
        for png in (row.spectrogram, row.waveform):
            image = Image.open(io.BytesIO(png))
            assert (image.format, image.convert("RGB").size) == ("PNG", (256, 256))
    y = audio.load(str(songs[0]))
    first = table.set_index("track_id").loc[songs[0].relative_to(source).as_posix()]
    assert first.waveform == images.to_png(images.waveform_image(y))
    assert first.spectrogram == images.to_png(images.spectrogram_image(features.mel(y, 22050)))


def mel96_by_librosa(y: np.ndarray) -> np.ndarray:
    low = librosa.resample(y, orig_sr=22_050, target_sr=12_000, res_type="soxr_hq")[:349_440]
    power = librosa.feature.melspectrogram(y=low, sr=12_000, n_fft=512, hop_length=256, n_mels=96)
    return librosa.power_to_db(power, ref=np.max)


def test_mel96_is_librosas_mel_of_the_clip_at_12_khz(synthetic: Path, tmp_path: Path, ray_session: None) -> None:
    source, songs = own_source(synthetic, tmp_path)
    noise = np.random.default_rng(0).normal(size=32 * 22_050) * np.linspace(0.001, 0.3, 32 * 22_050)
    sf.write(source / "long.wav", noise, 22_050)
    store = new_out(tmp_path / "out", source)
    extract(store, ExtractSettings(mel96=True))
    table = store.read("mel96").to_pandas().set_index("track_id")
    assert set(table.index) == set(store.read("mel")["track_id"].to_pylist())
    assert table.loc["long.wav", "n_frames"] == 1366
    for path in [source / "long.wav", *songs[:2]]:
        stored = table.loc[path.relative_to(source).as_posix()]
        expected = mel96_by_librosa(audio.load(str(path)))
        assert stored.n_frames == expected.shape[1]
        rounding = np.spacing(np.abs(expected).astype(np.float16)).astype(np.float32) / 2
        assert (np.abs(stored.mel.astype(np.float32).reshape(96, -1) - expected) <= rounding + 1e-2).all()
    lineage = store.footer("mel96")["lineage"]
    assert lineage == {"sample_rate": 12_000, "n_fft": 512, "hop_length": 256, "n_mels": 96}
    for part in (store.out / "mel96").glob("*.parquet"):
        assert json.loads(pq.read_metadata(part).metadata[b"musicrec"])["lineage"] == lineage


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_mel96_has_its_length_and_range_whatever_the_clip(tmp_path: Path, rate: int) -> None:
    settings = ExtractSettings(mel96=True, sample_rate=rate, feature_sets=("gtzan57",))
    rng = np.random.default_rng(0)
    for seconds, n_frames in [(0.1, 1 + 1200 // 256), (29.1, 1 + 349_200 // 256), (29.12, 1366), (30.5, 1366)]:
        sf.write(tmp_path / "a.wav", 0.1 * rng.normal(size=round(seconds * 44_100)), 44_100)
        (row,) = extract_track(Wanted("a", str(tmp_path / "a.wav"), ""), settings)["mel96"]
        assert (row["n_frames"], row["mel"].shape) == (n_frames, (96 * n_frames,))
        assert (row["mel"].max(), row["mel"].min() >= -80) == (0, True)


def test_mel96_goes_when_it_is_no_longer_asked_for(synthetic: Path, tmp_path: Path, ray_session: None) -> None:
    source, _ = own_source(synthetic, tmp_path)
    store = new_out(tmp_path / "out", source)
    extract(store, ExtractSettings(mel96=True))
    extract(store, SETTINGS, force=True)
    assert not store.exists("mel96")
    assert_as_fresh(store, source, tmp_path / "fresh")


# --- collections --------------------------------------------------------------------------------------------------

FMA_TRACKS = """\
,album,album,artist,artist,set,set,track,track,track,track
,comments,title,id,name,split,subset,bit_rate,genre_top,genres,title
track_id,,,,,,,,,,
2,0,AWOL - A Way Of Life,1,AWOL,training,small,256000,Hip-Hop,[21],Food
5,0,"Niris, live",6,Nicky Cook,validation,medium,256000,,"[76, 103]",Été
10,0,Constant Hitmaker,6,Kurt Vile,test,small,192000,Pop,[10],Freeway
134,0,AWOL - A Way Of Life,1,AWOL,training,medium,256000,Hip-Hop,[21],Street Music
"""


def test_fma_goes_from_its_folders_to_the_tables(tmp_path: Path, ray_session: None) -> None:
    from musicrec.cli import cli

    rng = np.random.default_rng(0)
    for number in (2, 5, 10):
        path = tmp_path / f"fma/fma_small/000/{number:06d}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, 0.1 * rng.normal(size=(3 * 44_100, 2)), 44_100, format="MP3")
    (tmp_path / "fma/fma_metadata").mkdir()
    (tmp_path / "fma/fma_metadata/tracks.csv").write_text(FMA_TRACKS, encoding="utf-8")
    (tmp_path / "fma/fma_small/000/000134.mp3").write_bytes(b"")  # as some of the collection's own are cut off
    out = str(tmp_path / "out")
    for command in (["catalog", out, "--source", str(tmp_path / "fma"), "--kind", "fma"], ["extract", out]):
        cli.main(command, standalone_mode=False)
    tracks = pd.read_parquet(f"{out}/tracks").set_index("track_id")
    assert tracks["split"].to_dict() == {
        "000002": "training", "000005": "validation", "000010": "test", "000134": "training"
    }  # fmt: skip
    assert tracks.loc["000010", ["genre", "artist", "album", "title"]].tolist() == [
        "Pop", "Kurt Vile", "Constant Hitmaker", "Freeway"
    ]  # fmt: skip
    assert pd.isna(tracks.loc["000005", "genre"])
    assert pd.read_parquet(f"{out}/features")["track_id"].tolist() == ["000002", "000005", "000010"]
    outcomes = pd.read_parquet(f"{out}/outcomes").query("stage == 'extract'").set_index("track_id")
    assert outcomes.reason.dropna().to_dict() == {"000134": "empty"}


def test_songs_elsewhere_are_extracted_as_if_they_were_here(
    undisturbed: Store, synthetic: Path, tmp_path: Path
) -> None:
    names = ["synthetic-drone/*-interlude.flac", "synthetic-bells/synthetic-bells-01.*", "synthetic-hum/*-text.mp3"]
    names = [next(synthetic.glob(name)).relative_to(synthetic).as_posix() for name in names]
    handler = partial(SimpleHTTPRequestHandler, directory=synthetic)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        songs = pd.DataFrame({"uri": [f"{address}/{name}" for name in (*names, "gone.wav")], "track_id": [*names, "x"]})
        songs.to_parquet(tmp_path / "songs.parquet")
        store = new_out(tmp_path / "out", tmp_path / "songs.parquet")
        counts = extract(store, SETTINGS)
        assert extract(store, SETTINGS).fresh == 0
        server.shutdown()
    assert (counts.ok, counts.failed) == (2, 2)
    reasons = tables(store)["outcomes"].set_index("track_id").reason.dropna().to_dict()
    assert reasons == {names[2]: "undecodable", "x": "missing"}
    found, expected = (tables(s)["features"].set_index("track_id") for s in (store, undisturbed))
    pd.testing.assert_frame_equal(found, expected.loc[found.index], check_exact=True)


# --- stopped at the worst moments ---------------------------------------------------------------------------------


def interrupt(name: str, store: Store, settings: ExtractSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run extract and die where it would call `name`."""

    def die(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(name, die)
        with pytest.raises(SystemExit):
            extract(store, settings)


def own_source(synthetic: Path, tmp_path: Path) -> tuple[Path, list[Path]]:
    source = tmp_path / "synthetic"
    for style in ("synthetic-drone", "synthetic-pluck"):
        shutil.copytree(synthetic / style, source / style)
    return source, sorted(source.rglob("*.wav"))


def assert_as_fresh(store: Store, source: Path, fresh: Path) -> None:
    other = new_out(fresh, source)
    extract(other, SETTINGS)
    assert_same(tables(store), tables(other))
    assert not list((store.out / "_work").rglob("*.parquet"))


def test_shards_of_older_content_and_of_other_settings_are_not_mistaken_for_todays(
    ray_session: None, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, songs = own_source(synthetic, tmp_path)
    store = new_out(tmp_path / "out", source)
    for settings in (SETTINGS, ExtractSettings(n_mels=40), ExtractSettings(feature_sets=("iiitd41",))):
        interrupt("musicrec.extract._publish", store, settings, monkeypatch)
        (store.out / "settings.toml").write_text(f'[catalog]\nsource = "{source}"\n')  # as after a first run cut short
    shutil.copy(songs[0], songs[1])
    catalog(store, CatalogSettings(source=str(source)))
    assert extract(store, SETTINGS).fresh == 1
    assert_as_fresh(store, source, tmp_path / "fresh")


def test_a_song_that_left_and_came_back_around_a_kill_has_its_rows(
    ray_session: None, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, songs = own_source(synthetic, tmp_path)
    store = new_out(tmp_path / "out", source)
    extract(store, SETTINGS)
    songs[0].rename(tmp_path / "away.wav")
    catalog(store, CatalogSettings(source=str(source)))
    interrupt("musicrec.storage.Store.save_outcomes", store, SETTINGS, monkeypatch)
    (tmp_path / "away.wav").rename(songs[0])
    monkeypatch.undo()
    catalog(store, CatalogSettings(source=str(source)))
    assert extract(store, SETTINGS).fresh == 1
    assert_as_fresh(store, source, tmp_path / "fresh")


def test_an_out_in_which_nothing_succeeded_takes_good_songs_later(
    ray_session: None, synthetic: Path, tmp_path: Path
) -> None:
    _, songs = own_source(synthetic, tmp_path)
    source = tmp_path / "synthetic-bad"
    source.mkdir()
    (source / "text.mp3").write_text("no audio")
    store = new_out(tmp_path / "out", source)
    with pytest.raises(MusicrecError, match="none of 1 tracks came through"):
        extract(store, SETTINGS)
    shutil.copy(songs[0], source)
    catalog(store, CatalogSettings(source=str(source)))
    counts = extract(store, SETTINGS)
    assert (counts.ok, counts.failed, counts.fresh) == (1, 1, 1)
    assert store.read("features").num_rows == store.read("mel").num_rows == 1


# --- kill -9 ------------------------------------------------------------------------------------------------------


def start_extract(out: Path) -> subprocess.Popen[bytes]:
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "musicrec", "extract", str(out)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_a_shard(store: Store, process: subprocess.Popen[bytes]) -> None:
    while not store.staged(stage._work(SETTINGS)):
        assert process.poll() is None, "extract ended before it could be killed"
        time.sleep(0.01)


def descendants(pid: int) -> Iterator[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    for child in children.read_text().split() if children.exists() else ():
        yield int(child)
        yield from descendants(int(child))


def kill_driver(process: subprocess.Popen[bytes]) -> None:
    process.kill()


def kill_worker(process: subprocess.Popen[bytes]) -> None:
    for pid in descendants(process.pid):
        if b"ray::_extract_shard" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
            return
    pytest.fail("no worker of extract found")


@pytest.mark.parametrize("kill", [kill_worker, kill_driver])
def test_each_track_stands_once_after_a_kill_in_mid_extract(
    undisturbed: Store, synthetic: Path, tmp_path: Path, kill: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    store = new_out(tmp_path / "out", synthetic)
    process = start_extract(store.out)
    wait_for_a_shard(store, process)
    kill(process)
    process.wait(120)
    assert (process.returncode == 0) == (kill is kill_worker)
    if kill is kill_driver:
        assert not store.exists("features")
        staged = sum(pq.read_table(shard).num_rows for shard in store.staged(stage._work(SETTINGS)))
        counts = extract(store, SETTINGS)
        assert 0 < counts.fresh <= counts.total - staged
    assert_same(tables(store), tables(undisturbed))
    assert not store.staged(stage._work(SETTINGS))
