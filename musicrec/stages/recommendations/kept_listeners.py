"""What is known of each listener beside the published table, so that the next night need not recommend to all anew."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.files.parquet import read_parquet
from musicrec.files.paths import AnyPath, children
from musicrec.store.pointer import parts_of

FOLDER = "_listeners"  # of a version
LISTENERS = pa.schema(
    [
        ("user_id", pa.string()),
        ("key", pa.uint64()),  # of all that the songs depend on; see listener_keys
        ("n_songs", pa.int16()),  # rows in the table
        ("has_likes", pa.bool_()),  # whether any like can be compared
        ("is_cold", pa.bool_()),  # whether the songs are from genre centres or popular
        ("has_heard_all", pa.bool_()),  # whether no recording is left to recommend
        ("deeper_lists", pa.bool_()),  # whether longer lists than the published ones were read
        ("by_lists_only", pa.bool_()),  # whether they should have been, and could not be made
        ("unknown_songs", pa.int32()),  # rows of histories whose song is not in the catalog
    ]
)


class Before(NamedTuple):
    """A part of the published table, and what is known of its listeners."""

    listeners: pa.Table  # of LISTENERS
    rows: pa.Table  # of RECOMMENDATIONS

    def take(self, listeners: NDArray[np.int64]) -> pa.Table:
        """Return the rows of some listeners."""
        n_songs = self.listeners["n_songs"].to_numpy().astype(np.int64)
        starts = np.cumsum(n_songs) - n_songs
        n = n_songs[listeners]
        places = np.arange(n.sum()) + np.repeat(starts[listeners] - (np.cumsum(n) - n), n)
        return self.rows.take(pa.array(places))


class Same(NamedTuple):
    """Which parts of what listeners depend on are those of the published table."""

    folder: AnyPath  # of its version
    lists: bool  # the lists of all songs, what is known of these, and whether longer lists can be made
    cold: bool  # the centres of genres and the popular songs


def read_before(folder: AnyPath, number: int) -> Before | None:
    """Return a part of a version; None if it has no such part, or is of an older musicrec."""
    kept, parts = children(folder / FOLDER, "*.parquet"), children(parts_of(folder), "*.parquet")
    if len(kept) != len(parts) or number >= len(kept):
        return None
    before = Before(read_parquet(kept[number]), read_parquet(parts[number]))
    is_whole = before.listeners["n_songs"].to_numpy().sum() == len(before.rows)
    return before if is_whole and before.listeners.schema.names == LISTENERS.names else None


def same_as_before(before: Before, same: Same, users: pa.Array, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return for each listener the one of before to whom the same is recommended; -1 for none.

    Parameters
    ----------
    before : Before
        A part of the published table.
    same : Same
        What has not changed since.
    users : pyarrow.Array
        The listeners.
    keys : numpy.ndarray
        uint64 [n_listeners], their keys of today.
    """
    own = before.listeners
    row = np.asarray(
        pc.fill_null(pc.index_in(users, value_set=own["user_id"].combine_chunks()), -1).to_numpy(), np.int64
    )
    if not len(own):
        return row
    stays = own["key"].to_numpy()[row] == keys
    if not same.lists:
        stays &= ~_flags(own, "deeper_lists")[row] & ~_flags(own, "by_lists_only")[row]
    if not same.cold:
        stays &= ~_flags(own, "is_cold")[row]
    return np.where(stays, row, -1)


def figures_of(listeners: pa.Table, n: int) -> Counter[str]:
    """Return how many listeners there are of each kind; `n` is how many songs were asked for."""
    n_songs = listeners["n_songs"].to_numpy()
    is_empty, has_heard_all = n_songs == 0, _flags(listeners, "has_heard_all")
    counted = {
        "listeners": len(listeners),
        "rows": n_songs.sum(),
        "without_likes": (~_flags(listeners, "has_likes")).sum(),
        "cold": (_flags(listeners, "is_cold") & ~is_empty).sum(),
        "heard_everything": (is_empty & has_heard_all).sum(),
        "without_songs": (is_empty & ~has_heard_all).sum(),
        "fewer_songs": (~is_empty & (n_songs < n)).sum(),
        "deeper_lists": _flags(listeners, "deeper_lists").sum(),
        "by_lists_only": _flags(listeners, "by_lists_only").sum(),
        "unknown_songs": listeners["unknown_songs"].to_numpy().sum(),
    }
    return Counter({name: int(value) for name, value in counted.items()})


def _flags(listeners: pa.Table, name: str) -> NDArray[np.bool_]:
    return np.asarray(listeners[name].to_numpy(), np.bool_)
