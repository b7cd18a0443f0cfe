"""What the catalog says of songs beside the names that stand in the published table, for players."""

from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from musicrec.serve.song_names import searchable, words_of
from musicrec.serve.song_texts import Texts
from musicrec.store.store import Store
from musicrec.store.tracks import read_tracks


class Facts(NamedTuple):
    """A song in the table ``tracks``; what is unknown is None."""

    uri: str
    title: str | None
    artist: str | None
    album: str | None
    genres: list[str]
    duration_s: float | None
    size_bytes: int | None
    recording_mbid: str | None
    isrc: str | None


class CatalogFacts:
    """What the published catalog says of each song, held in memory.

    Parameters
    ----------
    store : Store
        OUT.

    Raises
    ------
    SchemaError
        The table ``tracks`` is missing or damaged.
    """

    def __init__(self, store: Store) -> None:
        tracks = read_tracks(store, ["track_id", *Facts._fields]).sort_by("track_id").combine_chunks()
        self._names = tracks.select(["track_id", "title", "artist"])
        self._ids = Texts(tracks["track_id"].cast("large_string").combine_chunks())
        self._facts = tracks.select(Facts._fields)

    def of(self, track_id: str) -> Facts | None:
        """Return what is known of the song with an id; None if it has left the catalog."""
        n = self._facts.num_rows
        row = bisect_left(range(n), track_id.encode(), key=self._id)
        if row == n or self._id(row) != track_id.encode():
            return None
        return self._at(row)

    def having(self, column: str, text: str) -> list[tuple[str, Facts]]:
        """Return ids and facts of the songs that have a text in a column; none if the text is empty."""
        if not text:
            return []
        return list(self._found(pc.equal(self._facts[column], text)))

    def titled(self, title: str) -> list[tuple[str, Facts]]:
        """Return ids and facts of the songs with a title; neither case nor accents count."""
        folded, _ = words_of(title)
        if not folded:
            return []
        found = self._found(pc.ends_with(self._searchable, "\n" + folded))
        return [(track_id, facts) for track_id, facts in found if words_of(facts.title or "")[0] == folded]

    @cached_property
    def _searchable(self) -> pa.ChunkedArray:
        return searchable(self._names)

    def _found(self, is_found: pa.ChunkedArray) -> Iterator[tuple[str, Facts]]:
        for row in np.flatnonzero(is_found.fill_null(False)).tolist():
            yield self._id(row).decode(), self._at(row)

    def _at(self, row: int) -> Facts:
        (found,) = self._facts.slice(row, 1).to_pylist()
        return Facts(**found | {"genres": found["genres"] or []})

    def _id(self, row: int) -> bytes:
        return bytes(self._ids.data[self._ids.offsets[row] : self._ids.offsets[row + 1]])
