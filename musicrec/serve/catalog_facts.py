"""What the catalog says of songs beside the names that stand in the published table, for players."""

from bisect import bisect_left
from typing import NamedTuple

from musicrec.serve.song_texts import Texts
from musicrec.store.store import Store
from musicrec.store.tracks import read_tracks


class Facts(NamedTuple):
    """A song in the table ``tracks``; what is unknown is None."""

    uri: str
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
        self._ids = Texts(tracks["track_id"].cast("large_string").combine_chunks())
        self._facts = tracks.select(Facts._fields)

    def of(self, track_id: str) -> Facts | None:
        """Return what is known of the song with an id; None if it has left the catalog."""
        n = self._facts.num_rows
        row = bisect_left(range(n), track_id.encode(), key=self._id)
        if row == n or self._id(row) != track_id.encode():
            return None
        (found,) = self._facts.slice(row, 1).to_pylist()
        return Facts(**found | {"genres": found["genres"] or []})

    def _id(self, row: int) -> bytes:
        return bytes(self._ids.data[self._ids.offsets[row] : self._ids.offsets[row + 1]])
