"""Extract when files hang or crash their decoder, and when it is stopped at the worst moments."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pyarrow.parquet as pq
import pytest
import ray

from extracting import SETTINGS, assert_as_fresh, assert_same, new_out, own_source, tables
from musicrec import audio
from musicrec.errors import MusicrecError
from musicrec.settings import CatalogSettings, ExtractSettings
from musicrec.stages.catalog.stage import catalog
from musicrec.stages.extract import plan, stage
from musicrec.stages.extract.stage import extract
from musicrec.store.store import Store
from processes import named


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
        pytest.param(be_killed, "crashed", 3, marks=pytest.mark.slow),
        pytest.param(sleep_for_ever, "timeout", 1, marks=pytest.mark.slow),
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


# --- stopped at the worst moments -------------------------------------------------------------------------------------


def interrupt(name: str, store: Store, settings: ExtractSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run extract and die where it would call `name`."""

    def die(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(name, die)
        with pytest.raises(SystemExit):
            extract(store, settings)


def test_shards_of_older_content_and_of_other_settings_are_not_mistaken_for_todays(
    ray_session: None, synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, songs = own_source(synthetic, tmp_path)
    store = new_out(tmp_path / "out", source)
    for settings in (SETTINGS, ExtractSettings(n_mels=40), ExtractSettings(feature_sets=("iiitd41",))):
        interrupt("musicrec.stages.extract.stage._publish", store, settings, monkeypatch)
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
    interrupt("musicrec.stages.finish.save_outcomes", store, SETTINGS, monkeypatch)
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


# --- kill -9 ----------------------------------------------------------------------------------------------------------


def start_extract(out: Path) -> subprocess.Popen[bytes]:
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "musicrec", "extract", str(out)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_a_shard(store: Store, process: subprocess.Popen[bytes]) -> None:
    while not store.work.staged(plan.work_of(SETTINGS)):
        assert process.poll() is None, "extract ended before it could be killed"
        time.sleep(0.01)


def kill_driver(process: subprocess.Popen[bytes]) -> None:
    process.kill()


def kill_worker(process: subprocess.Popen[bytes]) -> None:
    worker, *_ = named(process.pid, "ray::_extract_shard")
    os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize("kill", [pytest.param(kill_worker, marks=pytest.mark.slow), kill_driver])
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
        staged = sum(pq.read_table(shard).num_rows for shard in store.work.staged(plan.work_of(SETTINGS)))
        counts = extract(store, SETTINGS)
        assert 0 < counts.fresh <= counts.total - staged
    assert_same(tables(store), tables(undisturbed))
    assert not store.work.staged(plan.work_of(SETTINGS))
