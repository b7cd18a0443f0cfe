"""Exact top-N of more vectors than memory holds, on one machine: everything large lies in files of a folder.

The vectors are written once more, in an order in which similar ones stand near each other, with their codes. Then the
lists are made shard by shard. A process holds one part of the songs at a time, and the lists of a shard. What was made
stays when the process ends early, and is not made again.
"""

import errno
import fcntl
import hashlib
import mmap
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from musicrec.errors import ConfigError
from musicrec.files.paths import replacing
from musicrec.similarity.search import bounds, candidates
from musicrec.similarity.search.approximate import n_clusters
from musicrec.similarity.search.blocks import METRICS, Lists, as_lists, check, new_lists, padded, prepare, slices
from musicrec.similarity.search.bounds import Projection, Vectors
from musicrec.similarity.search.candidates import READ_ONLY, CandidateLists
from musicrec.similarity.search.clusters import Clusters, cluster
from musicrec.similarity.search.screens import PANEL, TILE_ROWS
from musicrec.similarity.search.shards import Part, lists_of_places, take_places

SONGS_PER_PART = 131_072  # a multiple of PANEL; 100 MB at 128 coordinates
SONGS_PER_SHARD = 32_768  # divides SONGS_PER_PART
AT_ONCE = 65_536  # rows
SMALL = 4096  # bytes of a file that is read rather than mapped
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MARK, PLAN = "top_n_on_disk", "plan.npz"  # the mark is there before all other files, and is locked
PADDED = ("codes", "starts", "offsets")


def top_n_on_disk(
    vectors: NDArray[Any],
    n: int,
    folder: str | os.PathLike[str],
    metric: str = "cosine",
    *,
    screen: str | None = None,
    probes: int | None = None,
    threads: int = 1,
    progress: Callable[[int], None] = lambda n_songs: None,
) -> Lists:
    """Return the lists of :func:`top_n`, made in bounded memory.

    Parameters
    ----------
    vectors : numpy.ndarray
        [N, d], finite; as a rule mapped, by ``numpy.load(file, mmap_mode="r")``.
    n : int
        Length of the lists.
    folder : path
        A new folder for the work and the lists, or that of an earlier call with the same vectors and options, which is
        then gone on with; several processes may do so at once. It takes about twice the bytes of the vectors, and
        8 N n bytes for the lists.
    metric, screen
        As in :func:`top_n`.
    probes : int, optional
        Compare each song only with the songs of so many clusters, those nearest to its own; by default with all songs.
    threads : int
        Shards that are made at the same time.
    progress : callable
        Called with a number of songs when their lists are there.

    Returns
    -------
    Lists
        Mapped from `folder`, in the order of the vectors.

    Raises
    ------
    ConfigError
        The metric or the screen is unknown, `n` is below 1, or `folder` holds other files or work on other vectors, or
        has no room.
    ValueError
        `vectors` is not a matrix of at least two rows, or it holds NaN or infinite values.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lists = top_n_on_disk(np.array([[1.0, 0.0], [3.0, 4.0], [0.0, 1.0]]), 1, folder)
    ...     lists.ids.ravel().tolist()
    [1, 2, 1]
    """
    work = WorkOnDisk(Path(folder), vectors, n, metric, screen=screen, probes=probes)

    def make(shard: int) -> None:
        work.make(shard)
        progress(len(work.places(shard)))

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(make, range(work.n_shards)):
            pass
    return work.lists()


