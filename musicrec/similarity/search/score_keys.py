"""Keys of candidates, which sort as finished lists do, and what the limits of a screen must be for them.

A key is an unsigned integer: higher score first, then smaller song number.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from musicrec.simd.lanes import inlined_kernel, kernel

COSINE, EUCLIDEAN, INNER = range(3)
NO_LIMIT = -(2**28)  # a list with this limit takes anything; sums of real songs lie above it, those of padding below
CLOSED = ~np.uint64(0)  # a list with this floor takes no candidate
MOST = 2**27  # no limit and no sum of real songs is larger
SCORE_ROUNDING = 3e-7  # relative: pairs of equal float32 score differ by no more, also in half the squared distance
LARGEST_SCORE, SMALLEST_SCORE = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_subnormal)


class ScoreScale(NamedTuple):
    """How pairs are scored, and how a score translates into the units of the screen's sums."""

    metric: int
    unit: float  # the vectors were divided by it
    shift: float  # part of a similarity that the screen's sums leave out; the same for all pairs
    step: float  # similarity that one unit of the screen's sums stands for
    slack: float  # allowance for float32 rounding


# --- keys -------------------------------------------------------------------------------------------------------------

SIGN, LOW, HALF = np.uint64(0x80000000), np.uint64(0xFFFFFFFF), np.uint64(32)
GONE = np.uint64(0)  # no song has this key


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
    """Return the key of a candidate: larger for a higher score, and among equals for a smaller song number."""
    bits = _bits(np.float32(score))
    if bits == SIGN:
        bits = np.uint64(0)  # 0, not -0
    ordered = bits ^ LOW if bits & SIGN else bits | SIGN
    return (ordered << HALF) | (LOW - np.uint64(song))


@inlined_kernel
def song_of(key):
    """Return the song number in a key."""
    return np.int64(LOW - (key & LOW))


@inlined_kernel
def score_of(key):
    """Return the score in a key, float32."""
    ordered = key >> HALF
    return _float(ordered ^ SIGN if ordered & SIGN else ordered ^ LOW)


# --- scores -----------------------------------------------------------------------------------------------------------


@inlined_kernel
def limit_of(scale, key, factor):
    """Return a lower bound on the screen's sum of any pair whose key is larger; its codes have this factor."""
    return _sum_of(scale, least_similarity(scale, key, factor))


@inlined_kernel
def least_similarity(scale, key, factor):
    """Return a lower bound on the similarity of any pair whose key is larger; infinite for a list that is closed.

    A similarity is a score before its units, roots and factors: a cosine, an inner product times the factor of the
    list, or minus half the squared distance.
    """
    if key == CLOSED:
        return np.inf
    if key == 0:
        return -np.inf
    s = np.float64(score_of(key))
    if scale.metric == EUCLIDEAN:
        s = -0.5 * (s / scale.unit) ** 2
    elif scale.metric == INNER:
        s = s / scale.unit / scale.unit * factor
    return _least(scale, s, factor)


@inlined_kernel
def _least(scale, similarity, factor):
    """Return a lower bound on the similarity of any pair at least as similar, even if only after float32 rounding.

    Scores beyond the range of float32 are infinite, and ties; near its smallest number, they are rounded to that.
    """
    s, worst = similarity, -np.inf
    if scale.metric == EUCLIDEAN:
        worst = -0.5 * (LARGEST_SCORE / scale.unit) ** 2
        s = -0.5 * (np.sqrt(max(0.0, -2.0 * s)) + SMALLEST_SCORE / scale.unit) ** 2
    elif scale.metric == INNER:
        worst = -LARGEST_SCORE / scale.unit / scale.unit * factor
        s = min(s, -worst) - SMALLEST_SCORE / scale.unit / scale.unit * factor
    return s - SCORE_ROUNDING * abs(s) if s > worst else -np.inf


@inlined_kernel
def _sum_of(scale, least):
    """Return a lower bound on the screen's sum of any pair that is at least so similar."""
    in_steps = np.floor((least - scale.slack - scale.shift) / scale.step) - 1
    return min(np.float64(MOST), max(-np.float64(MOST), in_steps))


@kernel
def least_sums(scale, similarities, factors, sums):
    """Write a lower bound on the screen's sum of any pair at least as similar, for lists whose codes have factors."""
    for i in range(similarities.size):
        sums[i] = _sum_of(scale, _least(scale, similarities[i], factors[i]))


@kernel
def least_similarities(scale, floors, factors, similarities):
    """Write a lower bound on the similarity of any pair that may enter lists with these floors."""
    for i in range(floors.size):
        similarities[i] = least_similarity(scale, floors[i], factors[i])
