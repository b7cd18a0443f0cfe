"""A dialogue for exploring similar songs: name a song, see those like it, ask for more, go on from one of them.

Nothing here reads or writes a terminal: an answer goes in, lines come out.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from musicrec.errors import UnknownTrack
from musicrec.serve.lookup import SimilarTable, Song
from musicrec.serve.song_names import with_words
from musicrec.store.store import Store

PAGE = 10
MOST_FOUND = 1000  # the most songs that a part of a name finds
HELP = "a number to go on from that song, m for more, part of a name, random, q to leave"


class Line(NamedTuple):
    """One song of a list, as it is shown."""

    number: int
    song: Song
    score: float | None  # None in the result of a search


class Page(NamedTuple):
    """What is shown after an answer."""

    heading: str
    lines: list[Line]
    note: str = ""


class Talk:
    """A user's way from song to song.

    Parameters
    ----------
    table : SimilarTable
        The published table.
    store : Store
        The OUT that the table belongs to.
    rng : numpy.random.Generator
        Chooses the songs for ``random``.
    """

    def __init__(self, table: SimilarTable, store: Store, rng: np.random.Generator) -> None:
        self._table, self._rng = table, rng
        self._names = store.read("tracks", [*Song._fields]).sort_by("track_id")
        self._heading = ""
        self._list: list[Line] = []
        self._shown = 0

    def answer(self, said: str) -> Page:
        """Return what is shown when the user enters a number, ``m``, ``random`` or a name, or part of one."""
        said = said.strip()
        if said.isdecimal() and 1 <= int(said) <= self._shown:
            return self._like(self._list[int(said) - 1].song.track_id)
        match said.casefold():
            case "" | "help" | "?":
                return Page("", [], HELP)
            case "m" | "more":
                return self._more()
            case "random":
                return self._random()
        try:
            return self._like(self._table.song(said).track_id)
        except UnknownTrack as e:
            return self._found(said, str(e))

    def _like(self, track_id: str) -> Page:
        try:
            song = self._table.song(track_id)
            similar = self._table.similar(song.track_id, len(self._table))
        except UnknownTrack as e:
            return Page("", [], str(e))
        genre = f" ({song.genre})" if song.genre else ""
        return self._start(f"Similar songs to {song.name}{genre}:", [Line(*line) for line in similar])

    def _random(self) -> Page:
        """Return the page of a random song that is in the table."""
        for row in self._rng.permutation(len(self._names)):
            page = self._like(self._names["track_id"][int(row)].as_py())
            if page.lines:
                return page
        return Page("", [], "no song came through")

    def _found(self, part: str, why_not: str) -> Page:
        found = [Line(i, song, None) for i, song in enumerate(self._called(part), start=1)]
        return self._start(f"Songs with {part!r} in their name:", found) if found else Page("", [], why_not)

    def _called(self, part: str) -> Iterator[Song]:
        """Yield the songs with these words in their id, title or artist, in order of id."""
        rows = pa.array(with_words(part, self._names)[:MOST_FOUND], pa.int64())
        return (Song(**row) for row in self._names.take(rows).to_pylist())

    def _start(self, heading: str, lines: list[Line]) -> Page:
        self._heading, self._list, self._shown = heading, lines, 0
        return self._more()

    def _more(self) -> Page:
        lines = self._list[self._shown : self._shown + PAGE]
        if not lines:
            return Page("", [], "That was all." if self._list else "Name a song first, or say random.")
        heading = self._heading if self._shown == 0 else ""
        self._shown += len(lines)
        left = len(self._list) - self._shown
        return Page(heading, lines, f"Want more? {left} are left: m" if left else "")
