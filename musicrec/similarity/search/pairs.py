"""Compare blocks of songs: a screen drops most pairs, and the others are scored and offered to the lists of both songs.

A pair is scored once, in float64.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from musicrec.simd.lanes import (
    LANES,
    as_in,
    bits,
    inlined_kernel,
    kernel,
    lane_sum,
    less,
    load_at,
    minimum,
    prefetch,
    spread,
)
from musicrec.similarity.search.candidates import keep_best
from musicrec.similarity.search.score_keys import COSINE, EUCLIDEAN, key_of, least_similarity
from musicrec.similarity.search.screens import (
    PANEL,
    TILE_ROWS,
    VNNI_ROWS,
    screen_amx,
    screen_vnni,
    tiles_off,
    tiles_on,
)

AHEAD = 12  # vectors are prefetched so many pairs ahead
PAIRS = 512  # scored at a time; the next screen then sees the new limits

# --- pairs ------------------------------------------------------------------------------------------------------------


@inlined_kernel
def _score(scale, total, inverse_norms):
    """Return the score from the sum of squared differences or of products, and the product of the inverse norms."""
    if scale.metric == EUCLIDEAN:
        return np.float32(-np.sqrt(total) * scale.unit)
    if scale.metric == COSINE:
        return np.float32(min(1.0, max(-1.0, total * inverse_norms)))
    return np.float32(total * scale.unit * scale.unit)  # the square of the unit may be infinite


@kernel
def score_pairs(scale, a, b, pairs, n_pairs):
    """Score pairs int32 [n_pairs, 2] of a row and a column, and offer each song of a pair to the other's list."""
    # Local names: numba counts the references to an array whenever it leaves a tuple or enters a call.
    vectors, their_vectors, width = a.vectors, b.vectors, a.vectors.shape[1]
    norms, their_norms = a.inverse_norms, b.inverse_norms
    songs, their_songs = a.songs, b.songs
    floors, their_floors = a.floors, b.floors
    counts, their_counts = a.counts, b.counts
    keys, their_keys = a.keys, b.keys
    is_distance = scale.metric == EUCLIDEAN
    for pair in range(n_pairs):
        ahead = pairs[min(pair + AHEAD, n_pairs - 1), 1]
        prefetch(their_songs, ahead)
        prefetch(their_norms, ahead)
        prefetch(their_floors, ahead)
        prefetch(their_counts, ahead)
        for at in range(0, width, LANES):
            prefetch(their_vectors, ahead * width + at)
        i, j = pairs[pair, 0], pairs[pair, 1]
        song, other = songs[i], their_songs[j]
        if song == other:
            continue
        total = spread(0.0)
        for at in range(0, width, LANES):
            x = as_in(norms, load_at(vectors, i * width + at))
            y = as_in(norms, load_at(their_vectors, j * width + at))
            total += (x - y) * (x - y) if is_distance else x * y
        score = _score(scale, lane_sum(total), norms[i] * their_norms[j])
        key = key_of(score, other)
        if key > floors[i]:
            keys[i, counts[i]] = key
            counts[i] += 1
            if counts[i] == keys.shape[1]:
                keep_best(scale, a, i)
        key = key_of(score, song)
        if key > their_floors[j]:
            their_keys[j, their_counts[j]] = key
            their_counts[j] += 1
            if their_counts[j] == their_keys.shape[1]:
                keep_best(scale, b, j)


@kernel
def _collect(pairs, n_pairs, i, first_column, mask):
    """Add the pairs of row i with the columns of a mask; return how many there are now."""
    one = np.uint64(1)
    while mask:
        pairs[n_pairs, 0], pairs[n_pairs, 1] = i, first_column + _first_bit(mask)
        n_pairs += 1
        mask &= mask - one
    return n_pairs


