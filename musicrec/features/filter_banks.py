"""Filters and bands that depend on the settings alone; each is made once in a process.

Only those parts of librosa are used that load without compiling. The others compile loops for 20 seconds when they are
first imported.
"""

from functools import lru_cache
from itertools import pairwise

import numpy as np
from librosa.core.convert import fft_frequencies, hz_to_octs
from librosa.filters import mel as mel_filters
from numpy.typing import NDArray
from scipy.fft import dct

Array = NDArray[np.float32]
Indices = NDArray[np.int64]

SEMITONES = 12  # in an octave
CHROMA_CENTRE_OCTAVE, CHROMA_WIDTH_OCTAVES = 5.0, 2.0
A_TO_C = 3  # semitones from A, from which octaves are counted, to C, the first row
CONTRAST_OCTAVES = 6
CONTRAST_LOWEST_HZ = 200.0
CONTRAST_SHARE = 0.02  # share of a band's bins whose mean is its peak, and its valley


@lru_cache(maxsize=16)
def mel(
    sample_rate: int, n_fft: int, n_mels: int, low_hz: float = 0.0, high_hz: float | None = None
) -> tuple[Indices, Indices, Array]:
    """Return librosa's mel filters without their zeros: first bin and width of each, and weights [n_mels, widest]."""
    return _without_zeros(mel_filters(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=low_hz, fmax=high_hz))


@lru_cache(maxsize=8)
def htk_mel(sample_rate: int, n_fft: int, n_mels: int, low_hz: float, high_hz: float) -> tuple[Indices, Indices, Array]:
    """Return filters that are triangles on HTK's mel scale, highest 1, in the form of :func:`mel`; none takes 0 Hz.

    They are those of VGGish and YAMNet (S. Hershey et al., ICASSP 2017).
    """
    bins = _htk(np.arange(n_fft // 2 + 1) * (sample_rate / n_fft))
    corners = np.linspace(_htk(low_hz), _htk(high_hz), n_mels + 2)[:, None]
    lower, centre, upper = corners[:-2], corners[1:-1], corners[2:]
    dense = np.maximum(0.0, np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre)))
    dense[:, 0] = 0
    return _without_zeros(dense)


def _htk(hz: float | NDArray[np.floating]) -> NDArray[np.float64]:
    """Return frequencies in mel, by the formula of HTK."""
    return np.asarray(1127.0 * np.log1p(np.asarray(hz) / 700.0))


def _without_zeros(dense: NDArray[np.floating]) -> tuple[Indices, Indices, Array]:
    starts, widths = (dense > 0).argmax(axis=1), (dense > 0).sum(axis=1)
    weights = np.zeros((len(dense), widths.max()), np.float32)
    for band, (start, width) in enumerate(zip(starts, widths, strict=True)):
        weights[band, :width] = dense[band, start : start + width]
    return starts, widths, weights


@lru_cache(maxsize=8)
def cosines(n_bands: int, n_coefficients: int) -> Array:
    """Return the first rows of the orthonormal cosine transform (type 2), [n_coefficients, n_bands]."""
    transform: Array = dct(np.eye(n_bands, dtype=np.float32), axis=0, norm="ortho")[:n_coefficients]
    return transform


@lru_cache(maxsize=128)
def chroma(sample_rate: int, n_fft: int, tuning: float) -> Array:
    """Return pitch-class filters [12, n_bins], C first, at one of a hundred tunings.

    A bin is spread over the pitch classes near its frequency by a bell as wide as the bin itself, and weighs more the
    nearer it lies to the fifth octave (D. Ellis, "Chroma feature analysis and synthesis", 2007). They are librosa's.
    """
    frequencies = fft_frequencies(sr=sample_rate, n_fft=n_fft)[1:]
    semitones = SEMITONES * hz_to_octs(frequencies, tuning=tuning, bins_per_octave=SEMITONES)
    semitones = np.concatenate([[semitones[0] - 1.5 * SEMITONES], semitones])  # the bin at 0 Hz has no pitch
    widths = np.append(np.maximum(np.diff(semitones), 1.0), 1.0)
    half = SEMITONES // 2
    distances = (semitones - np.arange(SEMITONES)[:, None] + half) % SEMITONES - half
    bells = np.exp(-0.5 * (2 * distances / widths) ** 2)
    bells /= np.linalg.norm(bells, axis=0)
    octaves = semitones / SEMITONES
    bells *= np.exp(-0.5 * ((octaves - CHROMA_CENTRE_OCTAVE) / CHROMA_WIDTH_OCTAVES) ** 2)
    return np.roll(bells, -A_TO_C, axis=0).astype(np.float32)


@lru_cache(maxsize=8)
def octave_bands(sample_rate: int, n_fft: int) -> tuple[Indices, Indices]:
    """Return the bands of the spectral contrast: bins [n_bands, 2], from and up to, and how many make a peak [n_bands].

    As in librosa, a band begins one bin early, and the last band reaches to the end. The share is of all bins of a
    band, but its last bin is left to the band above.
    """
    frequencies = fft_frequencies(sr=sample_rate, n_fft=n_fft)
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
