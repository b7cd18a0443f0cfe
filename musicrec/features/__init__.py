"""Named features and mel-spectrograms of samples, with the values that librosa's defaults give.

``FEATURE_SETS`` has the features of each set, in order. All sets use frames of ``N_FFT`` = 2048 samples, ``HOP_LENGTH``
= 512 samples apart. librosa and the compiled loops are imported when something is computed, not when a feature is
named.
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
    """Return an object that computes each quantity of a clip on first use, and shares intermediate results.

    Use it to compute several things from one clip, such as features and a mel-spectrogram.

    Parameters
    ----------
    y : numpy.ndarray
        float32 [n_samples], mono, finite, at least one sample.
    sample_rate : int
        Sample rate, in Hz.

    Returns
    -------
    musicrec.features.analysis.Analysis
        The quantities, as attributes such as ``rms`` or ``mfcc``.

    Examples
    --------
    >>> import numpy as np
    >>> clip = analyse(np.sin(np.arange(22_050) / 8).astype(np.float32), 22_050)
    >>> clip.mel(64).shape, clip.rms.shape
    ((64, 44), (44,))
    >>> round(evaluate(clip, "iiitd41")["rms_mean"], 2)
    0.69
    """
    from musicrec.features.analysis import Analysis

    return Analysis(y, sample_rate, N_FFT, HOP_LENGTH)


def extract(y: Array, sample_rate: int, feature_set: str | Sequence[str]) -> dict[str, float]:
    """Return the features of a clip.

    Parameters
    ----------
    y : numpy.ndarray
        float32 [n_samples], mono, finite, at least one sample.
    sample_rate : int
        Sample rate, in Hz; above 12 800 for the sets with spectral contrast.
    feature_set : str or sequence of str
        ``iiitd41``, ``gtzan57`` or ``fma518``; or several sets, which then share their intermediate results.

    Returns
    -------
    dict of str to float
        The value of each feature, in the order of :func:`feature_names`.

    Raises
    ------
    ConfigError
        The set is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> features = extract(np.sin(np.arange(22_050) / 8).astype(np.float32), 22_050, "iiitd41")
    >>> len(features)
    41
    >>> round(features["spectral_centroid_mean"], -1)
    490.0
    """
    feature_names(feature_set)  # fails at once if a set is unknown
    return evaluate(analyse(y, sample_rate), feature_set)


def mel(y: Array, sample_rate: int, *, n_mels: int = 128, n_fft: int = N_FFT, hop_length: int = HOP_LENGTH) -> Array:
    """Return the mel-spectrogram of a clip, in dB relative to its loudest cell.

    Parameters
    ----------
    y : numpy.ndarray
        float32 [n_samples], mono.
    sample_rate : int
        Sample rate, in Hz.
    n_mels : int
        Number of mel bands.
    n_fft : int
        Samples in a frame: a power of two, at least 32.
    hop_length : int
        Samples between the starts of two frames.

    Returns
    -------
    numpy.ndarray
        float32 [n_mels, n_frames] in [-80, 0], n_frames = 1 + n_samples // hop_length.

    Raises
    ------
    ConfigError
        `n_fft` is not a power of two.

    Examples
    --------
    >>> import numpy as np
    >>> spectrogram = mel(np.sin(np.arange(22_050) / 8).astype(np.float32), 22_050, n_mels=64)
    >>> spectrogram.shape, float(spectrogram.max())
    ((64, 44), 0.0)
    """
    from musicrec.features.analysis import Analysis

    return Analysis(y, sample_rate, n_fft, hop_length).mel(n_mels)
