"""Lists made from files are those made in memory, also where the work was cut short and went on."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from musicrec.errors import ConfigError
from musicrec.similarity import top_n
from musicrec.similarity.search import on_disk
from musicrec.similarity.search.approximate import top_n_approximate
from musicrec.similarity.search.on_disk import WorkOnDisk, top_n_on_disk


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(on_disk, "SONGS_PER_PART", 1024)
    monkeypatch.setattr(on_disk, "SONGS_PER_SHARD", 512)
    monkeypatch.setattr(on_disk, "AT_ONCE", 300)


def vectors(n_songs, d, kind=np.float32):
    rng = np.random.default_rng(n_songs)
    centres = rng.standard_normal((40, d))
    return (centres[rng.integers(0, 40, n_songs)] + 0.4 * rng.standard_normal((n_songs, d))).astype(kind)


def mapped(tmp_path, given):
    np.save(tmp_path / "vectors.npy", given)
    return np.load(tmp_path / "vectors.npy", mmap_mode="r")


@pytest.mark.parametrize(
    ("n_songs", "d", "kind", "n", "metric", "screen"),
    [
        (3000, 32, np.float32, 20, "cosine", None),
        (2049, 37, np.float32, 10, "euclidean", None),  # neither whole panels nor whole lanes
        (1500, 16, np.float64, 10, "inner", "product"),
        (1024, 48, np.float16, 7, "cosine", "product"),
        (1100, 5, np.int32, 5, "euclidean", None),
        (2, 3, np.float32, 50, "cosine", None),
    ],
)
def test_lists_are_those_made_in_memory(tmp_path, n_songs, d, kind, n, metric, screen):
    given = mapped(tmp_path, 10 * vectors(n_songs, d, kind) if kind is np.int32 else vectors(n_songs, d, kind))
    counted = []
    found = top_n_on_disk(given, n, tmp_path / "work", metric, screen=screen, threads=2, progress=counted.append)
    expected = top_n(given, n, metric, screen=screen)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert sum(counted) == n_songs


def test_lists_of_near_clusters_are_those_made_in_memory(tmp_path):
    given = vectors(4000, 16)
    found = top_n_on_disk(mapped(tmp_path, given), 10, tmp_path / "work", probes=3)
    expected = top_n_approximate(given, 10, probes=3)
    np.testing.assert_array_equal(found.ids, expected.ids)


def test_a_shard_that_is_there_is_not_made_again(tmp_path, monkeypatch):
    given = mapped(tmp_path, vectors(2000, 16))
    before = WorkOnDisk(tmp_path / "work", given, 5, "cosine")
    for shard in (0, 2):
        before.make(shard)
    made, lists_of_places = [], on_disk.lists_of_places

    def counted(*arguments, **more):
        made.append(arguments[-1])
        return lists_of_places(*arguments, **more)

    monkeypatch.setattr(on_disk, "lists_of_places", counted)
    found = top_n_on_disk(given, 5, tmp_path / "work")
    assert made == [512, 1536]
    np.testing.assert_array_equal(found.ids, top_n(given, 5).ids)
    made.clear()
    top_n_on_disk(given, 5, tmp_path / "work")
    assert not made


KILLED = """
import os, signal
import numpy as np
from musicrec.similarity.search import on_disk
on_disk.SONGS_PER_PART, on_disk.SONGS_PER_SHARD = 1024, 512
written, save = [], np.savez

def killed(file, **arrays):
    written.append(file)
    if len(written) == {at}:
        file.write(b"half"); file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(file, **arrays)

