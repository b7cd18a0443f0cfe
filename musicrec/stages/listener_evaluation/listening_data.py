"""The likes of listeners as numbers, and what is known of the songs: one item for each recording that has a vector."""

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.errors import ConfigError
from musicrec.evaluate.listeners.like_splits import Likes
from musicrec.serve.comparable_songs import read_vectors
from musicrec.settings import SimilarSettings, resolve
from musicrec.stages.recommendations.song_numbers import read_song_numbers
from musicrec.store.store import Store

Rows = NDArray[np.int64]

COLUMNS = ["user_id", "track_id", "plays", "first_at"]  # of histories


class Items(NamedTuple):
    """The recordings that can be compared; the first song of each stands for it."""

    track_ids: pa.Array
    vectors: NDArray[np.float32]  # [n_items, d]
    artists: Rows  # [n_items], number of the first artist; -1 where none is known


class ListeningData(NamedTuple):
    """What listeners like and have heard, by numbers of listeners and items."""

    items: Items
    likes: Likes
    heard: Likes  # songs that listeners have heard and do not like
    users: pa.Array  # ids of all listeners, ascending
    n_left_out: int  # rows of songs without a vector

    @property
    def n_users(self) -> int:
        """How many listeners there are."""
        return len(self.users)


def read_listening(store: Store) -> ListeningData:
    """Read the likes of all listeners, and the vectors that the published lists are made of.

    Raises
    ------
    ConfigError
        There is no table ``histories`` or ``similar``, or no listener likes a song that has a vector.
    """
    for table, command in (("histories", f"histories {store.out} PATH"), ("similar", f"similar {store.out}")):
        if not store.exists(table):
            raise ConfigError(f"{store.out} has no {table} to judge recommendations by; run: musicrec {command}")
    items, of_track = _read_items(store)
    rows = store.read("histories", COLUMNS)
    item = _numbers(rows["track_id"], pa.array(of_track), np.fromiter(of_track.values(), np.int64, len(of_track)))
    users = pc.unique(rows["user_id"]).sort()
    user = pc.index_in(rows["user_id"], value_set=users).to_numpy().astype(np.int64)
    at = pc.cast(rows["first_at"], pa.int64()).to_numpy(zero_copy_only=False).astype(np.float64) / 1000
    is_like = rows["plays"].to_numpy() > 0
    likes = _earliest(Likes(user, item, at).take(is_like & (item >= 0)))
    heard = Likes(user, item, at).take(~is_like & (item >= 0))
    n_left_out = int((item < 0).sum()) - rows["track_id"].null_count  # who has heard no song of the catalog has a null
    if not len(likes.user):
        raise ConfigError(
            f"no listener of {store.out}/histories likes a song that has a vector, so nobody can be judged"
        )
    return ListeningData(items, likes, heard, users, n_left_out)


def _read_items(store: Store) -> tuple[Items, dict[str, int]]:
    """Return the items, and the item of each song that is a file of one."""
    vectors = read_vectors(store, resolve(SimilarSettings, store.footer("similar")["settings"]).space)
    songs = read_song_numbers(store, vectors.names["track_id"].combine_chunks())
    recordings, first = np.unique(songs.catalog.recording, return_index=True)
    artists = [songs.catalog.artist.of(row) for row in first]
    named = np.array([codes[0] if len(codes) else -1 for codes in artists], np.int64)
    track_ids = vectors.names["track_id"].combine_chunks().take(pa.array(first))
    of_recording = {int(recording): item for item, recording in enumerate(recordings)}
    of_track = {
        track_id: of_recording[int(recording)]
        for track_id, recording in zip(songs.track_ids.to_pylist(), songs.recording, strict=True)
        if int(recording) in of_recording
    }
    return Items(track_ids, vectors.matrix[first], named), of_track


def _numbers(names: Any, known: pa.Array, numbers: Rows) -> Rows:  # noqa: ANN401 - a column
    """Return the number of each name; -1 of one that is not known."""
    place = pc.fill_null(pc.index_in(names, value_set=known), -1).to_numpy()
    return np.where(place >= 0, numbers[place], -1) if len(numbers) else np.full(len(names), -1)


def _earliest(likes: Likes) -> Likes:
    """Return each pair of a listener and an item once, with its earliest time."""
    order = np.lexsort((likes.at, likes.item, likes.user))
    ordered = likes.take(order)
    pairs = np.stack([ordered.user, ordered.item])
    is_first = np.concatenate([np.ones(min(1, len(order)), bool), (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)])
    return ordered.take(is_first)
