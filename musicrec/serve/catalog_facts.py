"""What the catalog says of songs beside the names that stand in the published table, for players."""

import math
from bisect import bisect_left
from collections.abc import Sequence
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
        (facts,) = self.of_all([track_id])
        return facts

    def of_all(self, track_ids: Sequence[str]) -> list[Facts | None]:
        """Return the same for many songs, in their order."""
        rows = [self._row(track_id.encode()) for track_id in track_ids]
        found = iter(self._at([row for row in rows if row is not None]))
        return [None if row is None else next(found) for row in rows]

    def having(self, column: str, text: str) -> list[tuple[str, Facts]]:
        """Return ids and facts of the songs that have a text in a column; none if the text is empty."""
        if not text:
            return []
        return self._found(pc.equal(self._facts[column], text))

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

    def _found(self, is_found: pa.ChunkedArray) -> list[tuple[str, Facts]]:
        rows = np.flatnonzero(is_found.fill_null(False)).tolist()
        return list(zip([self._id(row).decode() for row in rows], self._at(rows), strict=True))

    def _at(self, rows: list[int]) -> list[Facts]:
        columns = {name: self._facts[name].take(pa.array(rows, pa.int64())).to_pylist() for name in Facts._fields}
        columns["genres"] = [genres or [] for genres in columns["genres"]]
        columns["duration_s"] = [s if s is not None and math.isfinite(s) else None for s in columns["duration_s"]]
        return [Facts(*row) for row in zip(*columns.values(), strict=True)]

    def _row(self, track_id: bytes) -> int | None:
        row = bisect_left(range(self._facts.num_rows), track_id, key=self._id)
        return row if row < self._facts.num_rows and self._id(row) == track_id else None

    def _id(self, row: int) -> bytes:
        return bytes(self._ids.data[self._ids.offsets[row] : self._ids.offsets[row + 1]])
