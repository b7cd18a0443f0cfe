"""The lists in the making.

A list holds keys, in no order, and more than it will hold in the end: when its room is full, the best stay. A key is
one unsigned integer that orders as lists do: the higher score, then the smaller song number. So a list does not depend
on the order in which its candidates came.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from musicrec.simd.lanes import LANES, as_in, inlined_kernel, kernel, lane_sum, load_at, spread

COSINE, EUCLIDEAN, INNER = range(3)
NO_LIMIT = -(2**28)  # of a list that takes anything; sums of real songs lie above it, those of padding below
CLOSED = ~np.uint64(0)  # floor of a list that takes nothing
MOST = 2**27  # no limit and no sum of real songs is larger
SCORE_ROUNDING = 3e-7  # relative: pairs of one float32 score differ by so much at most, half a distance squared as well


class Rule(NamedTuple):
    """How pairs are scored, and how a score translates into the units of the screen."""

    metric: int
    unit: float  # the vectors were divided by it
    shift: float  # what sums of the screen leave out of a similarity, the same for all pairs
    step: float  # what one of the screen's sums stands for
    slack: float  # rounding of float32


class Side(NamedTuple):
    """Songs that meet others, and their lists."""

    vectors: NDArray[Any]  # [N, d], d a multiple of LANES
    inverse_norms: NDArray[np.float64]  # [N]
    songs: NDArray[np.int64]  # [N]: the number by which lists name each
    codes: NDArray[Any]  # [N + padding, K]
    starts: NDArray[Any]  # [N + padding]: the offset, less what unsigned columns add to the product
    offsets: NDArray[Any]  # [N + padding]
    panels: NDArray[np.uint8]  # [N / PANEL, K / 4, PANEL, 4]: the codes as columns
    limits: NDArray[Any]  # [N + padding]: sums below it are of no use to the list
    floors: NDArray[np.uint64]  # [N]: a key must be larger to enter
    counts: NDArray[np.int32]  # [N]
    keys: NDArray[np.uint64]  # [N, room], the first `counts` of each row in no order
    n: int  # songs that a list is to hold in the end


FINITE = np.finfo(np.float64).max
LEAST_ROOM = 32  # for candidates beyond those that a list will hold


def room(n_songs: int, n: int) -> NDArray[np.uint64]:
    """Memory for the lists of some songs."""
    return np.empty((n_songs, n + max(LEAST_ROOM, n // 2) if n else 0), np.uint64)


READ_ONLY = ("vectors", "inverse_norms", "songs", "codes", "starts", "offsets", "panels")


def as_read(side: Side) -> Side:
    """The side as meetings see it: one kind of arrays for numba, whether they lie in shared memory or not."""
    read_only = {name: getattr(side, name).view() for name in READ_ONLY}
    for array in read_only.values():
        array.flags.writeable = False
    return side._replace(**read_only)


def closed(side: Side) -> Side:
    """The side with lists that take nothing."""
    n_songs = len(side.songs)
    return side._replace(
        limits=np.full(len(side.offsets), MOST, side.offsets.dtype),
        floors=np.full(n_songs, CLOSED, np.uint64),
        counts=np.zeros(n_songs, np.int32),
        keys=room(n_songs, 0),
    )


# --- keys -------------------------------------------------------------------------------------------------------------

SIGN, LOW, HALF = np.uint64(0x80000000), np.uint64(0xFFFFFFFF), np.uint64(32)
GONE = np.uint64(0)  # no song's key


@intrinsic
def _bits(typing, x):
    """``_bits(x)``: the bits of a float32, as uint64."""

    def generate(context, builder, signature, arguments):
        return builder.zext(builder.bitcast(arguments[0], ir.IntType(32)), ir.IntType(64))

    return types.uint64(types.float32), generate


@intrinsic
def _float(typing, bits):
    """``_float(bits)``: the float32 of some bits, given as uint64."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(builder.trunc(arguments[0], ir.IntType(32)), ir.FloatType())

    return types.float32(types.uint64), generate


@inlined_kernel
def key_of(score, song):
    """Key of a candidate: larger for a higher score, and among equals for a smaller song number."""
    bits = _bits(np.float32(score))
    if bits == SIGN:
        bits = np.uint64(0)  # 0, not -0
    ordered = bits ^ LOW if bits & SIGN else bits | SIGN
    return (ordered << HALF) | (LOW - np.uint64(song))


@inlined_kernel
def song_of(key):
    """Song number in a key."""
    return np.int64(LOW - (key & LOW))


@inlined_kernel
def score_of(key):
    """Score in a key, float32."""
    ordered = key >> HALF
    return _float(ordered ^ SIGN if ordered & SIGN else ordered ^ LOW)


# --- scores -----------------------------------------------------------------------------------------------------------


@inlined_kernel
def _limit(rule, key):
    """What the screen's sum reaches for any pair whose key is larger."""
    s = np.float64(score_of(key))
    if rule.metric == EUCLIDEAN:
        s = -0.5 * (s / rule.unit) ** 2
    elif rule.metric == INNER:
        s /= rule.unit * rule.unit
    return least_sum(rule, s)


