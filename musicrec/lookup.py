"""Read the published table of similar songs. No Ray, no TensorFlow: a service can hold a table open and ask it."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
from numpy.typing import NDArray

from musicrec.columns import FAILED, SKIPPED
from musicrec.errors import UnknownTrack
from musicrec.footers import check_footer
from musicrec.storage import Store

SIDECAR = "_sidecar"  # Parquet readers pass over names with an underscore
SIDECAR_COLUMNS = ["track_id", "title", "artist", "genre"]
NAMES_OFFERED = 3
AUDIO_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,3}$")  # not the .00002 of a GTZAN id


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
        check_footer(self._songs.schema, str(self._store.out / "similar"))
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
        track_ids = self._songs["track_id"]
        row = bisect_left(range(len(self)), name, key=lambda i: track_ids[i].as_py())
        if row < len(self) and track_ids[row].as_py() == name:
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
        track_ids = tracks["track_id"].to_pylist()
        rows = [track_ids.index(name)] if name in track_ids else _rows_called(name, tracks)
        if rows:
            track_id = track_ids[rows[0]]
            why = self._first_problem(track_id) or "it was added after the table was made; run the chain again"
            return f"{track_id} is in the catalog but not in the table: {why}"
        if problem := self._first_problem(name):
            return f"{name} is a file of the source but no song: {problem}"
        close = _closest(name, self._songs)
        return f"no song {name!r} in {self._store.out}; the closest names are: {', '.join(close)}"

    def _first_problem(self, track_id: str) -> str | None:
        outcomes = self._store.read("outcomes", filter=pc.field("track_id") == track_id).to_pylist()
        for outcome in outcomes:
            if outcome["status"] in (FAILED, SKIPPED) and outcome["reason"] not in ("no_genre", "no_features"):
                detail = f" ({outcome['detail']})" if outcome["detail"] else ""
                return f"{outcome['stage']} {outcome['status']}, {outcome['reason']}{detail}"
        return None


def write_sidecar(folder: Path, songs: pa.Table, ids: Any, scores: Any) -> None:  # noqa: ANN401 - arrays
    """Write the mapped form of a table into the folder of its version.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the version.
    songs : pyarrow.Table
        ``SIDECAR_COLUMNS``, one row a song, in the order of the ids; its metadata says what made the version.
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
    wanted = name.casefold()
    return [row for row, names in enumerate(_names(songs)) if wanted in (n.casefold() for n in names)]


def _names(songs: pa.Table) -> Iterator[tuple[str, str, str]]:
    """What each song may be called: its file name, that without extension, its title."""
    for track_id, title in zip(songs["track_id"].to_pylist(), songs["title"].to_pylist(), strict=True):
        path = PurePosixPath(track_id)
        yield path.name, path.stem if AUDIO_SUFFIX.match(path.suffix) else path.name, title or ""


def _closest(name: str, songs: pa.Table) -> list[str]:
    """Ids of the songs of which some name is closest to `name`."""
    from rapidfuzz import process, utils

    track_ids = songs["track_id"].to_pylist()
    id_of = {called: t for t, names in zip(track_ids, _names(songs), strict=True) for called in (*names, t)}
    matches = process.extract(name, list(id_of), processor=utils.default_process, limit=4 * NAMES_OFFERED)
    return list(dict.fromkeys(id_of[match] for match, *_ in matches))[:NAMES_OFFERED]
