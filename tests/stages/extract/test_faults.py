"""A fault of musicrec itself is not a file's fault: it is told loudly, tried no further, and forgotten when mended."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import ray

from extracting import SETTINGS, new_out, tables
from musicrec import audio
from musicrec.audio import ffmpeg
from musicrec.cli import main
from musicrec.errors import MusicrecError
from musicrec.stages import song_tasks
from musicrec.stages.extract import faults, stage
from musicrec.stages.extract.faults import SONGS_UNTIL_STOP, FaultySong, Tally, file_kind
from musicrec.stages.extract.stage import extract
from musicrec.store.store import Store

N_M4A, N_WAV = 14, 4

# --- the rules, without Ray -------------------------------------------------------------------------------------------


def caught(function: Callable[[], object]) -> Exception:
    try:
        function()
    except Exception as e:
        return e
    raise AssertionError


def test_a_fault_is_named_by_its_type_and_the_line_of_ours_that_met_it() -> None:
    error = caught(lambda: audio.clip_window(1.0, 1, "thirty", 30.0))  # type: ignore[arg-type]
    detail = faults.describe(error)
    assert detail.startswith("TypeError at musicrec/audio/clip.py:")
    assert str(error) in detail
    assert detail.endswith(f"; with {faults.versions()}")
    assert len(detail.splitlines()) == 1
    name = faults.fault_name("error", detail)
    assert name == detail[: detail.index(": ")]
    assert faults.fault_name("corrupt", detail) is None


def test_the_versions_are_those_installed() -> None:
    import av
    import soundfile

    assert f"av {av.__version__}" in faults.versions()
    assert f"soundfile {soundfile.__version__}" in faults.versions()
    assert f"Python {sys.version.split()[0]}" in faults.versions()


def test_only_a_fault_of_other_versions_is_tried_again() -> None:
    detail = faults.describe(caught(lambda: 1 / 0))
    assert not faults.is_outdated("error", detail)
    assert faults.is_outdated("error", detail.replace("numpy ", "numpy 9"))
    assert faults.is_outdated("error", None)
    assert not faults.is_outdated("corrupt", "some words of another version")
    assert not faults.is_outdated(None, None)


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("/music/a.b/song.M4A", ".m4a"),
        ("https://example.org/one.mp3?key=a.wav", ".mp3"),
        ("s3://bucket/two%2Em4a", ".m4a"),
        ("/music/a.b/song", "files without an extension"),
        ("/music/100%/#1.ogg", ".ogg"),
    ],
)
def test_songs_of_one_kind_have_one_extension(uri: str, kind: str) -> None:
    assert file_kind(uri) == kind


def test_five_of_five_by_one_fault_stop_their_kind_and_no_other() -> None:
    tally = Tally()
    for _ in range(SONGS_UNTIL_STOP - 1):
        tally.add(".m4a", "TypeError")
        tally.add(".wma", "TypeError")
    assert not tally.verdict.stopped
    tally.add(".m4a", "TypeError")
    assert tally.verdict.stopped == {".m4a"}
    assert not tally.is_stopped(".wma")


def test_a_kind_of_which_one_song_came_through_is_never_stopped() -> None:
    early, late = Tally(), Tally()
    early.add(".m4a", None)
    early.add(".m4a", "TypeError", 100)
    late.add(".m4a", "TypeError", 100)
    assert late.is_stopped(".m4a")
    assert not late.is_stopped(".m4a", early.verdict)  # another worker has read one
    late.update({(".m4a", None): 1})
    assert not early.is_stopped(".m4a")
    assert not late.is_stopped(".m4a")


def test_different_faults_do_not_add_up() -> None:
    tally = Tally()
    for number in range(20):
        tally.add(".m4a", f"ValueError at line {number // (SONGS_UNTIL_STOP - 1)}")
    assert not tally.is_stopped(".m4a")


def test_the_report_has_a_line_for_each_fault_and_each_kind_that_was_stopped() -> None:
    songs = [FaultySong(f"/m/{n}.m4a", f"TypeError at a.py:1: no {n}; with all") for n in range(5)]
    songs.append(FaultySong("/m/x.ogg", "KeyError at b.py:2: 'x'; with all"))
    lines = faults.report(songs, [f"/m/{n}.m4a" for n in range(95)] + ["/m/one.wma"])
    assert lines == [
        "5 songs failed because of a bug in musicrec, not in the files: TypeError at a.py:1: no 0; with all. "
        "Please report this line and, if you may, the file /m/0.m4a",
        "1 song failed because of a bug in musicrec, not in the files: KeyError at b.py:2: 'x'; with all. "
        "Please report this line and, if you may, the file /m/x.ogg",
        "stopped trying .m4a after 5 of 5 failed in the same way: 95 songs left for a later run",
        "stopped trying .wma after 5 of 5 failed in the same way: 1 song left for a later run",
    ]
    assert faults.report([]) == []


# --- in a run ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Songs of one format that FFmpeg reads, and of one that libsndfile reads, in two folders."""
    from musicrec.audio.encode import encode

    folder = tmp_path_factory.mktemp("faults") / "synthetic"
    rng = np.random.default_rng(0)
    for number in range(N_M4A):
        path = folder / ("synthetic-a" if number % 2 else "synthetic-b") / f"synthetic-{number:02d}.m4a"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(rng.uniform(-0.5, 0.5, 22_050).astype(np.float32), 22_050, "m4a"))
    for number, song in enumerate(sorted(synthetic.rglob("*-0[12].wav"))[:N_WAV]):
        shutil.copy(song, folder / ("synthetic-a" if number % 2 else "synthetic-b"))
    return folder


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Callable[[str], bool]], Path]:
    """Let FFmpeg's decoder raise TypeError, in the workers, for some files; returns the log of what it was asked."""
    log = tmp_path / "asked"
    log.touch()
    decode, extract_shard = ffmpeg.decode, stage._extract_shard._function

    def install(is_faulty: Callable[[str], bool]) -> Path:
        def decode_or_fail(path: Path, *arguments: object) -> object:
            with log.open("a") as f:
                f.write("x")
            if is_faulty(path.name):
                raise TypeError("decode() got an unexpected\nkeyword argument")
            return decode(path, *arguments)

        @ray.remote(num_cpus=1, max_retries=0)
        def shard_with_a_fault(*arguments: object) -> object:
            with mock.patch("musicrec.audio.ffmpeg.decode", decode_or_fail):
                return extract_shard(*arguments)

        monkeypatch.setattr(stage, "_extract_shard", shard_with_a_fault)
        return log

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    return install


