"""Extract on a real Ray: each track once, whatever the shards, the failures and the kills."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import ray

from musicrec import extract as stage
from musicrec.catalog import catalog
from musicrec.errors import ConfigError, MusicrecError
from musicrec.extract import extract, extract_track
from musicrec.settings import CatalogSettings, ExtractSettings
from musicrec.storage import Store

SETTINGS = ExtractSettings()


def new_out(out: Path, source: Path) -> Store:
    store = Store(out)
    store.create()
    catalog(store, CatalogSettings(source=str(source)))
    return store


def tables(store: Store) -> dict[str, pd.DataFrame]:
    """The stage's tables, without the seconds that a decode took."""
    found = {name: store.read(name).to_pandas() for name in ("features", "mel", "outcomes")}
    found["outcomes"] = found["outcomes"].query("stage == 'extract'").drop(columns="seconds").reset_index(drop=True)
    found["mel"]["mel"] = found["mel"]["mel"].map(bytes)
    return found


def assert_same(a: dict[str, pd.DataFrame], b: dict[str, pd.DataFrame]) -> None:
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
    features = undisturbed.read("features").to_pandas().set_index("track_id")
    mel = undisturbed.read("mel").to_pandas().set_index("track_id")
    wanted = {w.track_id: w for w in stage._wanted(undisturbed, SETTINGS)}
    for track_id in features.index[::9]:
        row = extract_track(wanted[track_id], SETTINGS)
        assert features.loc[track_id].to_dict() == pytest.approx({c: row[c] for c in features.columns}, rel=1e-6)
        assert mel.loc[track_id, "n_frames"] * SETTINGS.n_mels == len(row["mel"])
        assert (mel.loc[track_id, "mel"] == row["mel"]).all()


@pytest.mark.parametrize("sizes", [(1, 7), (5, 1000)])
def test_tables_do_not_depend_on_the_size_of_shards_and_parts(
    undisturbed: Store, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int]
) -> None:
    for name, size in zip(("TRACKS_PER_SHARD", "TRACKS_PER_PART"), sizes, strict=True):
        monkeypatch.setattr(stage, name, size)
    store = new_out(tmp_path / "out", synthetic)
    extract(store, SETTINGS)
    assert_same(tables(store), tables(undisturbed))


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


def test_a_file_that_kills_its_worker_takes_no_other_file_with_it(
    undisturbed: Store, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly = undisturbed.read("features")["track_id"][5].as_py()
    extract_shard = stage._extract_shard._function

    @ray.remote(num_cpus=1, max_retries=1)
    def shard_with_a_deadly_file(out: Path, shard: list[stage.Wanted], settings: ExtractSettings) -> int:
        if any(track.track_id == deadly for track in shard):
            os.kill(os.getpid(), signal.SIGKILL)
        return extract_shard(out, shard, settings)

    monkeypatch.setattr(stage, "_extract_shard", shard_with_a_deadly_file)
    store = new_out(tmp_path / "out", synthetic)
    extract(store, SETTINGS)
    outcomes = tables(store)["outcomes"].set_index("track_id")
    expected = tables(undisturbed)["outcomes"].set_index("track_id")
    assert outcomes.loc[deadly, ["status", "reason"]].tolist() == ["failed", "crashed"]
    pd.testing.assert_frame_equal(outcomes.drop(deadly), expected.drop(deadly))


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
    command = [sys.executable, "-m", "musicrec.cli", "extract", str(out)]
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
