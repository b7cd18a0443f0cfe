"""Read the published table of similar songs. No Ray, no TensorFlow: a service can hold a table open and ask it."""

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
from numpy.typing import NDArray

from musicrec.columns import FAILED, SKIPPED
from musicrec.errors import UnknownTrack
from musicrec.storage import Store

SIDECAR = "_sidecar"  # Parquet readers pass over names with an underscore
SIDECAR_COLUMNS = ["track_id", "title", "artist", "genre"]
NAMES_OFFERED = 3


class Song(NamedTuple):
    """What a list shows of a song."""

    track_id: str
    title: str | None
    artist: str | None
    genre: str | None


class Similar(NamedTuple):
    """One line of a list."""

    rank: int
    song: Song
    score: float


class SimilarTable:
    """The published similar-songs table of one OUT, memory-mapped.

    It goes on showing the version it was opened on, whatever is published meanwhile.

    Parameters
    ----------
    out : path-like
        The OUT folder.

    Raises
    ------
    ConfigError, SchemaError
        `out` is not an OUT, or has no table yet.
    """

    def __init__(self, out: str | PathLike[str]) -> None:
        self._store = Store(out)
        self._store.require()
        folder = self._store.path("similar").resolve() / SIDECAR
        self._songs: pa.Table = pa.ipc.open_file(pa.memory_map(str(folder / "songs.arrow"))).read_all()
        self._ids: NDArray[np.int32] = np.load(folder / "neighbours.npy", mmap_mode="r")
        self._scores: NDArray[np.float32] = np.load(folder / "scores.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self._ids)

    def similar(self, track_id: str, n: int = 10) -> list[Similar]:
        """The `n` songs most like a song, best first; fewer if the table keeps fewer.

        Parameters
        ----------
        track_id : str
            Id, or a name that only one song has: file name with or without extension, or title.
        n : int
            How many.

        Raises
        ------
        UnknownTrack
            No song, or several, go by that name; or the song failed in an earlier stage: the message says why.
        """
        row = self._row(track_id)
        return [
            Similar(rank, self._song(int(other)), float(score))
            for rank, (other, score) in enumerate(zip(self._ids[row, :n], self._scores[row, :n], strict=True), start=1)
        ]

    def song(self, track_id: str) -> Song:
        """Names and genre of a song, found as in :meth:`similar`."""
        return self._song(self._row(track_id))

    def songs(self) -> Iterator[Song]:
        """All songs of the table, in order of id."""
        return (self._song(row) for row in range(len(self)))

    def _song(self, row: int) -> Song:
        return Song(*(column[row].as_py() for column in self._songs.columns))

    def _row(self, name: str) -> int:
        row: int = pc.index(self._songs["track_id"], name).as_py()
        if row >= 0:
            return row
        rows = _rows_called(name, self._songs)
        if len(rows) == 1:
            return rows[0]
        if rows:
            ids = [self._song(i).track_id for i in rows]
            raise UnknownTrack(f"{len(ids)} songs are called {name!r}; give one of their ids: {', '.join(ids[:10])}")
        raise UnknownTrack(self._why_missing(name))

    def _why_missing(self, name: str) -> str:
        tracks = self._store.read("tracks", SIDECAR_COLUMNS)
        row = pc.index(tracks["track_id"], name).as_py()
        rows = [row] if row >= 0 else _rows_called(name, tracks)
        if rows:
            track_id = tracks["track_id"][rows[0]].as_py()
            return f"{track_id} is in the catalog but not in the table: {self._first_problem(track_id)}"
        close = _closest(name, self._songs["track_id"].to_pylist())
        return f"no song {name!r} in {self._store.out}; the closest names are: {', '.join(close)}"

    def _first_problem(self, track_id: str) -> str:
        outcomes = self._store.read("outcomes", filter=pc.field("track_id") == track_id).to_pylist()
        for outcome in outcomes:
            if outcome["status"] in (FAILED, SKIPPED) and outcome["reason"] not in ("no_genre", "no_features"):
                detail = f" ({outcome['detail']})" if outcome["detail"] else ""
                return f"{outcome['stage']} {outcome['status']}, {outcome['reason']}{detail}"
        return "it was added after the table was made; run the chain again"


def write_sidecar(folder: Path, songs: pa.Table, ids: Any, scores: Any) -> None:  # noqa: ANN401 - arrays
    """Write the mapped form of a table into the folder of its version.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the version.
    songs : pyarrow.Table
        ``SIDECAR_COLUMNS``, one row a song, in the order of the ids.
    ids, scores : numpy.ndarray
        int32 and float32 [N, n].
    """
    (folder / SIDECAR).mkdir()
    np.save(folder / SIDECAR / "neighbours.npy", ids)
    np.save(folder / SIDECAR / "scores.npy", scores)
    with pa.ipc.new_file(str(folder / SIDECAR / "songs.arrow"), songs.schema) as writer:
        writer.write_table(songs.combine_chunks())


def _rows_called(name: str, songs: pa.Table) -> list[int]:
    """Rows whose title, file name or file name without extension is `name`, upper and lower case alike."""
    wanted = pa.scalar(name.casefold())
    file_name = pc.replace_substring_regex(pc.utf8_lower(songs["track_id"]), ".*/", "")
    stem = pc.replace_substring_regex(file_name, r"\.[a-z0-9]{2,4}$", "")
    columns = [file_name, stem, pc.utf8_lower(songs["title"])]
    hits = [pc.fill_null(pc.equal(column, wanted), False).to_numpy() for column in columns]
    return [int(row) for row in np.flatnonzero(np.logical_or.reduce(hits))]


def _closest(name: str, track_ids: list[str]) -> list[str]:
    from rapidfuzz import process

    return [match for match, *_ in process.extract(name, track_ids, limit=NAMES_OFFERED)]
