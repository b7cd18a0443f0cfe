"""The songs that are recommended, as numbers: their lists, recordings and artists; and the songs that were heard."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.serve.song_facts import sounds_of
from musicrec.similarity.listeners.nearest_to_likes import Catalog
from musicrec.similarity.songs import CodeSets, recording_numbers, songs_of
from musicrec.store.lineage import digest
from musicrec.store.store import Store
from musicrec.store.tracks import read_tracks

FACTS = ["artist_ids", "album_id", "recording", "content_hash", "genre"]

Int32 = NDArray[np.int32]


class SongNumbers(NamedTuple):
    """All songs of the catalog and of the table of similar songs, by ascending id."""

    track_ids: pa.Array
    row: Int32  # of the table of similar songs; -1 for a song that it does not hold
    recording: Int32  # songs with the same number are one recording
    genre: Int32  # -1 where it is unknown
    catalog: Catalog  # the songs of the table

    @property
    def listed(self) -> pa.Array:
        """Ids of the songs of the table."""
        return self.track_ids.filter(pa.array(self.row >= 0))

    @property
    def fingerprint(self) -> str:
        """What recommendations depend on beside the lists."""
        artists, album = [str(codes) for codes in self.catalog.artist.tolist()], self.catalog.album
        of_table = digest(artists, _texts(self.catalog.recording), *([] if album is None else [_texts(album)]))
        return digest(self.track_ids.to_pylist(), _texts(self.recording), _texts(self.genre)) + of_table


def _texts(numbers: Int32) -> list[str]:
    return list(map(str, numbers.tolist()))


def read_song_numbers(store: Store, listed: pa.Array) -> SongNumbers:
    """Read which songs are one recording, and by whom they are, on which album and of which genre.

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
    songs = songs_of({name: facts[name].to_pylist() for name in FACTS} | sounds_of(store, track_ids))
    recording = recording_numbers(songs)
    row = pc.fill_null(pc.index_in(track_ids, value_set=listed), -1).to_numpy().astype(np.int32)
    of_table = pc.index_in(listed, value_set=track_ids).to_numpy()
    artist = songs.artist.take(of_table)
    artist = CodeSets(artist.starts, artist.codes.astype(np.int32))
    catalog = Catalog(recording[of_table], artist, songs.album[of_table])
    return SongNumbers(track_ids, row, recording, songs.genre, catalog)
