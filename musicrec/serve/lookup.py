"""Read the published table of similar songs. A service can keep it open; it needs neither Ray nor TensorFlow."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain, count, repeat
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from musicrec.errors import UnknownTrack
from musicrec.files.paths import AnyPath, children, to_path
from musicrec.files.s3_errors import ask, explain_s3_errors
from musicrec.schemas import SIMILAR, TRACKS
from musicrec.serve.first_problem import first_problem
from musicrec.serve.sidecar import SIDECAR, SIDECAR_COLUMNS, Float32, Int32, Sidecar
from musicrec.serve.sidecar_cache import local_version
from musicrec.serve.song_names import at_file, closest, find_track, in_full, with_words
from musicrec.serve.song_search import SongSearch
from musicrec.serve.song_texts import Rows
from musicrec.serve.space_shares import read_shares
from musicrec.store.lineage import check_footer, read_footer
from musicrec.store.pointer import version_of
from musicrec.store.store import Store

MOST_OFFERED = 10  # songs that an error names
BLOCK = 1000  # songs whose texts are read at once
COUNTED = 100_000  # lists whose songs are counted at once
NAMED = pa.schema([*SIMILAR, *(TRACKS.field(name) for name in SIDECAR_COLUMNS[1:])])

_as: Any = tuple.__new__  # makes a named tuple of its fields, in a third of the time


class Song(NamedTuple):
    """A song as lists show it.

    Attributes
    ----------
    track_id : str
        Its id.
    title, artist, genre : str or None
        What the catalog says of it; None where that is unknown.
    """

    track_id: str
    title: str | None
    artist: str | None
    genre: str | None

    @property
    def name(self) -> str:
        """Artist and title for people to read, or the id if there is no title."""
        return " – ".join(filter(None, [self.artist, self.title])) if self.title else self.track_id


class Similar(NamedTuple):
    """A song in a list of similar songs.

    Attributes
    ----------
    rank : int
        1 for the most similar song.
    song : Song
        The song.
    score : float
        The score by which the list is ranked.
    """

    rank: int
    song: Song
    score: float


class SimilarTable:
    """The published similar-songs table of one OUT, memory-mapped.

    The object keeps showing the version that it opened, even after another one is published. Each song has a row
    number, in order of id. :meth:`neighbours` returns row numbers, :meth:`similar_ids` ids, and :meth:`similar` titles,
    artists and genres too; each takes microseconds. Many threads can use one object.

    Parameters
    ----------
    out : str or path-like
        OUT, a folder or an s3:// prefix; or the folder of one version of its table, with the Parquet parts and the
        sidecar. The sidecar of a remote table is fetched once and cached.

    Attributes
    ----------
    where : str
        `out`, for messages.

    Raises
    ------
    ConfigError
        `out` is not an OUT, or cannot be read.
    SchemaError
        No table is published, a file of it is missing or damaged, or it has another schema version.

    Examples
    --------
    >>> from musicrec import SimilarTable
    >>> table = SimilarTable("out")
    >>> for rank, song, score in table.similar("synthetic-bells-1", n=2):
    ...     print(rank, song.title, round(score, 3))
    1 Synthetic bells 4 0.485
    2 Synthetic bells 2 0.432
    """

    def __init__(self, out: str | PathLike[str] | AnyPath) -> None:
        self._store, self._folder = _find(out)
        self.where = str(out)
        self._sidecar = Sidecar(self._folder)
        check_footer(self._sidecar.songs.schema, self.where)
        self._ids, self._scores = self._sidecar.neighbours, self._sidecar.scores
        self._texts = self._sidecar.texts

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, track_id: str) -> bool:
        """Whether a song has an id."""
        return self._sidecar.row(track_id) is not None

    # --- by id: for services ------------------------------------------------------------------------------------

    def neighbours(self, track_id: str, n: int = 10) -> tuple[Int32, Float32]:
        """Return the rows and scores of the `n` songs that are most similar to a song, best first.

        Parameters
        ----------
        track_id : str
            Id of the song; no other name.
        n : int
            Number of songs; fewer come back if the list is shorter.

        Returns
        -------
        rows : numpy.ndarray
            int32 [≤ n], row numbers for :meth:`track_id`; a read-only part of the mapped file.
        scores : numpy.ndarray
            float32 [≤ n], also a read-only part of the mapped file.

        Raises
        ------
        UnknownTrack
            No song has that id.

        Examples
        --------
        >>> table = SimilarTable("out")
        >>> rows, scores = table.neighbours("synthetic-bells/synthetic-bells-1.flac", n=2)
        >>> [table.track_id(row) for row in rows]
        ['synthetic-bells/synthetic-bells-4.flac', 'synthetic-bells/synthetic-bells-2.flac']
        """
        row = self._sidecar.row(track_id)
        if row is None:
            raise UnknownTrack(f"no song has the id {track_id!r} in {self.where}")
        return self._list(row, n)

    def similar_ids(self, track_id: str, n: int = 10) -> tuple[list[str], list[float]]:
        """Return the ids and scores of the `n` songs that are most similar to a song, best first.

        Parameters
        ----------
        track_id : str
            Id of the song; no other name.
        n : int
            Number of songs; fewer come back if the list is shorter.

        Returns
        -------
        ids : list of str
            Their ids.
        scores : list of float
            The score of each.

        Raises
        ------
        UnknownTrack
            No song has that id.

        Examples
        --------
        >>> ids, scores = SimilarTable("out").similar_ids("synthetic-bells/synthetic-bells-1.flac", n=2)
        >>> ids
        ['synthetic-bells/synthetic-bells-4.flac', 'synthetic-bells/synthetic-bells-2.flac']
        """
        rows, scores = self.neighbours(track_id, n)
        return self._texts.ids(rows), scores.tolist()

    def neighbours_many(self, track_ids: Sequence[str], n: int = 10) -> tuple[Int32, Float32]:
        """Return the lists of many songs at once; ten thousand take a few milliseconds.

        Parameters
        ----------
        track_ids : sequence of str
            Ids, any number of them and in any order.
        n : int
            Number of similar songs for each of them.

        Returns
        -------
        rows : numpy.ndarray
            int32 [len(track_ids), ≤ n], row numbers; -1 after the end of a list, and in the whole row of an unknown id.
        scores : numpy.ndarray
            float32 of the same shape; -inf where there is no song.
        """
        own_rows = self._sidecar.rows(track_ids)
        # Whole rows are copied faster than parts of them.
        rows, scores = (lists.take(own_rows, axis=0)[:, :n] for lists in (self._ids, self._scores))
        rows[own_rows < 0], scores[own_rows < 0] = -1, -np.inf
        return rows, scores

    def rows(self, track_ids: Sequence[str]) -> Int32:
        """Return the rows of songs.

        Parameters
        ----------
        track_ids : sequence of str
            Ids, any number of them and in any order.

        Returns
        -------
        numpy.ndarray
            int32 [len(track_ids)], row numbers; -1 for an unknown id.
        """
        return self._sidecar.rows(track_ids)

    def similar_many(self, track_ids: Sequence[str], n: int = 10, names: bool = False) -> pa.Table:
        """Return the lists of many songs as rows of the published table, in the order of `track_ids`.

        Parameters
        ----------
        track_ids : sequence of str
            Ids, any number of them and in any order. An unknown id has no rows in the result.
        n : int
            Number of similar songs for each of them.
        names : bool
            Whether to add what the catalog calls the similar songs.

        Returns
        -------
        pyarrow.Table
            Columns ``track_id``, ``rank``, ``similar_track_id`` and ``score``; with `names` also ``title``, ``artist``
            and ``genre`` of the similar song.

        Examples
        --------
        >>> table = SimilarTable("out")
        >>> found = table.similar_many([song.track_id for song in table.songs()], n=3)
        >>> found.num_rows, found.column_names
        (48, ['track_id', 'rank', 'similar_track_id', 'score'])
        """
        rows, scores = self.neighbours_many(track_ids, n)
        asked, place = np.nonzero(rows >= 0)
        ids, *texts = self._texts.arrays(rows[asked, place], names)
        columns = [
            pa.array(track_ids, pa.string()).take(pa.array(asked)),
            pa.array((place + 1).astype(np.int16)),
            ids,
            pa.array(scores[asked, place]),
            *texts,
        ]
        schema = NAMED if names else SIMILAR
        return pa.table(columns, schema.names).cast(schema)

    def shares(self, track_id: str, n: int = 10) -> dict[str, NDArray[np.float16]]:
        """Return what each space contributes to the cosines of the `n` songs that are most similar to a song.

        Parameters
        ----------
        track_id : str
            Id or name of the song, as for :meth:`similar`.
        n : int
            Number of songs; fewer come back if the list is shorter.

        Returns
        -------
        dict of str to numpy.ndarray
            float16 [≤ n] by the name of the space; their sum is the cosine. Empty if songs were compared in one space.

        Raises
        ------
        UnknownTrack
            As for :meth:`similar`.
        SchemaError
            The file of shares is missing or damaged.
        """
        row = self._row(track_id)
        names = list(read_footer(self._sidecar.songs.schema).get("lineage", {}).get("spaces", {}))
        if len(names) < 2:
            return {}
        shares = read_shares(self._folder, (*self._ids.shape, len(names)))[row, : len(self._list(row, n)[0])]
        return dict(zip(names, shares.T, strict=True))

    def track_id(self, row: int) -> str:
        """Return the id of the song in a row.

        Parameters
        ----------
        row : int
            Row number.

        Returns
        -------
        str
            The id.
        """
        return self._sidecar.columns[0][row] or ""

    def counts(self) -> NDArray[np.int64]:
        """Return in how many lists each song stands.

        Returns
        -------
        numpy.ndarray
            int64 [N], by row.
        """
        counts = np.zeros(len(self), np.int64)
        for first in range(0, len(self), COUNTED):
            rows = self._ids[first : first + COUNTED]
            counts += np.bincount(rows[rows >= 0], minlength=len(self))
        return counts

    # --- by any name: for people --------------------------------------------------------------------------------

    def similar(self, track_id: str, n: int = 10) -> list[Similar]:
        """Return the `n` songs that are most similar to a song, best first.

        Parameters
        ----------
        track_id : str
            Id of the song, or a name that only this song has: its title, its file name with or without extension, or
            where it is, a path or URI.
        n : int
            Number of songs; fewer come back if the list is shorter.

        Returns
        -------
        list of Similar
            Rank, song and score of each.

        Raises
        ------
        UnknownTrack
            No song has this name, or several have it. If the song failed in an earlier stage, the message says why.
        """
        rows, scores = self._list(self._row(track_id), n)
        lines = zip(count(1), self._songs(rows), scores.tolist())
        return list(map(_as, repeat(Similar), lines))

    def song(self, track_id: str) -> Song:
        """Return id, title, artist and genre of a song.

        Parameters
        ----------
        track_id : str
            Id or name, as for :meth:`similar`.

        Returns
        -------
        Song
            The song.

        Raises
        ------
        UnknownTrack
            As for :meth:`similar`.

        Examples
        --------
        >>> SimilarTable("out").song("synthetic-bells-1").title
        'Synthetic bells 1'
        """
        return next(self._songs(np.array([self._row(track_id)])))

    def songs(self) -> Iterator[Song]:
        """Iterate over all songs of the table, in order of id.

        Returns
        -------
        iterator of Song
            One item for each row.
        """
        blocks = (np.arange(i, min(i + BLOCK, len(self))) for i in range(0, len(self), BLOCK))
        return chain.from_iterable(map(self._songs, blocks))

    def search(self, words: str, n: int = 10, skip: int = 0) -> list[Song]:
        """Return the songs that have every one of some words in their id, artist or title, in any case.

        The first search reads all names; those that follow take milliseconds.

        Parameters
        ----------
        words : str
            Such as ``vibe``, or ``Artist - Title``; without a word, all songs are found.
        n : int
            Most songs.
        skip : int
            Songs to leave out at the beginning, for those who read page by page.

        Returns
        -------
        list of Song
            In order of id, but first those whose artist or title begins with the words.

        Examples
        --------
        >>> [song.title for song in SimilarTable("out").search("bells 2")]
        ['Synthetic bells 2']
        """
        is_all = not words.strip()
        end = skip + n
        rows = np.arange(skip, min(end, len(self))) if is_all else self._search.first(words, end)[skip:]
        return list(self._songs(rows))

    @cached_property
    def _search(self) -> SongSearch:
        return SongSearch(self._sidecar.songs)

    def _list(self, row: int, n: int) -> tuple[Int32, Float32]:
        rows, scores = self._ids[row, :n], self._scores[row, :n]
        if self._sidecar.all_full:
            return rows, scores
        n = int(np.count_nonzero(rows >= 0))
        return rows[:n], scores[:n]

    def _songs(self, rows: Rows) -> Iterator[Song]:
        return map(_as, repeat(Song), self._texts.names(rows))

    def _row(self, name: str) -> int:
        row = self._sidecar.row(name)
        if row is not None:
            return row
        rows = self._sidecar.rows_called(name)
        if len(rows) == 1:
            return rows[0]
        if rows:
            raise _several(name, [self.track_id(row) for row in rows])
        return self._row_in_catalog(name)

    def _row_in_catalog(self, name: str) -> int:
        """Return the row of a song by its place, or the present name of its file, which only the catalog knows."""
        if self._store is None:
            raise self._nobody(name)
        tracks = self._store.read("tracks", [*SIDECAR_COLUMNS, "uri"])
        track_id = find_track(name, tracks)
        if track_id is None and (renamed := at_file(name, tracks)):
            if len(renamed) > 1:
                raise _several(name, renamed)
            track_id = renamed[0]
        if track_id is not None:
            row = self._sidecar.row(track_id)
            if row is not None:
                return row
            why = first_problem(self._store, track_id) or "it was added after the table was made; run the chain again"
            raise UnknownTrack(f"{track_id} is in the catalog but not in the table: {why}")
        if problem := first_problem(self._store, name):
            raise UnknownTrack(f"{name} is a file of the source but not a song: {problem}")
        raise self._nobody(name)

    def _nobody(self, name: str) -> UnknownTrack:
        """Return the error for a name that no song has; it offers songs that may be meant."""
        nobody = f"no song {name!r} in {self.where}"
        if rows := with_words(name, self._sidecar.songs):
            maybe = [self.track_id(row) for row in in_full(name, self._sidecar.songs, rows) or rows]
            more = f", and {len(maybe) - MOST_OFFERED:,} more" if len(maybe) > MOST_OFFERED else ""
            return UnknownTrack(f"{nobody}; its words are in: {', '.join(maybe[:MOST_OFFERED])}{more}", maybe)
        close = closest(name, self._sidecar.songs)
        return UnknownTrack(f"{nobody}; the closest names are: {', '.join(close)}" if close else nobody)


def _several(name: str, ids: list[str]) -> UnknownTrack:
    return UnknownTrack(f"{len(ids)} songs are called {name!r}; give one of their ids: {', '.join(ids[:MOST_OFFERED])}")


def _find(out: str | PathLike[str] | AnyPath) -> tuple[Store | None, Path]:
    """Return the store, or None if `out` is one version of a table; and the folder of the version to open."""
    folder = to_path(out)
    version = version_of(folder.resolve() if isinstance(folder, Path) else folder)
    with explain_s3_errors(folder):
        ask(folder)
        if children(version / SIDECAR):
            return None, local_version(version)
        store = Store(out)
        store.require()
        return store, local_version(store.path("similar"))
