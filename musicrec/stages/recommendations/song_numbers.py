"""The songs that are recommended, as numbers: their lists, recordings and artists; and the songs that were heard."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from musicrec.similarity.listeners.nearest_to_likes import Catalog
from musicrec.similarity.songs import CodeSets, songs_of
from musicrec.store.lineage import digest
from musicrec.store.store import Store
from musicrec.store.tracks import read_tracks

FACTS = ["artist_ids", "recording", "content_hash"]

Int32 = NDArray[np.int32]


class SongNumbers(NamedTuple):
    """All songs of the catalog and of the table of similar songs, by ascending id."""

    track_ids: pa.Array
    row: Int32  # of the table of similar songs; -1 for a song that it does not hold
    recording: Int32  # songs with the same number are one recording
    catalog: Catalog  # the songs of the table

    @property
    def fingerprint(self) -> str:
        """What recommendations depend on beside the lists."""
        artists = [str(codes) for codes in self.catalog.artist.tolist()]
        own = digest(list(map(str, self.catalog.recording.tolist())), artists)
        return digest(self.track_ids.to_pylist(), list(map(str, self.recording.tolist()))) + own


def read_song_numbers(store: Store, listed: pa.Array) -> SongNumbers:
    """Read which songs are one recording, and by whom they are.

    Songs are one recording if the source says so, if their files are equal, or if their sound is
    (the table ``recordings``).

    Parameters
    ----------
    store : Store
        OUT, with ``tracks``.
    listed : pyarrow.Array
        Ids of the songs of the table of similar songs, ascending.
    """
    tracks = read_tracks(store, ["track_id", *FACTS]).combine_chunks()
    listed = listed.cast(pa.string())
    track_ids = pc.unique(pa.concat_arrays([tracks["track_id"].combine_chunks(), listed])).sort()
    facts = tracks.take(pc.index_in(track_ids, value_set=tracks["track_id"].combine_chunks()))
    columns = {name: facts[name].to_pylist() for name in FACTS} | _sounds(store, track_ids)
    songs = songs_of(columns)
    recording = _one_number([songs.recording, songs.content, songs.sound])
    row = pc.fill_null(pc.index_in(track_ids, value_set=listed), -1).to_numpy().astype(np.int32)
    of_table = pc.index_in(listed, value_set=track_ids).to_numpy()
    artist = songs.artist.take(of_table)
    artist = CodeSets(artist.starts, artist.codes.astype(np.int32))
    return SongNumbers(track_ids, row, recording, Catalog(recording[of_table], artist))


def _sounds(store: Store, track_ids: pa.Array) -> dict[str, list[Any]]:
    if not store.exists("recordings"):
        return {}
    table = store.read("recordings", ["track_id", "recording"])
    places = pc.index_in(track_ids, value_set=table["track_id"].combine_chunks())
    return {"sound": table["recording"].take(places).to_pylist()}


def _one_number(codes: list[Int32]) -> Int32:
    """Return a number that songs share which share any code, by way of others too."""
    n = len(codes[0])
    links = [np.empty((2, 0), np.int64)]
    for of_kind in codes:
        known = np.flatnonzero(of_kind >= 0)
        _, first, which = np.unique(of_kind[known], return_index=True, return_inverse=True)
        links.append(np.stack([known, known[first][which]]))
    pairs = np.concatenate(links, axis=1)
    graph = coo_array((np.ones(pairs.shape[1], np.int8), (pairs[0], pairs[1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.int32)
