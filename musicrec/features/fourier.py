"""Fourier transform of sixteen frames at a time, one in each lane.

A real frame of n samples is transformed as n / 2 complex numbers (sample 2i, sample 2i + 1) by Stockham's radix-4
algorithm, which needs no reordering (C. Van Loan, "Computational frameworks for the fast Fourier transform", 1992).
A complex vector is two neighbouring vectors of an array in lanes: 2i the real, 2i + 1 the imaginary part.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.signal import get_window

from musicrec.errors import ConfigError
from musicrec.simd.lanes import LANES, as_in, kernel, load, load_at, store, store_at, transpose
from musicrec.simd.memory import empty


class Plan(NamedTuple):
    """What transforms of one length and precision need; the last three are scratch, reused for each block."""

    window: NDArray[np.floating]  # [n_fft]
    roots: NDArray[np.floating]  # [n_fft, 2]: exp(-2πi k / n_fft) of the even k, then of the first half of all k
    points: NDArray[np.floating]  # [n_fft, LANES]
    other_points: NDArray[np.floating]
    tile: NDArray[np.float32]  # [LANES, LANES]


def plan(window: NDArray[np.float64], dtype: DTypeLike) -> Plan:
    """Prepare transforms of frames under a window.

    Raises
    ------
    ConfigError
        The length of the window is not a power of two, or is below 32.
    """
    n_fft = len(window)
    if n_fft < 2 * LANES or n_fft & (n_fft - 1):
        raise ConfigError(f"n_fft {n_fft}: expected a power of two, at least {2 * LANES} samples")
    points, other_points = empty(n_fft, LANES, dtype=dtype), empty(n_fft, LANES, dtype=dtype)
    return Plan(window.astype(dtype), _roots(n_fft).astype(dtype), points, other_points, empty(LANES, LANES))


@lru_cache(maxsize=8)
def hann(n: int) -> NDArray[np.float64]:
    """Return the periodic Hann window, librosa's default."""
    window: NDArray[np.float64] = get_window("hann", n, fftbins=True)
    return window


