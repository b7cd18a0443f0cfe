"""From listens to histories: which listens are left out, which are likes, and the sums for each user and song."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from musicrec.schemas import HISTORIES, ListenReason
from musicrec.settings import HistoriesSettings
from musicrec.stages.histories.listens import NAMES

FUTURE_S = 86_400  # a clock, or a time without its zone, may be a day ahead
MATCHED = pa.schema(
    [
        ("user_id", pa.string()),
        ("row", pa.int64()),  # of the catalog; NO_SONG where only the listener is known
        ("at_s", pa.int64()),  # null if unknown
        ("plays", pa.int64()),
        ("seconds", pa.float64()),  # null if unknown
        ("is_like", pa.bool_()),
    ]
)
UNMATCHED = pa.schema([("name", pa.string()), ("plays", pa.int64())])
UNKNOWN_TIME = NO_SONG = -1

Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]


def reasons(listens: pa.Table, rows: Int64, now_s: float) -> pa.Array:
    """Return why each listen is left out; null if it is not.

    Parameters
    ----------
    listens : pyarrow.Table
        Rows of :data:`LISTENS`.
    rows : numpy.ndarray
        int64 [n], the song of each; -1 for none.
    now_s : float
        The time now, in seconds since 1970.
    """
    is_named = np.any([listens[name].is_valid().to_numpy() for name in NAMES if name != "artist"], axis=0)
    found = np.full(len(listens), None, object)
    found[rows < 0] = ListenReason.UNKNOWN_SONG.value
    found[(rows < 0) & ~is_named] = ListenReason.NO_NAME.value
    times = pc.fill_null(listens["at_s"], 0).to_numpy()
    found[times > now_s + FUTURE_S] = ListenReason.FUTURE.value
    found[listens["user_id"].is_null().to_numpy()] = ListenReason.NO_USER.value
    return pc.coalesce(listens["reason"].combine_chunks(), pa.array(found, pa.string()))


def likes(listens: pa.Table, durations: NDArray[np.float64], settings: HistoriesSettings) -> Bools:
    """Return which listens count as likes: those long enough, or of unknown length, that were not skipped.

    Parameters
    ----------
    listens : pyarrow.Table
        Rows of :data:`LISTENS`.
    durations : numpy.ndarray
        float64 [n], length of the song of each in the catalog, in seconds; NaN if unknown. The length that the listen
        itself names counts first.
    settings : HistoriesSettings
        What is long enough.
    """
    seconds = _floats(listens["seconds"]) / listens["plays"].to_numpy()
    own = _floats(listens["length_s"])
    length = np.where(own > 0, own, np.where(durations > 0, durations, np.inf))
    is_long = np.isnan(seconds) | (seconds >= settings.min_seconds) | (seconds >= settings.min_share * length)
    if settings.count_skips:
        return np.asarray(is_long)
    return np.asarray(is_long & ~pc.fill_null(listens["skipped"], False).to_numpy())


def weigh(values: pa.Array, plays: pa.ChunkedArray) -> Counter[str]:
    """Return the number of listens of each value; null values do not count."""
    sums = pa.table({"value": values, "plays": plays}).group_by("value").aggregate([("plays", "sum")])
    return Counter({v: n for v, n in zip(*(c.to_pylist() for c in sums.columns), strict=True) if v is not None})


def unmatched_names(listens: pa.Table) -> pa.Table:
    """Return what listens call their songs, as :data:`UNMATCHED`: artist and title, or else what they have."""
    both = pc.binary_join_element_wise(listens["artist"], listens["title"], " - ")
    others = [listens[name] for name in ("title", "uri", "recording_mbid", "mapped_mbid", "isrc", "track_id")]
    return pa.table([pc.coalesce(both, *others), listens["plays"]], schema=UNMATCHED)


def only_listeners(listens: pa.Table) -> pa.Table:
    """Return the listeners of listens of unknown songs, as :data:`MATCHED`: nothing that counts, and no song."""
    users = pc.unique(listens["user_id"])
    n = len(users)
    nothing = [pa.nulls(n, pa.int64()), pa.array(np.zeros(n, np.int64)), pa.nulls(n, pa.float64())]
    return pa.table([users, pa.array(np.full(n, NO_SONG)), *nothing, pa.array(np.zeros(n, bool))], schema=MATCHED)


def histories_of(matched: pa.Table, track_ids: pa.Array) -> tuple[pa.Table, int, int]:
    """Add up the listens of some users.

    Of listens of one user to one song that began in the same second, the longest counts.

    Parameters
    ----------
    matched : pyarrow.Table
        Rows of :data:`MATCHED`, in any order: all of these users.
    track_ids : pyarrow.Array
        Id of each row of the catalog, ascending.

    Returns
    -------
    histories : pyarrow.Table
        ``HISTORIES``, by ascending user and track. A listener who has heard no song of the catalog has one row without
        a song.
    n_likes, n_duplicates : int
        Number of listens that are likes, and of those that are the same as another.
    """
    users, codes = _ranked(matched["user_id"].combine_chunks())
    listens = _in_order(matched.append_column("user", pa.array(codes)))
    is_same = _is_same(listens)
    n_duplicates = int(listens["plays"].to_numpy()[is_same].sum())
    listens = listens.filter(pa.array(~is_same & ~_is_needless(listens)))
    user, row = listens["user"].to_numpy(), listens["row"].to_numpy()
    first = np.flatnonzero(np.concatenate([[True], (np.diff(user) != 0) | (np.diff(row) != 0)]))
    liked = np.where(listens["is_like"].to_numpy(), listens["plays"].to_numpy(), 0)
    seconds = _floats(listens["seconds"])
    columns = [
        users.take(pa.array(user[first])),
        track_ids.take(pa.array(row[first], mask=row[first] == NO_SONG)),
        pa.array(np.add.reduceat(liked, first)),
        _known(np.add.reduceat(np.nan_to_num(seconds), first), np.logical_or.reduceat(~np.isnan(seconds), first)),
        *_times(pc.fill_null(listens["at_s"], UNKNOWN_TIME).to_numpy(), first),
    ]
    return pa.Table.from_arrays(columns, schema=HISTORIES), int(liked.sum()), n_duplicates


def _in_order(listens: pa.Table) -> pa.Table:
    """Sort listens by user, song and time; of those that began together, the longest comes first, and likes do."""
    user, row, plays, is_like = (listens[name].to_numpy() for name in ("user", "row", "plays", "is_like"))
    at = pc.fill_null(listens["at_s"], UNKNOWN_TIME).to_numpy()
    seconds = np.nan_to_num(_floats(listens["seconds"]), nan=-1)
    return listens.take(pa.array(np.lexsort((plays, ~is_like, -seconds, at, row, user))))


def _is_same(listens: pa.Table) -> Bools:
    """Return which listens, in order, began in the same second as the one before, by the same user of the same song."""
    at = pc.fill_null(listens["at_s"], UNKNOWN_TIME).to_numpy()
    found = np.zeros(len(listens), bool)
    found[1:] = (np.diff(at) == 0) & (at[1:] != UNKNOWN_TIME)
    for name in ("user", "row"):
        found[1:] &= np.diff(listens[name].to_numpy()) == 0
    return found


def _is_needless(listens: pa.Table) -> Bools:
    """Return which rows name no song of a listener of whom others do."""
    user, has_song = listens["user"].to_numpy(), listens["row"].to_numpy() != NO_SONG
    return np.asarray(~has_song & np.isin(user, user[has_song]))


def _ranked(names: pa.Array) -> tuple[pa.Array, Int64]:
    """Return the different names, ascending, and the number of each name among them."""
    codes = names.dictionary_encode()
    order = pc.sort_indices(codes.dictionary).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return codes.dictionary.take(pa.array(order)), rank[codes.indices.to_numpy()]


def _times(at: Int64, first: Int64) -> list[pa.Array]:
    """Return the first and the last known time of each group."""
    is_known = np.logical_or.reduceat(at != UNKNOWN_TIME, first)
    earliest = np.minimum.reduceat(np.where(at == UNKNOWN_TIME, np.iinfo(np.int64).max, at), first)
    ends = [np.where(is_known, times, 0) * 1000 for times in (earliest, np.maximum.reduceat(at, first))]
    return [_known(times, is_known).cast(pa.timestamp("ms", "UTC")) for times in ends]


def _known(values: NDArray[np.generic], is_known: Bools) -> pa.Array:
    return pa.array(values, mask=~is_known)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return np.asarray(column.to_numpy(), np.float64)