on_disk.np.savez = killed
on_disk.top_n_on_disk(np.load({vectors!r}, mmap_mode="r"), 5, {work!r})
"""


@pytest.mark.thorough
@pytest.mark.parametrize("at", [1, 3])  # while the plan is written, and a shard
def test_work_that_was_killed_goes_on(tmp_path, at):
    given = mapped(tmp_path, vectors(2000, 16))
    program = KILLED.format(at=at, vectors=str(tmp_path / "vectors.npy"), work=str(tmp_path / "work"))
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=os.environ, check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    found = top_n_on_disk(given, 5, tmp_path / "work")
    np.testing.assert_array_equal(found.ids, top_n(given, 5).ids)


@pytest.mark.parametrize("how", [{"n": 4}, {"metric": "euclidean"}, {"vectors": vectors(600, 8) + 1}])
def test_a_folder_of_other_work_is_refused_and_left_alone(tmp_path, how):
    given = vectors(600, 8)
    before = top_n_on_disk(given, 5, tmp_path / "work")
    with pytest.raises(ConfigError, match="give a new folder"):
        top_n_on_disk(**{"vectors": given, "n": 5, "folder": tmp_path / "work", **how})
    np.testing.assert_array_equal(top_n_on_disk(given, 5, tmp_path / "work").ids, before.ids)


@pytest.mark.parametrize("wrong", [np.zeros(5), np.zeros((1, 5)), np.full((600, 8), np.nan)])
def test_what_is_no_finite_matrix_is_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="expected a finite matrix"):
        top_n_on_disk(wrong, 5, tmp_path / "work")


@pytest.mark.parametrize("name", ["vectors.npy", "ids.npy", "notes.txt"])
def test_a_folder_with_files_of_others_is_refused_and_left_alone(tmp_path, name):
    given = vectors(600, 16)
    np.save(tmp_path / "saved.npy", given)
    (tmp_path / "saved.npy").rename(tmp_path / name)
    with pytest.raises(ConfigError, match="holds other files"):
        top_n_on_disk(np.load(tmp_path / name, mmap_mode="r"), 5, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    np.testing.assert_array_equal(np.load(tmp_path / name), given)


@pytest.mark.parametrize("below", ["", "work"])
def test_a_file_is_no_folder(tmp_path, below):
    (tmp_path / "file").write_text("mine", encoding="ascii")
    with pytest.raises(ConfigError, match="give a new folder"):
        top_n_on_disk(vectors(600, 8), 5, tmp_path / "file" / below)
    assert (tmp_path / "file").read_text(encoding="ascii") == "mine"


def test_changes_of_a_private_map_stay(tmp_path):
    mapped(tmp_path, vectors(2000, 16))
    given = np.load(tmp_path / "vectors.npy", mmap_mode="c")
    given *= np.linspace(-1, 1, 2000, dtype=np.float32)[:, None]
    changed = np.array(given)
    found = top_n_on_disk(given, 5, tmp_path / "work")
    np.testing.assert_array_equal(given, changed)
    np.testing.assert_array_equal(found.ids, top_n(changed, 5).ids)


def test_a_list_of_vectors_is_taken_too(tmp_path):
    assert top_n_on_disk([[1.0, 0.0], [3.0, 4.0], [0.0, 1.0]], 1, tmp_path).ids.ravel().tolist() == [1, 2, 1]


@pytest.mark.parametrize("at", ["padded.npy", "codes.npy", "shard-000001.npz", "ids.unready"])
def test_a_full_disk_is_an_error_and_work_goes_on_when_there_is_room(tmp_path, monkeypatch, at):
    given, reserve, save = vectors(2000, 12), os.posix_fallocate, np.savez
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def no_map(handle, offset, size):
        if Path(f"/proc/self/fd/{handle}").readlink().name == at:
            raise full
        reserve(handle, offset, size)

    def no_file(file, **arrays):
        if at in file.name:
            raise full
        save(file, **arrays)

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", no_map)
        patch.setattr(np, "savez", no_file)
        with pytest.raises(ConfigError, match=rf"{at}: there is no room for it \(No space left"):
            top_n_on_disk(given, 5, tmp_path / "work")
    found = top_n_on_disk(given, 5, tmp_path / "work")
    np.testing.assert_array_equal(found.ids, top_n(given, 5).ids)


def test_what_is_written_to_a_map_has_room_on_the_disk(tmp_path):
    on_disk._new_map(tmp_path / "new", (300, 4096), np.float32)
    assert (tmp_path / "new").stat().st_blocks * 512 >= 300 * 4096 * 4


def test_two_at_once_in_a_folder_wait_for_each_other(tmp_path, monkeypatch):
    given, begun, ended = vectors(2000, 16), [], []
    for name in ("_write_songs", "_put_together"):
        of = on_disk if name == "_write_songs" else WorkOnDisk
        write = getattr(of, name)

        def slowly(*arguments, write=write):
            assert len(begun) == len(ended)
            begun.append(1)
            time.sleep(0.2)
            write(*arguments)
            ended.append(1)

        monkeypatch.setattr(of, name, slowly)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: top_n_on_disk(given, 5, tmp_path / "work"), range(3)))
    assert len(begun) == 2
    for lists in found:
        np.testing.assert_array_equal(lists.ids, top_n(given, 5).ids)
