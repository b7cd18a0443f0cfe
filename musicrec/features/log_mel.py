"""The logarithmic mel-spectrograms that pretrained networks read; :mod:`musicrec.features.front_ends` describes them.

Each function takes the samples, float32 [n_samples], with the padding of its front end, and the number of frames, and
returns float32 [n_frames, n_bands].
"""

import math

import numpy as np
from numpy.typing import DTypeLike, NDArray

from musicrec.features import filter_banks, fourier, kernels
from musicrec.simd.lanes import LANES
from musicrec.simd.memory import empty

Array = NDArray[np.float32]
Bank = tuple[NDArray[np.int64], NDArray[np.int64], Array]

PER_DECADE = np.float32(1 / math.log(10))  # log10 of NumPy takes three times as long as its natural logarithm
FLOOR = np.float32(1e-10)  # power below it counts as this much


def musicnn(y: Array, n_frames: int) -> Array:
    """Transform in float32, as the floor is high. Beside a pure tone, the others would show the rounding."""
    spectrum = _magnitude(y, n_frames, 256, fourier.hann(512), np.float32)
    power = _bands(spectrum, n_frames, filter_banks.mel(16_000, 512, 96), squared=True)
    power *= 10_000
    power += 1
    return np.multiply(np.log(power, out=power), PER_DECADE, out=power)


def vggish(y: Array, n_frames: int) -> Array:
    """Take the logarithm above 0.01."""
    return _of_audioset(y, n_frames, 0.01)


def yamnet(y: Array, n_frames: int) -> Array:
    """Take the logarithm above 0.001."""
    return _of_audioset(y, n_frames, 0.001)


def _of_audioset(y: Array, n_frames: int, offset: float) -> Array:
    window = np.pad(fourier.hann(400), (0, 112))
    spectrum = _magnitude(y, n_frames, 160, window, np.float64)
    level = _bands(spectrum, n_frames, filter_banks.htk_mel(16_000, 512, 64, 125.0, 7_500.0), squared=False)
    level += np.float32(offset)
    return np.log(level, out=level)


def clap(y: Array, n_frames: int) -> Array:
    """Take the power in dB."""
    spectrum = _magnitude(y, n_frames, 480, fourier.hann(1024), np.float64)
    power = _bands(spectrum, n_frames, filter_banks.mel(48_000, 1024, 64, 50.0, 14_000.0), squared=True)
    level = np.log(np.maximum(power, FLOOR, out=power), out=power)
    return np.multiply(level, 10 * PER_DECADE, out=level)


def _magnitude(y: Array, n_frames: int, hop_length: int, window: NDArray[np.float64], dtype: DTypeLike) -> Array:
    """Return the absolute value of the transform of the frames that begin at sample 0, hop_length, …, in lanes."""
    n_fft, n_blocks = len(window), -(-n_frames // LANES)
    padded = empty(max(len(y), (n_blocks * LANES - 1) * hop_length + n_fft))
    padded[: len(y)], padded[len(y) :] = y, 0
    spectrum = empty(n_blocks, n_fft // 2 + 1, LANES)
    kernels.magnitude(padded, hop_length, fourier.plan(window, dtype), spectrum)
    return spectrum


def _bands(spectrum: Array, n_frames: int, bank: Bank, *, squared: bool) -> Array:
    """Return weighted sums over the bins of each filter, [n_frames, n_bands]."""
    bands = empty(len(bank[0]), len(spectrum) * LANES)
    kernels.filter_bank(spectrum, squared, *bank, bands)
    return np.ascontiguousarray(bands.T[:n_frames])
