"""What cannot be read is not gone: songs keep what they had, and the run says so."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from musicrec.errors import CatalogError, DecodeError, Unread, exit_code_of
from musicrec.schemas import Reason
from musicrec.settings import CatalogSettings
from musicrec.stages.catalog import unread
from musicrec.stages.catalog.layouts import Listing
from musicrec.stages.catalog.stage import catalog
from musicrec.stages.run_report import reported
from musicrec.store.store import Store

NAMES = ("rock/a.wav", "rock/live/b.wav", "pop/c.wav", "pop/d.wav", "e.wav")
CODES = [errno.EACCES, errno.EIO, errno.ESTALE, errno.ETIMEDOUT]


def song(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, 0.1 * np.random.default_rng(seed).normal(size=800), 8_000)


def run(store: Store, source: Path, **options):
    return catalog(store, CatalogSettings(source=str(source)), **options)


def table(store: Store, name: str = "tracks") -> pd.DataFrame:
    return pd.read_parquet(store.out / name).set_index("track_id")


@pytest.fixture
def source(tmp_path) -> Path:
    for i, name in enumerate(NAMES):
        song(tmp_path / "songs" / name, i)
    return tmp_path / "songs"


def break_listing(monkeypatch, folder: Path, code: int, *, after: int = 0) -> None:
    """Let a folder give some entries and then an error."""
    scandir = os.scandir

    class Broken:
        def __init__(self, entries):
            self._entries, self._left = entries, after

        def __next__(self):
            if not self._left:
                raise OSError(code, os.strerror(code), str(folder))
            self._left -= 1
            return next(self._entries)

        def __iter__(self):
            return self

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._entries.close()

        close = __exit__

    def broken(path="."):
        if Path(path) != folder:
            return scandir(path)
        if not after:
            raise OSError(code, os.strerror(code), str(folder))
        return Broken(scandir(path))

    monkeypatch.setattr(os, "scandir", broken)


def reasons(store: Store) -> dict[str, str]:
    outcomes = table(store, "outcomes")
    return outcomes[outcomes.status == "failed"].reason.to_dict()


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("code", CODES)
def test_songs_below_a_folder_that_cannot_be_listed_keep_their_rows(store, source, monkeypatch, code, after):
    run(store, source)
    known = table(store)
    with monkeypatch.context() as patch:
        break_listing(patch, source / "rock", code, after=after)
        counts = run(store, source, max_removed_fraction=0)
    pd.testing.assert_frame_equal(table(store), known)
    assert (counts.ok, counts.failed, counts.total) == (3, 2, 6)  # the folder has an outcome too
    assert reasons(store) == {"rock/a.wav": "unreadable", "rock/live/b.wav": "unreadable"}
    (line,) = counts.unread
    assert line == (
        f"2 songs could not be read: {source}/rock cannot be listed: {os.strerror(code)}; for example rock/a.wav"
    )
    counts = run(store, source)
    assert (counts.ok, counts.failed, counts.fresh, counts.unread) == (5, 0, 0, ())


def test_songs_behind_a_link_to_a_disk_that_is_not_mounted_keep_their_rows(store, source, tmp_path):
    song(tmp_path / "disk/live/x.wav", 7)
    (source / "linked").symlink_to(tmp_path / "disk")
    run(store, source)
    known = table(store)
    assert "linked/live/x.wav" in known.index
    (tmp_path / "disk").rename(tmp_path / "away")
    counts = run(store, source, max_removed_fraction=0)
    pd.testing.assert_frame_equal(table(store), known)
    assert reasons(store) == {"linked/live/x.wav": "unreadable"}
    place = f"{source}/linked is a link to {tmp_path}/disk, which is not there"
    assert counts.unread == (f"1 song could not be read: {place}; for example linked/live/x.wav",)
    (tmp_path / "away").rename(tmp_path / "disk")
    counts = run(store, source)
    assert (counts.ok, counts.fresh, counts.unread) == (6, 0, ())
    (source / "linked").unlink()
    assert run(store, source).unread == ()
    assert list(table(store).index) == sorted(NAMES)


def test_a_broken_link_that_no_song_lay_behind_is_nothing_to_report(store, source):
    (source / "old").symlink_to("/nowhere/at/all")
    run(store, source)
    assert run(store, source).unread == ()


@pytest.fixture
def linked_files(source, tmp_path) -> list[Path]:
    """Songs that are links to files on a disk, each beside others."""
    links = [source / "pop/x.wav", source / "y.wav"]
    for i, link in enumerate(links):
        song(tmp_path / "disk" / link.name, 20 + i)
        link.symlink_to(tmp_path / "disk" / link.name)
    return links


def test_songs_that_are_links_to_a_disk_that_is_not_mounted_keep_their_rows(store, source, tmp_path, linked_files):
    run(store, source)
    known = table(store)
    (tmp_path / "disk").rename(tmp_path / "away")
    (source / "never.wav").symlink_to(tmp_path / "nowhere.wav")
    counts = run(store, source)
    pd.testing.assert_frame_equal(table(store).drop("never.wav"), known, check_dtype=False)
    assert reasons(store) == {"pop/x.wav": "unreadable", "y.wav": "unreadable"}
    cause = f"it is a link, and {tmp_path}/disk is not there"
    assert counts.unread == (f"2 songs could not be read: {cause}; for example pop/x.wav",)
    (tmp_path / "away").rename(tmp_path / "disk")
    linked_files[1].unlink()
    counts = run(store, source)
    assert (counts.fresh, counts.unread) == (0, ())
    assert list(table(store).index) == sorted([*NAMES, "never.wav", "pop/x.wav"])


def mount(place: Path, disk: Path, *, is_mounted: bool) -> None:
    """Let the content of a disk appear in a folder, or leave it empty."""
    (disk if is_mounted else place).rename(place if is_mounted else disk)
    if not is_mounted:
        place.mkdir()


def test_songs_of_a_mount_point_that_is_empty_tonight_keep_their_rows(store, source, tmp_path):
    for i, name in enumerate(("nas/a/x.wav", "nas/b/y.wav")):
        song(source / name, 30 + i)
    run(store, source)
    known = table(store)
    mount(source / "nas", tmp_path / "disk", is_mounted=False)
    counts = run(store, source, max_removed_fraction=0)
    pd.testing.assert_frame_equal(table(store), known)
    said = "is empty, as a disk that is not mounted is; if its songs are gone, remove it"
    assert counts.unread == (f"2 songs could not be read: {source}/nas {said}; for example nas/a/x.wav",)
    mount(source / "nas", tmp_path / "disk", is_mounted=True)
    assert (counts := run(store, source)).unread == ()
    assert counts.fresh == 0
    mount(source / "nas", tmp_path / "disk", is_mounted=False)
    (source / "nas").rmdir()
    assert run(store, source).unread == ()
    assert list(table(store).index) == sorted(NAMES)


def test_songs_that_left_an_empty_folder_have_moved_or_are_gone(store, source):
    """All songs of a folder are deleted, and a whole tree goes elsewhere: nothing of that is a disk."""
    for i, name in enumerate(("nas/a/x.wav", "nas/b/y.wav")):
        song(source / name, 30 + i)
    run(store, source)
    for name in ("pop/c.wav", "pop/d.wav"):
        (source / name).unlink()
    for name in ("a", "b"):
        (source / "nas" / name).rename(source / "rock" / name)
    counts = run(store, source)
    assert (counts.moved, counts.unread) == (2, ())
    assert set(table(store).index) == {"e.wav", "nas/a/x.wav", "nas/b/y.wav", "rock/a.wav", "rock/live/b.wav"}


@pytest.mark.parametrize("is_empty", [True, False])
def test_songs_that_a_manifest_names_on_a_disk_that_is_not_mounted_keep_their_rows(store, source, tmp_path, is_empty):
    (tmp_path / "songs.csv").write_text("path\n" + "\n".join(f"songs/{name}" for name in NAMES))
    (source / "pop/d.wav").unlink()  # it never was there: one that is missing
    run(store, tmp_path / "songs.csv")
    known = table(store)
    mount(source, tmp_path / "disk", is_mounted=False)
    if not is_empty:
        source.rmdir()
    counts = run(store, tmp_path / "songs.csv")
    pd.testing.assert_frame_equal(table(store), known)
    assert set(reasons(store)) == {f"songs/{name}" for name in NAMES if name != "pop/d.wav"}
    assert len(counts.unread) == 1
    if not is_empty:
        source.mkdir()
    mount(source, tmp_path / "disk", is_mounted=True)
    (source / "e.wav").unlink()  # beside others: it is gone
    assert run(store, tmp_path / "songs.csv").unread == ()
    assert table(store).content_hash.isna().to_dict() == {f"songs/{n}": n in ("pop/d.wav", "e.wav") for n in NAMES}


def test_a_folder_is_not_listed_whole_for_each_song_that_is_missed_there(source, monkeypatch):
    monkeypatch.setattr(os, "listdir", lambda folder: pytest.fail(f"{folder} is listed whole"))
    assert unread.out_of_sight(str(source / "gone.wav"), is_named=True) is None
    (source / "nas").mkdir()
    assert "is empty" in (unread.out_of_sight(str(source / "nas/gone.wav"), is_named=True) or "")


@pytest.mark.parametrize("is_named", [False, True])
def test_a_pipe_with_the_name_of_a_song_blocks_nothing(source, tmp_path, is_named):
    os.mkfifo(source / "pipe.wav")
    (tmp_path / "songs.csv").write_text("path\nsongs/e.wav\nsongs/pipe.wav\n")
    command = "from musicrec.cli import main; main()"
    given = tmp_path / "songs.csv" if is_named else source
    catalog_it = [sys.executable, "-c", command, "catalog", tmp_path / "out", "--source", given]
    done = subprocess.run(catalog_it, capture_output=True, text=True, timeout=60, check=False)
    assert "1 failed = 2" in done.stdout if is_named else "1 skipped + 0 failed = 6" in done.stdout


def test_a_folder_that_has_become_a_file_is_gone(store, source):
    song(source / "nas/a/x.wav", 30)
    run(store, source)
    shutil.rmtree(source / "nas")
    (source / "nas").write_text("a note")
    assert run(store, source).unread == ()
    assert list(table(store).index) == sorted(NAMES)


def test_a_path_that_cannot_be_one_is_a_song_that_is_missing(store, source, tmp_path):
    (tmp_path / "songs.csv").write_bytes(b"path\nsongs/e.wav\nsongs/a\0b.wav\n")
    counts = run(store, tmp_path / "songs.csv")
    assert (counts.total, counts.unread) == (2, ())
    assert table(store).content_hash.isna().tolist() == [True, False]


def test_a_folder_that_was_away_while_it_was_listed_is_not_gone(store, source, monkeypatch):
    """Another program has put it aside for a moment."""
    run(store, source)
    known = table(store)
    break_listing(monkeypatch, source / "rock", errno.ENOENT)
    counts = run(store, source)
    pd.testing.assert_frame_equal(table(store), known)
    assert len(counts.unread) == 1


def test_songs_that_are_really_removed_are_gone(store, source):
    run(store, source)
    shutil.rmtree(source / "rock")
    (source / "e.wav").unlink()
    counts = run(store, source)
    assert list(table(store).index) == ["pop/c.wav", "pop/d.wav"]
    assert (counts.failed, counts.unread) == (0, ())


def test_a_source_that_cannot_be_listed_changes_nothing(store, source, monkeypatch):
    run(store, source)
    known = table(store)
    break_listing(monkeypatch, source, errno.EACCES)
    with pytest.raises(CatalogError, match=r"cannot be read \(Permission denied\); nothing has changed"):
        run(store, source)
    pd.testing.assert_frame_equal(table(store), known)


def test_songs_that_are_seen_keep_their_ids_and_their_layout(store, tmp_path, monkeypatch):
    """Of two songs of one name, each has its path as id; if one is not seen, the other keeps that id."""
    for i, name in enumerate(("one/blues.00001.wav", "two/blues.00001.wav", "one/blues.00002.wav", "x/y.wav")):
        song(tmp_path / "songs" / name, i)
    run(store, tmp_path / "songs")
    known = table(store)
    assert "one/blues.00001.wav" in known.index
    break_listing(monkeypatch, tmp_path / "songs/two", errno.EIO)
    run(store, tmp_path / "songs")
    pd.testing.assert_frame_equal(table(store), known)


@pytest.mark.parametrize("where", ["stat", "open"])
@pytest.mark.parametrize("code", CODES)
def test_a_file_that_cannot_be_read_for_a_night_keeps_its_row(store, source, monkeypatch, where, code):
    run(store, source)
    known = table(store)
    path = source / "pop/c.wav"
    os.utime(path, (1, 1))  # it must be opened to know whether it has changed
    method = getattr(Path, where)

    def broken(self, *arguments, **options):
        if self == path:
            raise OSError(code, os.strerror(code), str(self))
        return method(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, where, broken)
        counts = run(store, source)
    pd.testing.assert_frame_equal(table(store), known)
    assert reasons(store) == {"pop/c.wav": "unreadable"}
    assert len(counts.unread) == 1
    assert run(store, source).unread == ()
    assert table(store).loc["pop/c.wav", "content_hash"] == known.loc["pop/c.wav", "content_hash"]


def test_a_new_file_takes_nothing_from_a_song_that_is_not_seen(store, source, monkeypatch):
    """Neither the id of its bytes, nor that of the place where it lay before."""
    run(store, source)
    (source / "e.wav").rename(source / "rock/e.wav")  # it keeps its id
    run(store, source)
    known = table(store)
    song(source / "e.wav", 9)
    shutil.copyfile(source / "rock/a.wav", source / "pop/copy.wav")
    break_listing(monkeypatch, source / "rock", errno.EIO)
    run(store, source)
    now = table(store)
    pd.testing.assert_frame_equal(now.loc[known.index], known)
    assert set(now.index) - set(known.index) == {"e.wav#2", "pop/copy.wav"}


def test_folders_of_the_system_are_nothing_to_report(store, source, monkeypatch):
    for name in ("lost+found", ".Trash"):
        (source / name).mkdir()
        break_listing(monkeypatch, source / name, errno.EACCES)
    assert run(store, source).unread == ()


def test_a_folder_that_was_never_read_is_reported(store, source, monkeypatch):
    break_listing(monkeypatch, source / "rock", errno.EACCES)
    counts = run(store, source)
    assert list(table(store).index) == ["e.wav", "pop/c.wav", "pop/d.wav"]
    assert counts.unread == (f"{source}/rock cannot be listed: Permission denied; no song of it is known",)


def test_songs_of_another_source_are_not_kept(store, source, tmp_path, monkeypatch):
    run(store, source)
    song(tmp_path / "others/x.wav")
    monkeypatch.setattr(unread, "problem_of", lambda uri, places: "cannot be read")
    run(store, tmp_path / "others", force=True)
    assert list(table(store).index) == ["x.wav"]


@pytest.mark.parametrize(
    ("answer", "kept"),
    [({}, True), (DecodeError(Reason.UNREADABLE, "503"), True), (DecodeError(Reason.MISSING, "404"), False)],
)
def test_an_object_that_a_bucket_does_not_list_is_asked_for(monkeypatch, answer, kept):
    def info(uri):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(unread, "server_info", info)
    rows = {"a": {"track_id": "a", "uri": "s3://bucket/a.wav"}}
    assert [row for row, _ in unread.not_gone(Listing("folder", [], []), rows)] == [rows["a"]] * kept
    assert unread.not_gone(Listing("manifest", [], []), rows) == []  # its owner has taken it from the list


def test_the_run_ends_with_an_exit_code_of_its_own_and_says_so(store, source, monkeypatch, capsys):
    settings = CatalogSettings(source=str(source))
    catalog(store, settings)
    break_listing(monkeypatch, source / "rock", errno.EIO)
    with pytest.raises(Unread) as e, reported(store, "catalog") as done:
        done.stage("catalog", lambda: catalog(store, settings))
    assert exit_code_of(e.value) == done.report.exit_code == 7
    assert "2 songs could not be read" in capsys.readouterr().err
    assert len(done.report.unread) == 1
    assert done.report.songs["removed"] == 0


@pytest.mark.thorough
@pytest.mark.skipif(os.getuid() == 0 and not shutil.which("setpriv"), reason="root's rights cannot be taken away")
def test_rights_that_a_user_lacks_for_a_night(source, tmp_path):
    """By the machine's own rights; root gives up the right to ignore them."""
    without_rights = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []

    def musicrec(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [*without_rights, sys.executable, "-m", "musicrec", "catalog", tmp_path / "out", *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)

    assert musicrec("--source", source).returncode == 0
    known = pd.read_parquet(tmp_path / "out/tracks")
    (source / "rock").chmod(0o000)
    (source / "pop/c.wav").chmod(0o000)
    night = musicrec()
    (source / "rock").chmod(0o755)
    (source / "pop/c.wav").chmod(0o644)
    assert night.returncode == 7, night.stderr
    assert "2 songs could not be read" in night.stderr
    assert "1 song could not be read: the file cannot be read: Permission denied" in night.stderr
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out/tracks"), known)
    assert musicrec().returncode == 0
    assert pd.read_parquet(tmp_path / "out/tracks").content_hash.tolist() == known.content_hash.tolist()