@inlined_kernel
def least_sum(rule, similarity):
    """What the screen's sum reaches for any pair that is as similar, also if it only looks so as a float32 score."""
    s = similarity - (rule.slack + SCORE_ROUNDING * np.abs(similarity) + rule.shift)
    return np.minimum(np.float64(MOST), np.maximum(-np.float64(MOST), np.floor(s / rule.step) - 1))


# --- lists ------------------------------------------------------------------------------------------------------------


@kernel
def keep_best(rule, side, i):
    """Cut a list down to its best n candidates; from then on only better ones enter it."""
    n, count = side.n, side.counts[i]
    if count < n:
        return
    worst = _move_largest_first(side.keys[i], n, count)
    side.counts[i] = n
    if worst > side.floors[i]:
        side.floors[i] = worst
        side.limits[i] = _limit(rule, worst)


@inlined_kernel
def _move_largest_first(keys, n, count):
    """Order keys[:count], all different, so that the n largest come first; return the smallest of these.

    Lomuto's selection, where every step swaps: no branch is there to be mispredicted.
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
    """Largest magnitude in a matrix; infinite if there is one that is not finite."""
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
    """One over the length of each vector; zero for a zero vector."""
    width = vectors.shape[1]
    for i in range(vectors.shape[0]):
        total = spread(0.0)
        for at in range(0, width, LANES):
            x = as_in(inverse, load_at(vectors, i * width + at))
            total += x * x
        square = lane_sum(total)
        inverse[i] = 1.0 / np.sqrt(square) if square > 0.0 else 0.0


@kernel
def set_limits(rule, side):
    """Bring the limits of the screen in line with the floors of the lists."""
    for i in range(side.floors.size):
        side.limits[i] = _limit(rule, side.floors[i]) if side.floors[i] else NO_LIMIT


@kernel
def tighten(rule, side):
    """Cut every list down to its best."""
    for i in range(side.counts.size):
        keep_best(rule, side, i)


@kernel
def put_in_order(rule, side):
    """Cut every list down to its best, best first, and let its floor be just below the worst of them."""
    for i in range(side.counts.size):
        if side.counts[i] > side.n:
            keep_best(rule, side, i)
        count = side.counts[i]
        ordered = np.sort(side.keys[i, :count])
        for rank in range(count):
            side.keys[i, rank] = ordered[count - 1 - rank]
        if count == side.n and count > 0:
            side.floors[i] = side.keys[i, count - 1] - np.uint64(1)


def set_floors(side: Side) -> None:
    """Let the floor of each list, in order, be just below the worst of its songs; lists that are not full take any."""
    side.floors[:] = np.where(side.songs < 0, CLOSED, np.uint64(0))
    if side.n:
        full = np.flatnonzero(side.counts == side.n)
        side.floors[full] = side.keys[full, side.n - 1] - np.uint64(1)


@kernel
def read_out(side, songs, scores):
    """Write lists that are in order: song numbers int32 and scores float32, in the rows of their songs.

    Where a list ends early, -1 and -inf are written.
    """
    n = songs.shape[1]
    for i in range(side.counts.size):
        if side.songs[i] < 0:
            continue
        keys, of_songs, of_scores = side.keys[i], songs[side.songs[i]], scores[side.songs[i]]
        count = min(n, side.counts[i])
        for rank in range(count):  # without a branch: many at a time
            of_songs[rank] = song_of(keys[rank])
            of_scores[rank] = score_of(keys[rank])
        of_songs[count:], of_scores[count:] = -1, -np.inf


@kernel
def renumber(side, row_of, bound_of):
    """Name the songs of lists by other numbers, in the same order, and leave out those that have none.

    `row_of` int32 [songs before] is -1 for songs that are to be left out; `bound_of` int32 [songs before + 1] says how
    a number that only bounds others is to be read.
    """
    for i in range(side.counts.size):
        keys, count, n_gone = side.keys[i], side.counts[i], 0
        for rank in range(count):  # without a branch: many at a time
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
            side.counts[i] = kept
        floor = side.floors[i]
        if 0 < floor < ~np.uint64(0):
            side.floors[i] = (floor & ~LOW) | (LOW - np.uint64(bound_of[song_of(floor)]))


@kernel
def put_in_order_again(side, counts, floors):
    """As :func:`put_in_order`, where most lists are in order or nearly so (insertion sort).

    Those with the count and the floor that they had when they were in order are passed over, and those with the same
    floor have only candidates added at their end.
    """
    for i in range(side.counts.size):
        count, is_as_it_was = side.counts[i], side.floors[i] == floors[i]
        if is_as_it_was and count == counts[i]:
            continue
        keys = side.keys[i]
        for new in range(max(1, counts[i]) if is_as_it_was else 1, count):
            key, at = keys[new], new
            while at > 0 and keys[at - 1] < key:
                keys[at] = keys[at - 1]
                at -= 1
            keys[at] = key
        side.counts[i] = min(count, side.n)
        if count >= side.n > 0:
            side.floors[i] = max(side.floors[i], keys[side.n - 1] - np.uint64(1))


@kernel
def differ(vectors, others, places, rows, is_changed):
    """Note which of some rows of `vectors` are not, bit for bit, those in their places in `others`."""
    for k in range(rows.size):
        i, place, n_different = rows[k], places[rows[k]], 0
        for q in range(vectors.shape[1]):
            n_different += vectors[i, q] != others[place, q]
        is_changed[k] = n_different > 0
