"""Lists that are kept from night to night, and brought up to date for the songs that changed.

Besides the n songs that are published, a list keeps some spare ones and a floor: it holds every song of the catalog
whose key lies above its floor. Taking songs away keeps that true; so does offering each list all songs that are new or
have changed. Only a list that is left with fewer than n songs is made anew. So a refresh ends with the same lists as a
full run, bit for bit, and only pairs that a changed song is part of meet.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.similarity.search import bounds, candidates, codes
from musicrec.similarity.search.bounds import Frame, Vectors
from musicrec.similarity.search.candidates import Side, closed
from musicrec.similarity.search.exact import (
    BLOCK_ROWS,
    METRICS,
    Block,
    Lists,
    all_pairs,
    as_lists,
    check,
    make_side,
    meet,
    padded,
    prepare,
    slices,
)
from musicrec.similarity.search.starting_limits import guess_from_sample

Rows = NDArray[np.int64]

SPARES = 25
ROWS_AT_ONCE = 4 * BLOCK_ROWS  # a second-level cache holds their codes, and those of the catalog pass by less often
LARGEST_SHARE = 0.2  # of songs that changed: from there on a full run is as cheap


class Kept(NamedTuple):
    """All that a refresh needs of the night before. The songs of `side` stand in places of their own, alike ones near.

    A place without a song has the number -1, and no list takes it.
    """

    frame: Frame
    side: Side
    n: int  # songs of a published list; side.n - n are spare


class Refreshed(NamedTuple):
    """Lists of today, and what is kept for tomorrow."""

    lists: Lists
    kept: Kept
    n_changed: int  # songs that are new or have changed
    n_anew: int  # lists that too many songs had left


def full(
    vectors: ArrayLike, n: int, metric: str = "cosine", *, spares: int = SPARES, screen: str | None = None
) -> Refreshed:
    """Lists as of :func:`top_n`, kept for a refresh.

    Parameters
    ----------
    vectors, n, metric, screen
        As of :func:`top_n`.
    spares : int
        Songs that a list keeps beyond `n`.
    """
    screen = check(n, metric, screen)
    given = prepare(vectors, metric)
    n = max(0, min(n, len(given.values) - 1))
    frame, side = all_pairs(
        given, max(0, min(n + spares, len(given.values) - 1)), METRICS[metric], screen, can_grow=True
    )
    candidates.put_in_order(frame.rule, side)
    return Refreshed(as_lists(side, len(given.values), n), Kept(frame, side, n), len(given.values), 0)


def refresh(kept: Kept, vectors: ArrayLike, before: Rows, metric: str = "cosine") -> Refreshed | None:
    """Lists of today from those of the night before; `kept` is used up.

    Parameters
    ----------
    kept : Kept
        From the night before; its arrays are changed.
    vectors : array-like
        [N, d] of today.
    before : numpy.ndarray
        [N], for each song of today its row of the night before, or -1; songs of both nights stand in the same order.
    metric : str
        As the night before.

    Returns
    -------
    Refreshed or None
        The lists are those that :func:`top_n` gives of the vectors of today. None where a full run is as cheap: many
        songs changed, too few places are free, or a song lies far outside of what the codes can say.
    """
    frame, side, n = kept
    matrix = padded(vectors)
    if matrix.dtype != side.vectors.dtype or matrix.shape[1] != side.vectors.shape[1] or side.n >= len(matrix):
        return None
    n_before = int(side.songs.max(initial=-1)) + 1
    change = _changes(matrix, side, before, n_before)
    given = prepare(matrix[change.rows], metric)
    if not _is_worth_it(frame, given, change, len(matrix)):
        return None
    _renumber(side, change, before, n_before)
    _write_songs(frame, side, given, change)
    candidates.set_limits(frame.rule, side)
    to_come = np.concatenate([change.places, change.free])
    side.limits[to_come], side.floors[to_come], side.counts[to_come] = candidates.MOST, candidates.CLOSED, 0
    counts, floors = side.counts.copy(), side.floors.copy()
    _make_lists(frame, side, side, given, change.places)
    candidates.put_in_order_again(side, counts, floors)
    short = np.flatnonzero((side.counts < n) & (side.songs >= 0))
    _make_lists(frame, side, closed(side), Vectors(side.vectors[short], side.inverse_norms[short], frame.unit), short)
    done = as_lists(side, len(matrix), n)
    return Refreshed(done, Kept(frame, side, n), len(change.rows), len(short))


# --- what changed -----------------------------------------------------------------------------------------------------


class _Change(NamedTuple):
    rows: Rows  # of today: songs that are new or have changed
    places: Rows  # where they stand from now on
    free: Rows  # places without a song from now on
    place_of: Rows  # [N] of every song of today that was there before, or -1
    fits: bool  # whether there is a place for every song


def _changes(matrix: NDArray[Any], side: Side, before: Rows, n_before: int) -> _Change:
    place_before = np.full(n_before + 1, -1, np.int64)  # the last is that of songs that were not there
    living = np.flatnonzero(side.songs >= 0)
    place_before[side.songs[living]] = living
    place_of = place_before[before]
    stayed = np.flatnonzero(place_of >= 0)
    is_changed = np.zeros(len(stayed), bool)
    candidates.differ(matrix, side.vectors, np.where(place_of >= 0, place_of, 0), stayed, is_changed)
    changed, new = stayed[is_changed], np.flatnonzero(place_of < 0)
    is_taken = np.zeros(len(side.songs), bool)
    is_taken[place_of[stayed]] = True
    free = np.flatnonzero(~is_taken)
    rows = np.concatenate([changed, new])
    places = np.concatenate([place_of[changed], free[: len(new)]])
    return _Change(rows, places, free[len(new) :], place_of, len(free) >= len(new))


def _is_worth_it(frame: Frame, given: Vectors, change: _Change, n_songs: int) -> bool:
    if not change.fits or len(change.rows) > LARGEST_SHARE * n_songs or given.unit != frame.unit:
        return False
    return bounds.longest(frame, given) <= frame.longest


def _renumber(side: Side, change: _Change, before: Rows, n_before: int) -> None:
    """Name songs by their rows of today, in all lists and places; songs that changed leave all lists."""
    row_of = np.full(n_before + 1, -1, np.int32)
    stayed = np.flatnonzero(before >= 0)
    row_of[before[stayed]] = stayed
    # A bound b stands for "numbers below b": of today, those up to the last song that had a number below b.
    bound_of = np.concatenate([np.zeros(1, np.int32), np.maximum.accumulate(row_of[:n_before]) + np.int32(1)])
    row_of[before[change.rows[before[change.rows] >= 0]]] = -1
    candidates.renumber(side, row_of, bound_of)


def _write_songs(frame: Frame, side: Side, given: Vectors, change: _Change) -> None:
    """Put songs in their places: their numbers of today, and the vectors and codes of those that changed."""
    songs = np.full(len(side.songs), -1, np.int64)
    stayed = np.flatnonzero(change.place_of >= 0)
    songs[change.place_of[stayed]] = stayed
    songs[change.places] = change.rows
    side.songs[:] = songs
    encoded = bounds.encode(frame, given)
    n = len(change.rows)
    side.vectors[change.places], side.inverse_norms[change.places] = given[:2]
    for of_side, of_changed in zip((side.codes, side.starts, side.offsets), encoded, strict=True):
        of_side[change.places] = of_changed[:n]
    side.offsets[change.free] = side.starts[change.free] = 2 * candidates.NO_LIMIT
    if len(side.panels):
        codes.write_in_panels(encoded.codes, change.places, side.panels)


# --- lists ------------------------------------------------------------------------------------------------------------


def _make_lists(
    frame: Frame, side: Side, others: Side, given: Vectors, places: Rows, *, may_guess: bool = True
) -> None:
    """Write lists of the songs in some places, from all `others`, which are offered these songs."""
    if len(places) == 0:
        return
    new = make_side(frame, given, side.songs[places], side.n)
    guessed = guess_from_sample(frame, new, side) if may_guess else new.limits.copy()
    meet(frame, new, others, (Block(*some, 0, len(side.songs)) for some in slices(0, len(places), ROWS_AT_ONCE)))
    candidates.put_in_order(frame.rule, new)
    side.keys[places, : side.n] = new.keys[:, : side.n]
    side.counts[places], side.floors[places] = new.counts, new.floors
    candidates.set_limits(frame.rule, new)
    lacking = np.flatnonzero((new.limits < guessed)[: len(places)])
    if len(lacking):
        _make_lists(frame, side, closed(others), given.rows(lacking), places[lacking], may_guess=False)
