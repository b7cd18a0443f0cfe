"""Filters and bands that depend on the settings alone, made once a process by librosa."""

from functools import lru_cache
from itertools import pairwise

import librosa
import numpy as np
from librosa.filters import chroma as chroma_filters
from librosa.filters import mel as mel_filters
from numpy.typing import NDArray

Array = NDArray[np.float32]
Indices = NDArray[np.int64]

CONTRAST_OCTAVES = 6
CONTRAST_LOWEST_HZ = 200.0
CONTRAST_SHARE = 0.02  # of a band's bins that make its peak, and its valley


@lru_cache(maxsize=16)
def mel(sample_rate: int, n_fft: int, n_mels: int) -> tuple[Indices, Array]:
    """Mel filters without their zeros: first bin of each, and weights [n_mels, width] from there on."""
    dense = mel_filters(sr=sample_rate, n_fft=n_fft, n_mels=n_mels)
    widths = (dense > 0).sum(axis=1)
    starts = np.minimum((dense > 0).argmax(axis=1), dense.shape[1] - widths.max())
    columns = starts[:, None] + np.arange(widths.max())
    return starts, np.ascontiguousarray(np.take_along_axis(dense, columns, axis=1), np.float32)


@lru_cache(maxsize=128)
def chroma(sample_rate: int, n_fft: int, tuning: float) -> Array:
    """Pitch-class filters [12, n_bins] at a tuning, one of a hundred."""
    bank: Array = chroma_filters(sr=sample_rate, n_fft=n_fft, tuning=tuning, n_chroma=12)
    return bank


@lru_cache(maxsize=8)
def octave_bands(sample_rate: int, n_fft: int) -> tuple[Indices, Indices]:
    """Bands of the spectral contrast: bins [n_bands, 2], from and up to, and how many make a peak, [n_bands].

    As in librosa, a band begins one bin early, the last reaches to the end, and the share is of all a band's bins,
    whereas its last bin is left to the band above.
    """
    frequencies = librosa.fft_frequencies(sr=sample_rate, n_fft=n_fft)
    edges = [0.0, *(CONTRAST_LOWEST_HZ * 2.0**octave for octave in range(CONTRAST_OCTAVES + 1))]
    bins, counts = [], []
    for band, (low, high) in enumerate(pairwise(edges)):
        inside = np.flatnonzero((frequencies >= low) & (frequencies <= high))
        first, stop = inside[0] - (band > 0), inside[-1] + 1
        if band == CONTRAST_OCTAVES:
            stop = len(frequencies)
        counts.append(max(1, round(CONTRAST_SHARE * (stop - first))))
        bins.append((first, stop - (band < CONTRAST_OCTAVES)))
    return np.array(bins, np.int64), np.array(counts, np.int64)
