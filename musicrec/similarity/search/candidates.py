"""Candidate lists: the best songs found so far for each song.

A list holds keys in no order, and more of them than the finished list: when its room is full, only the best stay. A key
is an unsigned integer that sorts as finished lists do: higher score first, then smaller song number. So the result does
not depend on the order in which candidates arrive.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.simd.lanes import LANES, as_in, inlined_kernel, kernel, lane_sum, load_at, spread
from musicrec.similarity.search.score_keys import CLOSED, GONE, LOW, MOST, NO_LIMIT, limit_of, score_of, song_of


class CandidateLists(NamedTuple):
    """Songs encoded for the screen, and the candidate list of each."""

    vectors: NDArray[Any]  # [N, d], d a multiple of LANES
    inverse_norms: NDArray[np.float64]  # [N]; the codes are those of the vectors times these
    songs: NDArray[np.int64]  # [N]: the number of each song in the lists
    codes: NDArray[Any]  # [N + padding, K]
    starts: NDArray[Any]  # [N + padding]: the offset, less what unsigned columns add to the product
    offsets: NDArray[Any]  # [N + padding]
    panels: NDArray[np.uint8]  # [N / PANEL, K / 4, PANEL, 4]: the codes as columns
    limits: NDArray[Any]  # [N + padding]: a pair with a smaller sum cannot enter the list
    floors: NDArray[np.uint64]  # [N]: a key must be larger to enter
    counts: NDArray[np.int32]  # [N]
    keys: NDArray[np.uint64]  # [N, room], the first `counts` of each row in no order
    depth: int  # songs in a finished list


FINITE = np.finfo(np.float64).max
LEAST_ROOM = 32  # least room for candidates beyond the length of a finished list


def room(n_songs: int, n: int) -> NDArray[np.uint64]:
    """Return memory for the lists of some songs."""
    return np.empty((n_songs, n + max(LEAST_ROOM, n // 2) if n else 0), np.uint64)


READ_ONLY = ("vectors", "inverse_norms", "songs", "codes", "starts", "offsets", "panels")


def as_read(lists: CandidateLists) -> CandidateLists:
    """Return the lists with read-only arrays, as in shared memory, so that numba compiles each kernel only once."""
    read_only = {name: getattr(lists, name).view() for name in READ_ONLY}
    for array in read_only.values():
        array.flags.writeable = False
    return lists._replace(**read_only)


def closed(lists: CandidateLists) -> CandidateLists:
    """Return the same songs with lists that take no candidate."""
    n_songs = len(lists.songs)
    return lists._replace(
        limits=np.full(len(lists.offsets), MOST, lists.offsets.dtype),
        floors=np.full(n_songs, CLOSED, np.uint64),
        counts=np.zeros(n_songs, np.int32),
        keys=room(n_songs, 0),
    )


# --- lists ------------------------------------------------------------------------------------------------------------


@kernel
def keep_best(scale, lists, i):
    """Cut a list down to its best n candidates; from then on only better ones enter it."""
    n, count = lists.depth, lists.counts[i]
    if count < n:
        return
    worst = _move_largest_first(lists.keys[i], n, count)
    lists.counts[i] = n
    if worst > lists.floors[i]:
        lists.floors[i] = worst
        lists.limits[i] = limit_of(scale, worst, lists.inverse_norms[i])


@inlined_kernel
def _move_largest_first(keys, n, count):
    """Order keys[:count], all different, so that the n largest come first; return the smallest of these.

    This is Lomuto's selection. Every step swaps, so no branch can be mispredicted.
    """
    first, last = 0, count - 1
    while first < last:
        a, b, c = keys[first], keys[(first + last) // 2], keys[last]
        pivot = max(min(a, b), min(max(a, b), c))
        larger = first
        for i in range(first, last + 1):
            key = keys[i]
            keys[i] = keys[larger]
            keys[larger] = key
            larger += key > pivot
        if larger >= n:
            last = larger - 1
        elif larger == n - 1:
            first = last = larger
            for i in range(larger, count):  # the pivot itself
                if keys[i] == pivot:
                    keys[i], keys[larger] = keys[larger], keys[i]
                    break
        else:
            first = larger
    return keys[n - 1]


@kernel
def largest_magnitude(vectors):
    """Return the largest magnitude in a matrix; infinite if any value is not finite."""
    largest, n_finite = 0.0, 0
    for i in range(vectors.shape[0]):
        of_row = vectors[i, 0] * 0
        for q in range(vectors.shape[1]):
            magnitude = abs(vectors[i, q])
            n_finite += magnitude <= FINITE
            of_row = magnitude if magnitude > of_row else of_row
        largest = max(largest, float(of_row))
    return largest if n_finite == vectors.size else np.inf


@kernel
def inverse_norms(vectors, inverse):
    """Write one over the length of each vector; zero for a zero vector."""
    width = vectors.shape[1]
    for i in range(vectors.shape[0]):
        total = spread(0.0)
        for at in range(0, width, LANES):
            x = as_in(inverse, load_at(vectors, i * width + at))
            total += x * x
        square = lane_sum(total)
        inverse[i] = 1.0 / np.sqrt(square) if square > 0.0 else 0.0


@kernel
def set_limits(scale, lists):
    """Bring the limits of the screen in line with the floors of the lists."""
    for i in range(lists.floors.size):
        floor = lists.floors[i]
        lists.limits[i] = limit_of(scale, floor, lists.inverse_norms[i]) if floor else NO_LIMIT


@kernel
def tighten(scale, lists):
    """Cut every list down to its best candidates."""
    for i in range(lists.counts.size):
        keep_best(scale, lists, i)


@kernel
def put_in_order(scale, lists):
    """Sort every list, best first, cut it to its depth, and set the floor of a full list just below its worst song."""
    for i in range(lists.counts.size):
        if lists.counts[i] > lists.depth:
            keep_best(scale, lists, i)
        count = lists.counts[i]
        ordered = np.sort(lists.keys[i, :count])
        for rank in range(count):
            lists.keys[i, rank] = ordered[count - 1 - rank]
        if count == lists.depth and count > 0:
            lists.floors[i] = lists.keys[i, count - 1] - np.uint64(1)


def set_floors(lists: CandidateLists) -> None:
    """Set the floor of each sorted list just below its worst song; a list that is not full takes any candidate."""
    lists.floors[:] = np.where(lists.songs < 0, CLOSED, np.uint64(0))
    if lists.depth:
        full = np.flatnonzero(lists.counts == lists.depth)
        lists.floors[full] = lists.keys[full, lists.depth - 1] - np.uint64(1)


@kernel
def read_out(lists, songs, scores):
    """Write sorted lists into the rows of their songs: song numbers int32 and scores float32.

    Where a list ends early, -1 and -inf are written.
    """
    for i in range(lists.counts.size):
        _read_out(lists, i, songs, scores)


@kernel
def read_out_some(lists, which, songs, scores):
    """Write some sorted lists, as :func:`read_out` does."""
    for i in which:
        _read_out(lists, i, songs, scores)


@inlined_kernel
def _read_out(lists, i, songs, scores):
    if lists.songs[i] >= 0:
        keys, of_songs, of_scores = lists.keys[i], songs[lists.songs[i]], scores[lists.songs[i]]
        count = min(songs.shape[1], lists.counts[i])
        for rank in range(count):  # no branch, so that it is vectorised
            of_songs[rank] = song_of(keys[rank])
            of_scores[rank] = score_of(keys[rank])
        of_songs[count:], of_scores[count:] = -1, -np.inf


@kernel
def read_scores(keys, scores):
    """Write the scores in keys, minus infinity for no key."""
    for i in range(keys.size):
        scores[i] = score_of(keys[i]) if keys[i] else -np.inf


@kernel
def offer(scale, lists, rows, found):
    """Offer to the lists in some rows what other lists hold."""
    for k in range(rows.size):
        i = rows[k]
        for rank in range(found.counts[k]):
            key = found.keys[k, rank]
            if key > lists.floors[i]:
                lists.keys[i, lists.counts[i]] = key
                lists.counts[i] += 1
                if lists.counts[i] == lists.keys.shape[1]:
                    keep_best(scale, lists, i)


@kernel
def renumber(lists, row_of, bound_of):
    """Give the songs in lists new numbers, in the same order, and remove those that have none.

    `row_of` int32 [songs before] holds the new numbers, -1 for songs to remove; `bound_of` int32 [songs before + 1]
    those for floors, in which a number is only a bound on song numbers.
    """
    for i in range(lists.counts.size):
        keys, count, n_gone = lists.keys[i], lists.counts[i], 0
        for rank in range(count):  # no branch, so that it is vectorised
            key = keys[rank]
            row = row_of[LOW - (key & LOW)]
            keys[rank] = (key & ~LOW) | (LOW - np.uint64(row)) if row >= 0 else GONE
            n_gone += row < 0
        if n_gone:
            kept = 0
            for rank in range(count):
                key = keys[rank]
                keys[kept] = key
                kept += key != GONE
            lists.counts[i] = kept
        floor = lists.floors[i]
        if 0 < floor < ~np.uint64(0):
            lists.floors[i] = (floor & ~LOW) | (LOW - np.uint64(bound_of[song_of(floor)]))


@kernel
def put_in_order_again(lists, counts, floors, songs, scores):
    """Sort lists as :func:`put_in_order` does, where most are sorted or nearly so; write them as :func:`read_out` does.

    `counts` and `floors` are those of the lists when they were sorted. A list with the same count and floor stays as it
    is; one with the same floor has only got new candidates at its end.
    """
    for i in range(lists.counts.size):  # once, as reading all lists from memory takes longer than both
        is_as_it_was = lists.floors[i] == floors[i]
        if not is_as_it_was or lists.counts[i] != counts[i]:
            _sort_again(lists, i, max(1, counts[i]) if is_as_it_was else 1)
        _read_out(lists, i, songs, scores)


@inlined_kernel
def _sort_again(lists, i, n_sorted):
    """Sort a list of which the first `n_sorted` are sorted (insertion sort), and cut it to its depth."""
    keys, count = lists.keys[i], lists.counts[i]
    for new in range(n_sorted, count):
        key, at = keys[new], new
        while at > 0 and keys[at - 1] < key:
            keys[at] = keys[at - 1]
            at -= 1
        keys[at] = key
    lists.counts[i] = min(count, lists.depth)
    if count >= lists.depth > 0:
        lists.floors[i] = max(lists.floors[i], keys[lists.depth - 1] - np.uint64(1))


@kernel
def differ(vectors, others, places, rows, is_changed):
    """Mark which of some rows of `vectors` differ from the rows at their places in `others`."""
    for k in range(rows.size):
        i, place, n_different = rows[k], places[rows[k]], 0
        for q in range(vectors.shape[1]):
            n_different += vectors[i, q] != others[place, q]
        is_changed[k] = n_different > 0
