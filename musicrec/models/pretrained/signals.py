"""Clips that are made by formulas, the same on every machine, for golden vectors."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
SignalName = Literal["tone", "sweep", "noise"]
SIGNALS: tuple[SignalName, ...] = get_args(SignalName)

TONE_HZ, HARMONICS, BEATS_A_SECOND = 220.0, 8, 2.0
LOWEST_HZ, HIGHEST_SHARE = 50.0, 0.45  # of a sweep: from here to this share of the sample rate
LOUDNESS = 0.25


def signal(name: SignalName, sample_rate: int, seconds: float) -> Array:
    """Return a clip.

    Parameters
    ----------
    name : {"tone", "sweep", "noise"}
        A tone with harmonics that is struck twice a second, a tone that rises through all octaves, or white noise.
    sample_rate : int
        In Hz.
    seconds : float
        Length.

    Returns
    -------
    numpy.ndarray
        float32 [n_samples] in [-1, 1].
    """
    n = np.arange(round(seconds * sample_rate))
    t = n / sample_rate
    if name == "tone":
        numbers = np.arange(1, HARMONICS + 1)[:, None]
        harmonics = np.where(numbers * TONE_HZ < sample_rate / 2, np.sin(2 * np.pi * TONE_HZ * numbers * t), 0.0)
        y = (harmonics / numbers).sum(axis=0) * np.exp(-4 * (t * BEATS_A_SECOND % 1))
    elif name == "sweep":
        octaves = np.log(HIGHEST_SHARE * sample_rate / LOWEST_HZ)
        y = np.sin(2 * np.pi * LOWEST_HZ * seconds / octaves * np.expm1(octaves * t / seconds))
    else:
        y = _noise(n)
    return (LOUDNESS * y).astype(np.float32)


def _noise(n: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return numbers from -1 to 1 that look random: the bits of n, mixed."""
    bits = (n + 1).astype(np.uint32)
    for factor, shift in ((0x9E3779B1, 15), (0x85EBCA77, 13), (0xC2B2AE3D, 16)):
        bits = bits * np.uint32(factor)
        bits ^= bits >> np.uint32(shift)
    return bits / 2.0**31 - 1
