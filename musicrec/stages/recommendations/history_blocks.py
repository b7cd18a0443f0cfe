"""The table ``histories`` as numbers, some thousand listeners at a time."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.similarity.listeners.nearest_to_likes import Listeners
from musicrec.similarity.songs import CodeSets
from musicrec.stages.recommendations.song_numbers import SongNumbers

COLUMNS = ["user_id", "track_id", "plays"]

Rows = NDArray[np.int64]


class Block(NamedTuple):
    """All rows of some listeners.

    Attributes
    ----------
    users : pyarrow.Array
        Ids of the listeners.
    user : numpy.ndarray
        int64 [n_rows], the listener of each row.
    song : numpy.ndarray
        int64 [n_rows], number of the song; -1 for one that is not in the catalog, or where no song is named.
    is_unknown : numpy.ndarray
        bool [n_rows], whether a song is named that is not in the catalog.
    is_like : numpy.ndarray
        bool [n_rows].
    listeners : Listeners
        Likes that have a list, and recordings that were heard.
    """

    users: pa.Array
    user: Rows
    song: Rows
    is_unknown: NDArray[np.bool_]
    is_like: NDArray[np.bool_]
    listeners: Listeners

    def of_users(self, values: NDArray[Any], is_row: NDArray[np.bool_]) -> CodeSets:
        """Return values of some rows as sets of their listeners."""
        return sets_of(self.user[is_row], values[is_row], len(self.users))


def blocks_of(histories: pa.Table, n_listeners: int) -> list[pa.Table]:
    """Split rows of the table ``histories``, sorted by user, so that each part holds all rows of so many users."""
    firsts = [*_first_rows(histories)[::n_listeners].tolist(), len(histories)]
    return [histories[start:stop] for start, stop in pairwise(firsts)]


def _first_rows(histories: pa.Table) -> Rows:
    """Return the first row of each user."""
    users = histories["user_id"].combine_chunks()
    is_other = pc.not_equal(users[1:], users[:-1]).to_numpy(zero_copy_only=False)
    return np.flatnonzero(np.concatenate([np.ones(min(1, len(users)), bool), is_other]))


def read_block(histories: pa.Table, songs: SongNumbers) -> Block:
    """Return rows of the table ``histories``, sorted by user and track, as numbers."""
    firsts = _first_rows(histories)
    users = histories["user_id"].combine_chunks().take(pa.array(firsts))
    user = np.repeat(np.arange(len(firsts)), np.diff(firsts, append=len(histories)))
    found = pc.index_in(histories["track_id"], value_set=songs.track_ids)
    song = np.asarray(pc.fill_null(found, -1).to_numpy(), np.int64)
    is_known, plays = song >= 0, histories["plays"].to_numpy()
    row = np.where(is_known, songs.row[song], -1) if len(songs.row) else song
    liked = is_known & (plays > 0) & (row >= 0)
    likes = sets_of(user[liked], row[liked], len(users))
    heard = sets_of(user[is_known], songs.recording[song[is_known]], len(users))
    is_unknown = ~is_known & histories["track_id"].is_valid().to_numpy()
    return Block(users, user, song, is_unknown, is_known & (plays > 0), Listeners(likes, heard))


def sets_of(user: Rows, codes: NDArray[Any], n_users: int) -> CodeSets:
    """Return the numbers of each user, given in order of users."""
    starts = np.append(0, np.cumsum(np.bincount(user, minlength=n_users)))
    return CodeSets(starts.astype(np.int64), codes.astype(np.int32))
