"""Lists that are kept from night to night, and updated for the songs that changed.

Besides the n songs that are published, a list keeps some spare ones and a floor: it holds every song of the catalog
whose key lies above its floor. Removing songs keeps that true; so does offering each list all songs that are new or
have changed. Only a list that is left with fewer than n songs is computed again. So a refresh ends with the same lists
as a full run, bit for bit, and only pairs with a changed song are compared.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.similarity.search import bounds, by_length, by_products, candidates, codes
from musicrec.similarity.search.blocks import (
    METRICS,
    Lists,
    as_lists,
    as_matrix,
    check,
    empty,
    fits_width,
    new_lists,
    prepare,
)
from musicrec.similarity.search.bounds import Projection, Vectors
from musicrec.similarity.search.candidates import CandidateLists, closed
from musicrec.similarity.search.exact import all_pairs
from musicrec.similarity.search.queries import nearest_to
from musicrec.similarity.search.score_keys import CLOSED, COSINE, MOST, NO_LIMIT

Rows = NDArray[np.int64]
Find = Callable[[Projection, CandidateLists, Vectors, Rows, int], CandidateLists]

SPARES = 25
LARGEST_SHARE = 0.2  # where more songs changed, a full run is as cheap
FEW_OF_ALL_LENGTHS = 2048  # so many songs meet all others sooner by products than by new codes for levels of length
TRIED = 128  # songs from which it is estimated how long others take
NS_PER_NUMBER_READ, NS_PER_NUMBER_CODED = 0.9, 4.0  # of a vector; as the nanoseconds of `bounds`, only ratios matter


class Kept(NamedTuple):
    """What a refresh needs from the night before.

    Each song has a place, similar ones near each other. A place without a song has the number -1, and no list takes it.
    """

    projection: Projection
    lists: CandidateLists
    n_published: int  # songs in a published list; the others, up to `lists.depth`, are spare


class Refreshed(NamedTuple):
    """Lists of today, and what is kept for tomorrow."""

    lists: Lists
    kept: Kept
    n_changed: int  # songs that are new or have changed
    n_anew: int  # lists computed again, because too many of their songs were gone


def full(
    vectors: ArrayLike, n: int, metric: str = "cosine", *, spares: int = SPARES, screen: str | None = None
) -> Refreshed:
    """Return lists as :func:`top_n` does, and what a refresh needs.

    Parameters
    ----------
    vectors, n, metric, screen
        As for :func:`top_n`.
    spares : int
        Songs that a list keeps beyond `n`.
    """
    screen = check(n, metric, screen)
    given = prepare(vectors, metric)
    n = max(0, min(n, len(given.values) - 1))
    projection, lists = all_pairs(
        given, max(0, min(n + spares, len(given.values) - 1)), METRICS[metric], screen, can_grow=True
    )
    candidates.put_in_order(projection.scale, lists)
    return Refreshed(as_lists(lists, len(given.values), n), Kept(projection, lists, n), len(given.values), 0)


def refresh(kept: Kept, vectors: ArrayLike, before: Rows, metric: str = "cosine") -> Refreshed | None:
    """Return the lists of today, made from those of the night before; `kept` is used up.

    Parameters
    ----------
    kept : Kept
        From the night before; its arrays are changed.
    vectors : array-like
        [N, d] of today.
    before : numpy.ndarray
        [N], row of each song the night before, or -1 for a new song; songs of both nights are in the same order.
    metric : str
        As the night before.

    Returns
    -------
    Refreshed or None
        The lists are those that :func:`top_n` gives for today's vectors. None where a full run is as cheap or the only
        way: many songs changed, too few places are free, or the vectors do not fit the codes.
    """
    projection, lists, n = kept
    matrix = as_matrix(vectors)
    if matrix.dtype != lists.vectors.dtype or not fits_width(matrix, lists.vectors) or lists.depth >= len(matrix):
        return None
    n_before = int(lists.songs.max(initial=-1)) + 1
    change = _changes(matrix, lists, before, n_before)
    given = prepare(matrix[change.rows], metric)
    if not _is_worth_it(projection, given, change, len(matrix)):
        return None
    _renumber(lists, change, before, n_before)
    _write_songs(projection, lists, given, change)
    candidates.set_limits(projection.scale, lists)
    to_come = np.concatenate([change.places, change.free])
    lists.limits[to_come], lists.floors[to_come], lists.counts[to_come] = MOST, CLOSED, 0
    counts, floors = lists.counts.copy(), lists.floors.copy()
    find: Find = nearest_to
    if not _lengths_differ(projection, lists):
        _make_by_codes(projection, lists, given, change)
    elif len(change.rows) <= FEW_OF_ALL_LENGTHS:
        find = by_products.nearest_to
        _make_lists(projection, lists, lists, given, change.places, find=find)
    else:
        _make_by_length(projection, lists, given, change.places)
    done = empty(len(matrix), n)
    candidates.put_in_order_again(lists, counts, floors, *done)
    short = np.flatnonzero((lists.counts < n) & (lists.songs >= 0))
    _make_lists(projection, lists, closed(lists), _songs_of(projection, lists).rows(short), short, find=find)
    candidates.read_out_some(lists, short, *done)
    return Refreshed(done, Kept(projection, lists, n), len(change.rows), len(short))


# --- what changed -----------------------------------------------------------------------------------------------------


class _Change(NamedTuple):
    rows: Rows  # today's rows of the songs that are new or have changed
    places: Rows  # their places from now on
    free: Rows  # places without a song from now on
    place_of: Rows  # [N]: place of every song of today; -1 if it was not there before
    fits: bool  # whether there is a place for every song


def _changes(matrix: NDArray[Any], lists: CandidateLists, before: Rows, n_before: int) -> _Change:
    place_before = np.full(n_before + 1, -1, np.int64)  # the last entry is for songs that were not there
    living = np.flatnonzero(lists.songs >= 0)
    place_before[lists.songs[living]] = living
    place_of = place_before[before]
    stayed = np.flatnonzero(place_of >= 0)
    is_changed = np.zeros(len(stayed), bool)
    candidates.differ(matrix, lists.vectors, np.where(place_of >= 0, place_of, 0), stayed, is_changed)
    changed, new = stayed[is_changed], np.flatnonzero(place_of < 0)
    is_taken = np.zeros(len(lists.songs), bool)
    is_taken[place_of[stayed]] = True
    free = np.flatnonzero(~is_taken)
    rows = np.concatenate([changed, new])
    places = np.concatenate([place_of[changed], free[: len(new)]])
    return _Change(rows, places, free[len(new) :], place_of, len(free) >= len(new))


def _is_worth_it(projection: Projection, given: Vectors, change: _Change, n_songs: int) -> bool:
    if not change.fits or len(change.rows) > LARGEST_SHARE * n_songs or given.unit != projection.unit:
        return False
    return bounds.longest(projection, given) <= projection.longest


def _renumber(lists: CandidateLists, change: _Change, before: Rows, n_before: int) -> None:
    """Give songs their row numbers of today in all lists, and remove songs that changed from all lists."""
    row_of = np.full(n_before + 1, -1, np.int32)
    stayed = np.flatnonzero(before >= 0)
    row_of[before[stayed]] = stayed
    # A bound b stands for "numbers below b": of today, those up to the last song that had a number below b.
    bound_of = np.concatenate([np.zeros(1, np.int32), np.maximum.accumulate(row_of[:n_before]) + np.int32(1)])
    row_of[before[change.rows[before[change.rows] >= 0]]] = -1
    candidates.renumber(lists, row_of, bound_of)


def _write_songs(projection: Projection, lists: CandidateLists, given: Vectors, change: _Change) -> None:
    """Put songs in their places: their numbers of today, and the vectors and codes of those that changed."""
    songs = np.full(len(lists.songs), -1, np.int64)
    stayed = np.flatnonzero(change.place_of >= 0)
    songs[change.place_of[stayed]] = stayed
    songs[change.places] = change.rows
    lists.songs[:] = songs
    encoded = bounds.encode(projection, given)
    n = len(change.rows)
    lists.vectors[change.places], lists.inverse_norms[change.places] = given[:2]
    for kept, new in zip((lists.codes, lists.starts, lists.offsets), encoded, strict=True):
        kept[change.places] = new[:n]
    lists.offsets[change.free] = lists.starts[change.free] = 2 * NO_LIMIT
    if len(lists.panels):
        codes.write_in_panels(encoded.codes, change.places, lists.panels)


# --- lists ------------------------------------------------------------------------------------------------------------


def _songs_of(projection: Projection, lists: CandidateLists) -> Vectors:
    """Return the vectors of the songs in all places."""
    return Vectors(lists.vectors, lists.inverse_norms, projection.unit)


def _lengths_differ(projection: Projection, lists: CandidateLists) -> bool:
    """Return whether lists are made by levels of length."""
    if projection.metric == COSINE:
        return False
    living = np.flatnonzero(lists.songs >= 0)
    return by_length.differ_much(_songs_of(projection, lists).rows(living), projection.metric)


def _make_by_codes(projection: Projection, lists: CandidateLists, given: Vectors, change: _Change) -> None:
    """Compute the lists of songs that are new or have changed, and offer these songs to all other lists."""
    way, far = _sooner_without(projection, given, _songs_of(projection, lists), lists.depth)
    near = np.setdiff1d(np.arange(len(change.rows)), far)
    _make_lists(projection, lists, lists, given.rows(near), change.places[near])
    if not len(far):
        return
    met = change.places[near]  # their lists have met all songs, and a song must not enter twice
    floors_met, lists.floors[met] = lists.floors[met], CLOSED
    if way == "products":
        _make_lists(projection, lists, lists, given.rows(far), change.places[far], find=by_products.nearest_to)
    else:
        wide, others = _on_all_axes(projection, lists)
        _make_lists(wide, lists, others, given.rows(far), change.places[far])
    lists.floors[met] = floors_met


def _sooner_without(projection: Projection, given: Vectors, songs: Vectors, n: int) -> tuple[str, Rows]:
    """Return the songs of which the codes leave much out, if another way to compare them takes less time, and that way.

    A song of another catalog may lie on axes on which no other song does. Codes leave these out, and then hardly any
    pair is below its bound. Plain products need no codes; codes of all axes have to be made for all songs first.
    """
    outside, d = np.flatnonzero(bounds.lie_outside(projection, given, songs)), songs.values.shape[1]
    if not len(outside):
        return "", outside
    some = outside[:: -(-len(outside) // TRIED)]
    by_code, by_product = (bounds.NS_PER_COORDINATE[screen] * d for screen in (projection.screen, "product"))
    ns = {  # for each song of the catalog
        "codes": len(outside) * float(bounds.ns_by_codes(projection, given.rows(some), songs, n).mean()),
        "products": by_product * len(outside) + NS_PER_NUMBER_READ * d,
        "codes of all axes": by_code * len(outside) + NS_PER_NUMBER_CODED * d,
    }
    way = min(ns, key=lambda way: ns[way])
    return way, outside if way != "codes" else outside[:0]


def _make_by_length(projection: Projection, lists: CandidateLists, given: Vectors, places: Rows) -> None:
    """Do the same by levels of length."""
    songs, numbers, how = _songs_of(projection, lists), lists.songs[places], (projection.metric, projection.screen)
    living = np.flatnonzero(lists.songs >= 0)
    new = new_lists(projection, given, numbers, lists.depth)
    levels = by_length.levels_of(songs.rows(living), lists.songs[living], lists.depth, *how)
    by_length.fill(new, given, levels, projection.scale)
    candidates.put_in_order(projection.scale, new)
    by_length.fill(lists, songs, by_length.levels_of(given, numbers, lists.depth, *how), projection.scale)
    lists.keys[places, : lists.depth] = new.keys[:, : lists.depth]
    lists.counts[places], lists.floors[places] = new.counts, new.floors


def _on_all_axes(projection: Projection, lists: CandidateLists) -> tuple[Projection, CandidateLists]:
    """Return the same lists with codes that leave out no axis."""
    songs = _songs_of(projection, lists)
    wide = bounds.widened(projection, songs)
    encoded = bounds.encode(wide, songs)
    panels, limits = codes.panels_of(encoded.codes, len(lists.songs)), lists.limits.copy()
    on_all_axes = lists._replace(**encoded._asdict(), panels=panels, limits=limits)
    candidates.set_limits(wide.scale, on_all_axes)
    vacant = np.flatnonzero(lists.songs < 0)
    encoded.offsets[vacant] = encoded.starts[vacant] = 2 * NO_LIMIT
    return wide, on_all_axes


def _make_lists(
    projection: Projection,
    lists: CandidateLists,
    others: CandidateLists,
    given: Vectors,
    places: Rows,
    *,
    find: Find = nearest_to,
) -> None:
    """Compute the lists of the songs in some places again from all `others`, and offer these songs to their lists."""
    if len(places):
        new = find(projection, others, given, lists.songs[places], lists.depth)
        lists.keys[places, : lists.depth] = new.keys[:, : lists.depth]
        lists.counts[places], lists.floors[places] = new.counts, new.floors