@intrinsic
def _first_bit(typing, mask):
    """``_first_bit(mask)``: number of the lowest bit that is set."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@inlined_kernel
def _after(i, first_column):
    """Return the mask of the columns of a panel that lie after song i of the same lists."""
    one, past = np.uint64(1), i - first_column + 1
    if past >= PANEL:
        return np.uint64(0)
    return ~np.uint64(0) if past <= 0 else ~((one << np.uint64(past)) - one)


# --- blocks -----------------------------------------------------------------------------------------------------------
# Rows `first` … `last` - 1 of `a` are compared with the panels `panel` … `end` - 1 of `b`. With `is_same`, `a` and `b`
# are the same, and each pair is compared once.


@kernel
def compare_vnni(scale, a, b, first, last, panel, end, is_same):
    """Compare rows of `a` with panels of `b` by VNNI."""
    masks, pairs, n_pairs = np.empty(VNNI_ROWS, np.uint64), np.empty((PAIRS, 2), np.int32), 0
    codes, starts, limits = a.codes, a.starts, a.limits
    panels, offsets, their_limits = b.panels, b.offsets, b.limits
    for p in range(panel, end):
        column = p * PANEL
        for i in range(first, min(last, column + PANEL - 1) if is_same else last, VNNI_ROWS):
            if screen_vnni(codes, i, panels, p, starts, limits, offsets, their_limits, masks):
                for row in range(i, min(i + VNNI_ROWS, last)):
                    mask = masks[row - i] & _after(row, column) if is_same else masks[row - i]
                    n_pairs = _collect(pairs, n_pairs, row, column, mask)
                    if n_pairs > PAIRS - PANEL:
                        score_pairs(scale, a, b, pairs, n_pairs)
                        n_pairs = 0
    score_pairs(scale, a, b, pairs, n_pairs)


@kernel
def compare_amx(scale, a, b, first, last, panel, end, is_same):
    """Compare rows of `a` with panels of `b` by AMX."""
    masks, pairs, n_pairs = np.empty(TILE_ROWS, np.uint64), np.empty((PAIRS, 2), np.int32), 0
    codes, starts, limits = a.codes, a.starts, a.limits
    panels, offsets, their_limits = b.panels, b.offsets, b.limits
    tiles_on()
    for p in range(panel, end):
        column = p * PANEL
        for i in range(first, min(last, column + PANEL - 1) if is_same else last, TILE_ROWS):
            if screen_amx(codes, i, panels, p, starts, limits, offsets, their_limits, masks):
                for row in range(i, min(i + TILE_ROWS, last)):
                    mask = masks[row - i] & _after(row, column) if is_same else masks[row - i]
                    n_pairs = _collect(pairs, n_pairs, row, column, mask)
                    if n_pairs > PAIRS - PANEL:
                        score_pairs(scale, a, b, pairs, n_pairs)
                        n_pairs = 0
    tiles_off()
    score_pairs(scale, a, b, pairs, n_pairs)


@kernel
def compare_products(scale, a, b, products, first, column, is_same):
    """Compare rows of `a` from `first` on with whole panels of `b` from `column` on, by their products.

    `products` are float32 [rows, columns].
    """
    pairs, n_pairs, width = np.empty((PAIRS, 2), np.int32), 0, products.shape[1]
    starts, limits, offsets, their_limits = a.starts, a.limits, b.offsets, b.limits
    for row in range(products.shape[0]):
        i = first + row
        for panel in range(0, width, PANEL):
            mask = np.uint64(0)
            for at in range(0, PANEL, LANES):
                total = load_at(products, row * width + panel + at) + load_at(offsets, column + panel + at)
                limit = minimum(load_at(their_limits, column + panel + at), limits[i]) - starts[i]
                passes = (1 << LANES) - 1 - bits(less(total, limit))
                mask |= np.uint64(passes) << np.uint64(at)
            if mask:
                mask &= _after(i, column + panel) if is_same else mask
                n_pairs = _collect(pairs, n_pairs, i, column + panel, mask)
                if n_pairs > PAIRS - PANEL:
                    score_pairs(scale, a, b, pairs, n_pairs)
                    n_pairs = 0
    score_pairs(scale, a, b, pairs, n_pairs)


# --- without codes ----------------------------------------------------------------------------------------------------

LOWEST = float(np.finfo(np.float32).min)  # above the minus infinity of free places


class Terms(NamedTuple):
    """Songs as plain products need them. Two are no more similar than x·y + own x + own y + slack x · length y."""

    vectors: NDArray[np.float32]  # [songs, d], about a centre
    own: NDArray[np.float32]  # [songs]; minus infinity for a free place
    lengths: NDArray[np.float32]  # [songs]
    slacks: NDArray[np.float32]  # [songs]
    limits: NDArray[np.float32]  # [songs]: a pair that is less similar cannot enter the list


@kernel
def compare_plain_products(scale, a, b, products, first, column, rows, columns):
    """Compare rows of `a` from `first` on with places of `b` from `column` on, by the products of their vectors.

    `products` are float32 [rows, columns], whole panels. `rows` has the terms of all of `a`, `columns` those of the
    columns alone.
    """
    pairs, n_pairs, width = np.empty((PAIRS, 2), np.int32), 0, products.shape[1]
    their_own, their_lengths, their_limits = columns.own, columns.lengths, columns.limits
    for row in range(products.shape[0]):
        i = first + row
        own, slack = rows.own[i], rows.slacks[i]
        limit = np.float32(max(LOWEST, least_similarity(scale, a.floors[i], a.inverse_norms[i])))
        for panel in range(0, width, PANEL):
            mask = np.uint64(0)
            for at in range(panel, panel + PANEL, LANES):
                most = load_at(products, row * width + at) + load_at(their_own, at) + load_at(their_lengths, at) * slack
                needed = minimum(load_at(their_limits, at), limit)
                passes = (1 << LANES) - 1 - bits(less(most + own, needed))
                mask |= np.uint64(passes) << np.uint64(at - panel)
            if mask:
                n_pairs = _collect(pairs, n_pairs, i, column + panel, mask)
                if n_pairs > PAIRS - PANEL:
                    score_pairs(scale, a, b, pairs, n_pairs)
                    n_pairs = 0
    score_pairs(scale, a, b, pairs, n_pairs)