def outcomes(store: Store) -> dict[str, str]:
    found = tables(store)["outcomes"]
    return dict(zip(found.track_id, found.reason.fillna("ok"), strict=True))


def complaints(errors: str) -> list[str]:
    """What was said on standard error, beside progress."""
    return [line.removeprefix("musicrec: ") for line in errors.splitlines() if line.startswith("musicrec: ")]


def test_a_fault_in_one_format_costs_no_other_and_is_not_tried_on_every_song(
    ray_session: None, source: Path, tmp_path: Path, faulty: Callable[..., Path], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(song_tasks, "LEAST_S", 1e-9)  # a song a shard, so that all workers take part
    log = faulty(lambda name: True)
    store = new_out(tmp_path / "out", source)
    counts = extract(store, SETTINGS, max_failed_fraction=1)
    tried = len(log.read_text())
    assert SONGS_UNTIL_STOP <= tried <= SONGS_UNTIL_STOP * int(ray.cluster_resources()["CPU"])
    assert (counts.ok, counts.failed, counts.left) == (N_WAV, tried, N_M4A - tried)
    assert sorted(outcomes(store).values()) == ["error"] * tried + ["ok"] * N_WAV
    first, second = counts.faults
    assert complaints(capsys.readouterr().err) == [first, second]
    assert first.startswith(
        f"{tried} songs failed because of a bug in musicrec, not in the files: TypeError at musicrec/"
    )
    assert "decode() got an unexpected keyword argument" in first
    assert first.endswith(".m4a")
    assert f"{N_M4A - tried} songs left for a later run" in second

    before = log.read_text()
    again = extract(store, SETTINGS, max_failed_fraction=1)  # as little as before, of songs not yet tried
    assert 0 < len(log.read_text()) - len(before) <= N_M4A - tried
    assert again.failed + again.left == N_M4A
    assert again.ok == N_WAV


def test_songs_are_tried_again_by_themselves_when_something_else_is_installed(
    ray_session: None, source: Path, tmp_path: Path, faulty: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty(lambda name: True)
    store = new_out(tmp_path / "out", source)
    failed = extract(store, SETTINGS, max_failed_fraction=1).failed
    monkeypatch.undo()  # mended, but nothing tells: only songs that were not tried are decoded
    counts = extract(store, SETTINGS, max_failed_fraction=1)
    assert (counts.ok, counts.failed, counts.fresh, counts.faults) == (
        N_WAV + N_M4A - failed,
        failed,
        N_M4A - failed,
        (),
    )
    monkeypatch.setattr(faults, "versions", lambda: "musicrec 99")
    counts = extract(store, SETTINGS)
    assert (counts.ok, counts.failed, counts.left, counts.fresh) == (N_WAV + N_M4A, 0, 0, failed)
    assert extract(store, SETTINGS).fresh == 0


def test_a_fault_that_some_songs_meet_stops_nothing(
    ray_session: None, source: Path, tmp_path: Path, faulty: Callable[..., Path]
) -> None:
    log = faulty(lambda name: name != "synthetic-01.m4a")  # the first that is decoded
    store = new_out(tmp_path / "out", source)
    counts = extract(store, SETTINGS, max_failed_fraction=1)
    assert (counts.ok, counts.failed, counts.left) == (N_WAV + 1, N_M4A - 1, 0)
    assert len(log.read_text()) >= N_M4A


def test_what_one_worker_gave_up_is_tried_where_another_found_its_kind_to_work(
    ray_session: None, source: Path, tmp_path: Path, faulty: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight songs fail first, in one shard; a song of another shard comes through meanwhile."""
    monkeypatch.setattr(song_tasks, "shards_of", lambda todo, most: [todo[: N_M4A // 2], todo[N_M4A // 2 :]])
    bad = {f"synthetic-{number:02d}.m4a" for number in range(1, N_M4A, 2)}  # all of the first folder
    faulty(lambda name: name in bad)
    store = new_out(tmp_path / "out", source)
    counts = extract(store, SETTINGS, max_failed_fraction=1)
    assert (counts.ok, counts.failed, counts.left) == (N_WAV + N_M4A - len(bad), len(bad), 0)


def test_the_command_ends_with_a_code_of_its_own_and_keeps_what_was_done(
    ray_session: None, source: Path, tmp_path: Path, faulty: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    faulty(lambda name: name in ("synthetic-02.m4a", "synthetic-03.m4a"))
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main(["run", str(out), "--source", str(source), "--model", "knn"])
    assert ended.value.code == 6
    text, errors = capsys.readouterr()
    assert f"extract: {N_WAV + N_M4A - 2} ok + 0 skipped + 2 failed" in text
    first, *_, last = complaints(errors)
    assert first.startswith("2 songs failed because of a bug in musicrec, not in the files: TypeError at ")
    assert last == "some songs failed because of a bug in musicrec (see above); everything else is done"
    store = Store(out)
    assert len(set(store.read("similar")["track_id"].to_pylist())) == N_WAV + N_M4A - 2
    assert (out / "report.html").exists()
    run = json.loads(next((out / "_runs").glob("*.json")).read_text())
    assert run["exit_code"] == 6
    assert run["faults"] == [first]


def test_when_no_song_comes_through_the_fault_is_told_all_the_same(
    ray_session: None, source: Path, tmp_path: Path, faulty: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    faulty(lambda name: True)
    shutil.copytree(source, tmp_path / "synthetic", ignore=shutil.ignore_patterns("*.wav"))
    store = new_out(tmp_path / "out", tmp_path / "synthetic")
    with pytest.raises(MusicrecError, match=r"none of \d+ tracks came through"):
        extract(store, SETTINGS)
    first, *_ = complaints(capsys.readouterr().err)
    assert "because of a bug in musicrec, not in the files: TypeError at musicrec/" in first