def inverse_window(window: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the window for frames that come back from :func:`set_bins`: scaled, and odd samples with their sign."""
    return window / (len(window) // 2) * np.resize([1, -1], len(window))


@lru_cache(maxsize=8)
def _roots(n_fft: int) -> NDArray[np.float64]:
    k = np.arange(n_fft // 2)
    return np.exp(-2j * np.pi / n_fft * np.concatenate([2 * k, k])).view(np.float64).reshape(-1, 2)


@kernel
def take_frames(y, start, hop_length, plan):
    """Write sixteen frames of float32 samples, the first from `start` on, times the window to ``plan.points``."""
    for i in range(0, len(plan.window), LANES):
        transpose(y, start + i, hop_length, plan.tile, 0, LANES)
        for j in range(LANES):
            store(plan.points, i + j, as_in(plan.points, load(plan.tile, j)) * plan.window[i + j])


@kernel
def add_frames(points, window, tile, sums, start, hop_length, n_frames):
    """Add up to sixteen frames, times a window, to the samples they came from, the first from `start` on."""
    for i in range(0, len(window), LANES):
        for j in range(LANES):
            store(tile, j, load(points, i + j) * window[i + j])
        transpose(tile, 0, LANES, tile, 0, LANES)
        for frame in range(min(LANES, n_frames)):
            at = start + frame * hop_length + i
            store_at(sums, at, load_at(sums, at) + load(tile, frame))


@kernel
def transform(x, y, roots):
    """Transform the n / 2 complex numbers in `x`, with `y` as scratch; return the array of the result, then the other.

    Afterwards :func:`bins` gives the spectrum of the n real samples.
    """
    length, stride = len(roots) // 2, 1
    while length >= 4:
        _radix_4(x, y, length // 4, stride, roots)
        x, y = y, x
        length, stride = length // 4, stride * 4
    if length == 2:
        _radix_2(x, y, stride)
        x, y = y, x
    return x, y


@kernel
def _radix_4(x, y, quarter, stride, roots):
    apart = 2 * stride * quarter
    for p in range(quarter):
        root_re, root_im = roots[p * stride]
        square_re, square_im = roots[2 * p * stride]
        cube_re, cube_im = roots[3 * p * stride]
        for q in range(stride):
            i, o = 2 * (q + stride * p), 2 * (q + stride * 4 * p)
            a_re, a_im = load(x, i), load(x, i + 1)
            b_re, b_im = load(x, i + apart), load(x, i + apart + 1)
            c_re, c_im = load(x, i + 2 * apart), load(x, i + 2 * apart + 1)
            d_re, d_im = load(x, i + 3 * apart), load(x, i + 3 * apart + 1)
            even_re, even_im, over_re, over_im = a_re + c_re, a_im + c_im, a_re - c_re, a_im - c_im
            odd_re, odd_im, turn_re, turn_im = b_re + d_re, b_im + d_im, b_im - d_im, d_re - b_re
            store(y, o, even_re + odd_re)
            store(y, o + 1, even_im + odd_im)
            re, im = over_re + turn_re, over_im + turn_im
            store(y, o + 2 * stride, re * root_re - im * root_im)
            store(y, o + 2 * stride + 1, re * root_im + im * root_re)
            re, im = even_re - odd_re, even_im - odd_im
            store(y, o + 4 * stride, re * square_re - im * square_im)
            store(y, o + 4 * stride + 1, re * square_im + im * square_re)
            re, im = over_re - turn_re, over_im - turn_im
            store(y, o + 6 * stride, re * cube_re - im * cube_im)
            store(y, o + 6 * stride + 1, re * cube_im + im * cube_re)


@kernel
def _radix_2(x, y, stride):
    for i in range(2 * stride):
        a, b = load(x, i), load(x, i + 2 * stride)
        store(y, i, a + b)
        store(y, i + 2 * stride, a - b)


@kernel
def bins(points, roots, k):
    """Return bins k and n / 2 - k of sixteen real frames of n samples, 1 ≤ k ≤ n / 4, as lanes re, im, re, im."""
    half = len(roots) // 2
    root_re, root_im = roots[half + k]
    a_re, a_im = load(points, 2 * k), load(points, 2 * k + 1)
    b_re, b_im = load(points, 2 * (half - k)), load(points, 2 * (half - k) + 1)
    even_re, even_im, odd_re, odd_im = (
        (a_re + b_re) * 0.5,
        (a_im - b_im) * 0.5,
        (a_im + b_im) * 0.5,
        (b_re - a_re) * 0.5,
    )
    turned_re, turned_im = odd_re * root_re - odd_im * root_im, odd_re * root_im + odd_im * root_re
    return even_re + turned_re, even_im + turned_im, even_re - turned_re, turned_im - even_im


@kernel
def set_bins(points, roots, k, a_re, a_im, b_re, b_im):
    """Write conjugate bins back in the place of the numbers they came from, for the inverse transform.

    ``transform`` then gives n / 2 times the conjugate of the samples in pairs: the odd ones have the opposite sign.
    """
    half = len(roots) // 2
    root_re, root_im = roots[half + k]
    even_re, even_im, turned_re, turned_im = (
        (a_re + b_re) * 0.5,
        (a_im - b_im) * 0.5,
        (a_re - b_re) * 0.5,
        (a_im + b_im) * 0.5,
    )
    odd_re, odd_im = turned_re * root_re + turned_im * root_im, turned_im * root_re - turned_re * root_im
    store(points, 2 * k, even_re - odd_im)
    store(points, 2 * k + 1, -1.0 * (even_im + odd_re))
    store(points, 2 * (half - k), even_re + odd_im)
    store(points, 2 * (half - k) + 1, even_im - odd_re)
