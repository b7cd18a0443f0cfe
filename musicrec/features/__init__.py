"""From samples to named features and mel-spectrograms, with the values of librosa's defaults.

librosa and the compiled loops are imported when something is computed, not when a feature is named.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from musicrec.features.sets import FEATURE_SETS, HOP_LENGTH, N_FFT, evaluate, feature_names

if TYPE_CHECKING:
    from musicrec.features.analysis import Analysis

__all__ = ["FEATURE_SETS", "HOP_LENGTH", "analyse", "evaluate", "extract", "feature_names", "mel"]

Array = NDArray[np.float32]


def analyse(y: Array, sample_rate: int) -> "Analysis":
    """Quantities of one clip, each computed when first asked for: for those who want features *and* mel."""
    from musicrec.features.analysis import Analysis

    return Analysis(y, sample_rate, N_FFT, HOP_LENGTH)


def extract(y: Array, sample_rate: int, feature_set: str | Sequence[str]) -> dict[str, float]:
    """Features of one clip.

    Parameters
    ----------
    y : numpy.ndarray
        float32 [n_samples], mono, finite, at least one sample.
    sample_rate : int
        In Hz; above 12 800 for the sets with spectral contrast.
    feature_set : str or sequence of str
        ``iiitd41``, ``gtzan57``, ``fma518``, or several sets, which then share their intermediate results.

    Returns
    -------
    dict of str to float
        One value a column, in the order of :func:`feature_names`.

    Raises
    ------
    ConfigError
        The set is unknown.
    """
    feature_names(feature_set)  # an unknown set is said at once
    return evaluate(analyse(y, sample_rate), feature_set)


def mel(y: Array, sample_rate: int, *, n_mels: int = 128, n_fft: int = N_FFT, hop_length: int = HOP_LENGTH) -> Array:
    """Mel-spectrogram in dB below the clip's loudest cell.

    Parameters
    ----------
    y : numpy.ndarray
        float32 [n_samples], mono.
    sample_rate : int
        In Hz.
    n_mels, n_fft, hop_length : int
        Mel bands, samples of a frame (a power of two from 32 on), samples between frames.

    Returns
    -------
    numpy.ndarray
        float32 [n_mels, n_frames] in [-80, 0], n_frames = 1 + n_samples // hop_length.

    Raises
    ------
    ConfigError
        `n_fft` is no power of two.
    """
    from musicrec.features.analysis import Analysis

    return Analysis(y, sample_rate, n_fft, hop_length).mel(n_mels)
