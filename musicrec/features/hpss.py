"""Harmonic part of the samples, as in librosa's ``hpss`` (D. Fitzgerald, "Harmonic/percussive separation", DAFx 2010).

A bin is harmonic as far as its median over time outweighs its median over frequency (soft masks, power 2).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from musicrec.features import fourier
from musicrec.features.median import group_of_medians
from musicrec.simd.lanes import LANES, kernel, load, load_at, store, store_at, transpose
from musicrec.simd.memory import empty

Array = NDArray[np.float32]

WINDOW = 31  # length of the medians, in frames and in bins
MARGIN = WINDOW // 2
EVEN_SPLIT = np.float32(1e-30)  # splits evenly what has neither part

_medians = group_of_medians(WINDOW)


def harmonic(padded: Array, n_samples: int, magnitude: Array, n_fft: int, hop_length: int) -> Array:
    """Return the harmonic part of a clip; the rest is the percussive one, because the two masks add up to one.

    Parameters
    ----------
    padded : numpy.ndarray
        float32: the clip between zeros, n_fft / 2 before it and room for the last block of frames after it.
    n_samples : int
        Length of the clip.
    magnitude : numpy.ndarray
        float32 [n_blocks, n_fft / 2 + 1, LANES], the spectrum's absolute value, in lanes.
    n_fft, hop_length : int
        Samples of a frame, and between frames; `n_fft` is a multiple of `hop_length`.

    Returns
    -------
    numpy.ndarray
        float32 [n_samples].
    """
    n_frames = 1 + n_samples // hop_length
    hann = fourier.hann(n_fft)
    plan, window = fourier.plan(hann, np.float32), fourier.inverse_window(hann).astype(np.float32)
    n_blocks, n_bins, _ = magnitude.shape
    frames = empty(n_blocks * LANES + 2 * MARGIN, -(-n_bins // LANES) * LANES)
    sums = empty((n_frames - 1) * hop_length + n_fft)
    sums[:] = 0
    _mirrored_frames(magnitude, n_frames, frames)
    _add_harmonic_frames(padded, n_frames, hop_length, magnitude, frames, plan, window, sums)
    inside = slice(n_fft // 2, n_fft // 2 + n_samples)
    part: Array = sums[inside]
    part *= _inverse_window_sum(n_frames, n_fft, hop_length)[inside]
    return part


@lru_cache(maxsize=2)  # each is as long as a clip
def _inverse_window_sum(n_frames: int, n_fft: int, hop_length: int) -> Array:
    """Return one over the sum of the squared windows at each sample; one where no window reaches."""
    squares = fourier.hann(n_fft).reshape(-1, hop_length) ** 2
    total = np.zeros((n_frames + len(squares) - 1, hop_length))
    for hop, square in enumerate(squares):
        total[hop : hop + n_frames] += square
    reached = total > np.finfo(np.float32).tiny
    return np.divide(1, total, out=np.ones_like(total), where=reached).astype(np.float32).ravel()


@kernel
def _add_harmonic_frames(y, n_frames, hop_length, magnitude, frames, plan, window, sums):
    n_blocks, n_rows = len(magnitude), frames.shape[1]
    column = np.zeros((n_rows + 2 * MARGIN, LANES), np.float32)
    steady, broad = np.empty((n_rows, LANES), np.float32), np.empty((n_rows, LANES), np.float32)
    for block in range(n_blocks):
        _mirror_bins(magnitude, block, column)
        for k in range(0, n_rows, LANES):
            _medians(column, k * LANES, LANES, broad, k * LANES, LANES)
        for k in range(0, n_rows, LANES):
            _medians(frames, block * LANES * n_rows + k, n_rows, plan.tile, 0, LANES)
            transpose(plan.tile, 0, LANES, steady, k * LANES, LANES)
        fourier.take_frames(y, block * LANES * hop_length, hop_length, plan)
        points, other_points = fourier.transform(plan.points, plan.other_points, plan.roots)
        _mask(points, plan.roots, steady, broad)
        points, _ = fourier.transform(points, other_points, plan.roots)
        first, inside = block * LANES * hop_length, n_frames - block * LANES
        fourier.add_frames(points, window, plan.tile, sums, first, hop_length, inside)


@kernel
def _mirrored_frames(magnitude, n_frames, frames):
    """Write the magnitude with the bins of each frame side by side, extended by reflection in time, [.., n_rows]."""
    n_blocks, n_bins, _ = magnitude.shape
    n_rows = frames.shape[1]
    column = np.zeros((n_rows, LANES), np.float32)
    for block in range(n_blocks):
        for k in range(n_bins):
            store(column, k, load(magnitude, block * n_bins + k))
        for k in range(0, n_rows, LANES):
            transpose(column, k * LANES, LANES, frames, (MARGIN + block * LANES) * n_rows + k, n_rows)
    for row in range(len(frames)):
        source = MARGIN + _mirrored(row - MARGIN, n_frames)
        if source != row:
            for k in range(0, n_rows, LANES):
                store_at(frames, row * n_rows + k, load_at(frames, source * n_rows + k))


@kernel
def _mirror_bins(magnitude, block, column):
    """Write the bins of one block, extended by reflection at both ends."""
    n_bins = magnitude.shape[1]
    for row in range(n_bins + 2 * MARGIN):
        store(column, row, load(magnitude, block * n_bins + _mirrored(row - MARGIN, n_bins)))


@kernel
def _mirrored(i, n):
    """Return the index of item i when n items are extended by reflection, the item at the edge included."""
    i %= 2 * n
    return min(i, 2 * n - 1 - i)


@kernel
def _mask(points, roots, steady, broad):
    """Keep the share of the spectrum that is steady, ready for the inverse transform."""
    half = len(roots) // 2
    re, im = load(points, 0), load(points, 1)
    first, last = (re + im) * _share(steady, broad, 0), (re - im) * _share(steady, broad, half)
    store(points, 0, (first + last) * 0.5)
    store(points, 1, (last - first) * 0.5)
    for k in range(1, half // 2 + 1):
        a_re, a_im, b_re, b_im = fourier.bins(points, roots, k)
        a, b = _share(steady, broad, k), _share(steady, broad, half - k)
        fourier.set_bins(points, roots, k, a_re * a, a_im * a, b_re * b, b_im * b)


@kernel
def _share(steady, broad, k):
    a, b = load(steady, k), load(broad, k)
    a, b = a * a + EVEN_SPLIT, b * b + EVEN_SPLIT
    return a / (a + b)
