"""Read the published table of similar songs. No Ray, no TensorFlow: a service can hold a table open and ask it."""

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.errors import UnknownTrack
from musicrec.files.paths import AnyPath, children, to_path
from musicrec.files.s3_errors import ask, explain_s3_errors
from musicrec.schemas import FAILED, SIMILAR, SKIPPED, Reason
from musicrec.serve.sidecar import SIDECAR, SIDECAR_COLUMNS, Float32, Int32, Sidecar
from musicrec.serve.sidecar_cache import local_version
from musicrec.serve.song_names import closest, find_track
from musicrec.store.lineage import check_footer
from musicrec.store.store import Store

# A song that a model has not learned from may have a list all the same.
NOT_THE_CAUSE = (Reason.NO_GENRE, Reason.NO_FEATURES, Reason.NEWER_THAN_MODEL)


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

    It goes on showing the version it was opened on, whatever is published meanwhile. Songs have row numbers, in order
    of their ids: :meth:`neighbours` gives those in about a microsecond, :meth:`similar` names, titles and genres in
    some twenty. One object may be asked by many threads.

    Parameters
    ----------
    out : str or path-like
        The OUT, a folder or s3:// prefix; or a version of its table by itself, with the Parquet parts and the sidecar.
        Of a remote one the sidecar is fetched once and kept.

    Raises
    ------
    ConfigError, SchemaError
        `out` is not an OUT, has no table yet, or its table is not whole.
    """

    def __init__(self, out: str | PathLike[str] | AnyPath) -> None:
        self._store, folder = _find(out)
        self.where = str(out)
        self._sidecar = Sidecar(folder)
        check_footer(self._sidecar.songs.schema, self.where)
        self._ids, self._scores = self._sidecar.neighbours, self._sidecar.scores

    def __len__(self) -> int:
        return len(self._ids)

    # --- by id: for services ------------------------------------------------------------------------------------

    def neighbours(self, track_id: str, n: int = 10) -> tuple[Int32, Float32]:
        """Rows and scores of the `n` songs most like a song, best first; fewer if the table keeps fewer.

        Parameters
        ----------
        track_id : str
            Id; no other name.
        n : int
            How many.

        Returns
        -------
        rows : numpy.ndarray
            int32 [≤ n], for :meth:`track_id`; part of the mapped file, not to be written to.
        scores : numpy.ndarray
            float32 [≤ n], likewise.

        Raises
        ------
        UnknownTrack
            No song has that id.
        """
        row = self._sidecar.row(track_id)
        if row is None:
            raise UnknownTrack(f"no song has the id {track_id!r} in {self.where}")
        return self._list(row, n)

    def neighbours_many(self, track_ids: Sequence[str], n: int = 10) -> tuple[Int32, Float32]:
        """The lists of many songs at once, ten thousand in some milliseconds.

        Parameters
        ----------
        track_ids : sequence of str
            Ids, as many as you like, in any order.
        n : int
            How many songs of each.

        Returns
        -------
        rows : numpy.ndarray
            int32 [len(track_ids), ≤ n]; -1 from where a list ends, and all along for what is no id.
        scores : numpy.ndarray
            float32 of that shape; minus infinity where there is no song.
        """
        of = self._sidecar.rows(track_ids)
        rows, scores = (lists.take(of, axis=0)[:, :n] for lists in (self._ids, self._scores))  # whole rows are quicker
        rows[of < 0], scores[of < 0] = -1, -np.inf
        return rows, scores

    def similar_many(self, track_ids: Sequence[str], n: int = 10) -> pa.Table:
        """The lists of many songs as rows of the published table, in the order asked for; what is no id has no row."""
        rows, scores = self.neighbours_many(track_ids, n)
        asked, place = np.nonzero(rows >= 0)
        ids = self._sidecar.songs["track_id"].chunk(0)
        columns = [
            pa.array(track_ids, pa.string()).take(pa.array(asked)),
            pa.array((place + 1).astype(np.int16)),
            ids.take(pa.array(rows[asked, place])),
            pa.array(scores[asked, place]),
        ]
        return pa.table(columns, SIMILAR.names).cast(SIMILAR)

    def track_id(self, row: int) -> str:
        """Id of the song of a row."""
        return self._sidecar.columns[0][row] or ""

    # --- by any name: for people --------------------------------------------------------------------------------

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
        rows, scores = self._list(self._row(track_id), n)
        found = zip(rows.tolist(), scores.tolist(), strict=True)
        return [Similar(rank, self._song(row), score) for rank, (row, score) in enumerate(found, start=1)]

    def song(self, track_id: str) -> Song:
        """Names and genre of a song, found as in :meth:`similar`."""
        return self._song(self._row(track_id))

    def songs(self) -> Iterator[Song]:
        """All songs of the table, in order of id."""
        return (self._song(row) for row in range(len(self)))

    def _list(self, row: int, n: int) -> tuple[Int32, Float32]:
        rows, scores = self._ids[row, :n], self._scores[row, :n]
        if self._sidecar.all_full:
            return rows, scores
        n = int(np.count_nonzero(rows >= 0))
        return rows[:n], scores[:n]

    def _song(self, row: int) -> Song:
        track_id, *about = (column[row] for column in self._sidecar.columns)
        return Song(track_id or "", *about)

    def _row(self, name: str) -> int:
        row = self._sidecar.row(name)
        if row is not None:
            return row
        rows = self._sidecar.rows_called(name)
        if len(rows) == 1:
            return rows[0]
        if rows:
            ids = [self.track_id(row) for row in rows]
            raise UnknownTrack(f"{len(ids)} songs are called {name!r}; give one of their ids: {', '.join(ids[:10])}")
        raise UnknownTrack(self._why_missing(name))

    def _why_missing(self, name: str) -> str:
        if self._store:
            if track_id := find_track(name, self._store.read("tracks", SIDECAR_COLUMNS)):
                why = self._first_problem(track_id) or "it was added after the table was made; run the chain again"
                return f"{track_id} is in the catalog but not in the table: {why}"
            if problem := self._first_problem(name):
                return f"{name} is a file of the source but no song: {problem}"
        close = closest(name, self._sidecar.songs)
        return f"no song {name!r} in {self.where}; the closest names are: {', '.join(close)}"

    def _first_problem(self, track_id: str) -> str | None:
        assert self._store
        outcomes = self._store.read("outcomes", filter=pc.field("track_id") == track_id).to_pylist()
        for outcome in outcomes:
            if outcome["status"] in (FAILED, SKIPPED) and outcome["reason"] not in NOT_THE_CAUSE:
                detail = f" ({outcome['detail']})" if outcome["detail"] else ""
                return f"{outcome['stage']} {outcome['status']}, {outcome['reason']}{detail}"
        return None


def _find(out: str | PathLike[str] | AnyPath) -> tuple[Store | None, Path]:
    """The OUT, if `out` is one, and the folder of the version to open."""
    folder = to_path(out)
    with explain_s3_errors(folder):
        ask(folder)
        if children(folder / SIDECAR):
            return None, local_version(folder)
        store = Store(out)
        store.require()
        return store, local_version(store.path("similar"))