class WorkOnDisk:
    """Songs in a folder, encoded, and the lists made of them so far; the parameters are those of `top_n_on_disk`.

    Attributes
    ----------
    n_shards : int
        In so many shards lie all songs.
    probes : int or None
        With how many clusters a song is compared.
    """

    def __init__(
        self,
        folder: Path,
        vectors: NDArray[Any],
        n: int,
        metric: str,
        *,
        screen: str | None = None,
        probes: int | None = None,
    ) -> None:
        vectors = vectors if isinstance(vectors, np.ndarray) else np.asarray(vectors)
        if np.ndim(vectors) != 2 or len(vectors) < 2:
            raise ValueError(f"vectors of shape {np.shape(vectors)}: expected a finite matrix [N, d] of 2 rows or more")
        screen = check(n, metric, screen)
        self._folder, self._n, self._n_songs, self.probes = folder, min(n, len(vectors) - 1), len(vectors), probes
        self.n_shards = -(-self._n_songs // SONGS_PER_SHARD)
        made_of = f"{_digest(vectors)} {self._n} {metric} {screen} {probes}"
        with _alone(folder):
            if not (folder / PLAN).exists():
                self._plan(vectors, metric, screen, made_of)
        with np.load(folder / PLAN) as of:
            if str(of["made_of"]) != made_of:
                raise ConfigError(f"{folder} holds lists of other vectors or with other options: give a new folder")
            numbers = {name: of[name].item() for name in ("screen", "metric", "unit", "width", "step", "longest")}
            self._projection = Projection(**numbers, centre=of["centre"], axes=of["axes"])
            self._clusters = Clusters(of["centres"], of["order"], of["starts"])
        self._maps = {name: _mapped(folder / f"{name}.npy") for name in READ_ONLY}
        limits = np.broadcast_to(self._maps["offsets"].dtype.type(0), len(self._maps["offsets"]))
        floors, counts = np.broadcast_to(np.uint64(0), self._n_songs), np.broadcast_to(np.int32(0), self._n_songs)
        arrays = {name: array.view(np.ndarray) for name, array in self._maps.items()}  # a slice of a map would be one
        self._songs = CandidateLists(
            **arrays, limits=limits, floors=floors, counts=counts, keys=candidates.room(0, 0), depth=0
        )

    def _plan(self, vectors: NDArray[Any], metric: str, screen: str, made_of: str) -> None:
        """Write the songs with their codes, and then how they were made."""
        given = prepare(_as_wide(vectors, self._folder / "padded.npy"), metric)
        projection = bounds.fit(given, METRICS[metric], self._n, screen)
        clusters = cluster(projection, given, None if self.probes is None else n_clusters(self._n_songs))
        _write_songs(self._folder, given, projection, clusters)
        with _room(self._folder), replacing(self._folder / PLAN) as path, path.open("wb") as file:
            plan: dict[str, Any] = {"made_of": made_of, **projection._asdict(), **clusters._asdict()}
            np.savez(file, **plan)

    def places(self, shard: int) -> range:
        """Return the places of the songs of a shard."""
        return range(shard * SONGS_PER_SHARD, min((shard + 1) * SONGS_PER_SHARD, self._n_songs))

    def make(self, shard: int) -> None:
        """Make the lists of one shard, unless they are there."""
        if (done := self._shard(shard)).exists():
            return
        places = self.places(shard)
        new = take_places(self._songs, places.start, places.stop, self._n)
        parts = self._parts(places.start // SONGS_PER_PART * SONGS_PER_PART)
        new = lists_of_places(self._projection, self._clusters, parts, new, places.start, probes=self.probes)
        found = as_lists(new._replace(songs=np.arange(len(places))), len(places), self._n)
        with _room(done), replacing(done) as path, path.open("wb") as file:
            np.savez(file, **found._asdict())

    def songs(self, shard: int) -> NDArray[np.int64]:
        """Return the songs of a shard, in the order of its lists."""
        places = self.places(shard)
        return self._clusters.order[places.start : places.stop]

    def shard(self, shard: int) -> Lists:
        """Return the lists of a shard, which must be made."""
        with np.load(self._shard(shard)) as made:
            return Lists(*(made[name] for name in Lists._fields))

    def lists(self) -> Lists:
        """Return the lists of all shards, which must be made, in the order of the vectors."""
        files = [self._folder / f"{name}.npy" for name in Lists._fields]
        with _alone(self._folder):
            if not all(file.exists() for file in files):
                self._put_together(files)
        return Lists(*(np.load(file, mmap_mode="r") for file in files))

    def _put_together(self, files: list[Path]) -> None:
        """Write the lists of all shards into one file of songs and one of scores."""
        unready = [file.with_suffix(".unready") for file in files]
        shape = self._n_songs, self._n
        found = [_new_map(file, shape, kind) for file, kind in zip(unready, (np.int32, np.float32), strict=True)]
        for shard in range(self.n_shards):
            for array, of_shard in zip(found, self.shard(shard), strict=True):
                array[self.songs(shard)] = of_shard
                _let_go(array)
        for array, before, file in zip(found, unready, files, strict=True):
            if isinstance(array, np.memmap):
                array.flush()
            before.rename(file)

    def _shard(self, shard: int) -> Path:
        return self._folder / f"shard-{shard:06d}.npz"

    def _parts(self, own: int) -> Iterator[Part]:
        """Yield all songs, those of the own part first; what a part has brought into memory is let go after it."""
        others = (first for first, _ in slices(0, self._n_songs, SONGS_PER_PART) if first != own)
        for first in (own, *others):
            last = min(first + SONGS_PER_PART, self._n_songs)
            yield Part(first, candidates.as_read(take_places(self._songs, first, last, 0, with_panels=True)))
            _let_go(*self._maps.values())


def _write_songs(folder: Path, given: Vectors, projection: Projection, clusters: Clusters) -> None:
    """Write the songs as the kernels read them, in order of cluster."""
    n_songs = len(given.values)
    written: dict[str, NDArray[Any]] = {}
    for first, last in slices(0, n_songs, SONGS_PER_PART):
        songs = clusters.order[first:last]
        part = new_lists(projection, given.rows(songs), songs, 0)
        for name in READ_ONLY:
            array, songs_a_row = getattr(part, name), PANEL if name == "panels" else 1
            if not first:
                n_rows = _n_rows(name, n_songs) if len(array) else 0
                written[name] = _new_map(folder / f"{name}.npy", (n_rows, *array.shape[1:]), array.dtype)
            written[name][first // songs_a_row :][: len(array)] = array  # its padding goes when the next part comes
            _let_go(written[name])
        _let_go(given.values)


def _n_rows(name: str, n_songs: int) -> int:
    """Return how many rows an array of CandidateLists has."""
    n_panels = -(-n_songs // PANEL)
    return {"panels": n_panels, **dict.fromkeys(PADDED, n_panels * PANEL + TILE_ROWS)}.get(name, n_songs)


def _as_wide(vectors: NDArray[Any], file: Path) -> NDArray[Any]:
    """Return vectors as :func:`prepare` takes them without a copy in memory; write them to a file if they are not."""
    few = padded(vectors[:1])
    if (vectors.dtype, vectors.shape[1]) == (few.dtype, few.shape[1]) and vectors.flags.c_contiguous:
        return vectors
    wide = _new_map(file, (len(vectors), few.shape[1]), few.dtype)
    for first, last in slices(0, len(vectors), AT_ONCE):
        wide[first:last] = padded(vectors[first:last])
        _let_go(wide, vectors)
    return wide


def _digest(vectors: NDArray[Any]) -> str:
    """Return a name for the content of vectors."""
    found = hashlib.blake2b(f"{vectors.dtype.str} {vectors.shape}".encode(), digest_size=16)
    for first, last in slices(0, len(vectors), AT_ONCE):
        found.update(np.ascontiguousarray(vectors[first:last]).data)
        _let_go(vectors)
    return found.hexdigest()


# --- files ------------------------------------------------------------------------------------------------------------


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process plans work in a folder or puts lists together; ConfigError if it is not for work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {file.name for file in folder.iterdir()}
    except (FileExistsError, NotADirectoryError):
        raise ConfigError(f"{folder} is, or lies below, a file: give a new folder") from None
    if names and MARK not in names:
        raise ConfigError(f"{folder} holds other files, which work could overwrite: give a new folder")
    with (folder / MARK).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        yield


@contextmanager
def _room(file: Path) -> Iterator[None]:
    """Say so where the disk has no room for a file."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        advice = "free some, or give a folder on another disk"
        raise ConfigError(f"{file}: there is no room for it ({error.strerror}); {advice}") from error


def _new_map(file: Path, shape: tuple[int, ...], kind: Any) -> NDArray[Any]:  # noqa: ANN401 - as NumPy takes it
    if 0 in shape:  # nothing cannot be mapped
        np.save(file, np.empty(shape, kind))
        return np.empty(shape, kind)
    with _room(file):
        new = open_memmap(file, "w+", np.dtype(kind), shape)
        with file.open("r+b") as written:  # a process that writes to a map beyond what the disk holds is killed
            os.posix_fallocate(written.fileno(), 0, file.stat().st_size)
    return new


def _mapped(file: Path) -> Any:  # noqa: ANN401 - an array
    return np.load(file, mmap_mode="r" if file.stat().st_size > SMALL else None)  # nothing cannot be mapped


def _let_go(*arrays: NDArray[Any]) -> None:
    """Take the pages of mapped arrays out of the memory of this process; they are read again where they are needed."""
    for array in arrays:
        is_in_file = isinstance(array, np.memmap) and array.mode != "c"  # what was changed in a copy is in memory alone
        if is_in_file and isinstance(pages := getattr(array, "base", None), mmap.mmap):
            pages.madvise(mmap.MADV_DONTNEED)
