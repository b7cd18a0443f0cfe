"""Short-time Fourier transform and its inverse, a few frames at a time so that they stay in the cache.

Frames are centred, padded by zeros and weighted by a periodic Hann window, as in librosa.
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import scipy.fft
import scipy.signal
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float32]
Spectrum = NDArray[np.complex64]

FRAMES_AT_ONCE = 32


def stft(y: Array, n_fft: int, hop_length: int) -> tuple[Spectrum, Array]:
    """Spectrum of each frame and its magnitude.

    The transform runs in float64: beside a pure tone, the rounding error of float32 would be louder than all the other
    bins together.

    Parameters
    ----------
    y : numpy.ndarray
        float32 [n_samples].
    n_fft, hop_length : int
        Samples of a frame, samples between frames.

    Returns
    -------
    spectrum : numpy.ndarray
        complex64 [n_frames, n_fft // 2 + 1], n_frames = 1 + n_samples // hop_length.
    magnitude : numpy.ndarray
        float32, its absolute value.
    """
    frames = sliding_window_view(np.pad(y, n_fft // 2), n_fft)[::hop_length]
    window = _hann(n_fft, np.float64)
    spectrum = np.empty((len(frames), n_fft // 2 + 1), np.complex64)
    magnitude = np.empty(spectrum.shape, np.float32)
    for i in range(0, len(frames), FRAMES_AT_ONCE):
        block = slice(i, i + FRAMES_AT_ONCE)
        spectrum[block] = scipy.fft.rfft(frames[block] * window, axis=1)
        np.abs(spectrum[block], out=magnitude[block])
    return spectrum, magnitude


def istft(blocks: Iterable[Spectrum], n_samples: int, n_fft: int, hop_length: int) -> Array:
    """Samples, float32 [n_samples], whose spectrum is nearest to the one given.

    Parameters
    ----------
    blocks : iterable of numpy.ndarray
        The spectrum, complex64 [n_frames, n_fft // 2 + 1], some frames at a time.
    n_samples : int
        Of the signal.
    n_fft, hop_length : int
        As for :func:`stft`; `n_fft` is a multiple of `hop_length`.
    """
    n_frames, hops = 1 + n_samples // hop_length, n_fft // hop_length
    window = _hann(n_fft, np.float32)
    sums = np.zeros((n_frames + hops - 1, hop_length), np.float32)
    at = 0
    for block in blocks:
        frames = scipy.fft.irfft(block, n=n_fft, axis=1) * window
        for hop in range(hops):
            sums[at + hop : at + hop + len(frames)] += frames[:, hop * hop_length : (hop + 1) * hop_length]
        at += len(frames)
    sums *= _inverse_window_sum(n_frames, n_fft, hop_length)
    return sums.ravel()[n_fft // 2 :][:n_samples]


@lru_cache(maxsize=8)
def _hann(n_fft: int, precision: type[np.floating]) -> NDArray[np.floating]:
    window: NDArray[np.floating] = scipy.signal.get_window("hann", n_fft, fftbins=True).astype(precision)
    return window


@lru_cache(maxsize=8)
def _inverse_window_sum(n_frames: int, n_fft: int, hop_length: int) -> Array:
    """One over the sum of the squared windows at each sample, as [n_hops, hop_length]; one where no window reaches."""
    squares = _hann(n_fft, np.float32).reshape(-1, hop_length) ** 2
    total = np.zeros((n_frames + len(squares) - 1, hop_length), np.float32)
    for hop, square in enumerate(squares):
        total[hop : hop + n_frames] += square
    return np.divide(1, total, out=np.ones_like(total), where=total > np.finfo(np.float32).tiny)
