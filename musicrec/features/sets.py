"""Named feature sets: which columns, in which order, and how each is computed from a clip's analysis.

``iiitd41`` is the set of the 12-genre reference system, ``gtzan57`` that of the public GTZAN table; both keep the
names of their tables. Two remarks on those tables:

- The GTZAN table was made by a librosa before 0.9, which padded frames by reflection, and its tempo is the beat
  tracker's. Over the 14 untouched originals the median relative difference is 4e-4; it is above 1e-3 in mfcc7_var,
  mfcc13, 14, 16, 17, 18 and 20_mean, and in harmony_mean and perceptr_mean, which are means of a signal around zero.
- The reference system states 2048 samples a frame, and so do we; its own table was made with 1024, except flux, tempo
  and harmony: mel_spec differs by about 6 dB.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ConfigError

if TYPE_CHECKING:
    from musicrec.features.analysis import Analysis

N_FFT = 2048  # samples of a frame, at which both sets are defined
HOP_LENGTH = 512


class Feature(NamedTuple):
    """One column: a statistic of one of the quantities of :class:`Analysis`."""

    name: str
    quantity: str
    statistic: Callable[[NDArray[Any]], float]
    row: int | None = None  # of a quantity with several rows, such as mfcc

    def value(self, analysis: "Analysis") -> float:
        """The feature of one clip."""
        values = getattr(analysis, self.quantity)
        return self.statistic(values if self.row is None else values[self.row])


def _mean(values: NDArray[np.floating]) -> float:
    return float(np.mean(values, dtype=np.float64))


def _var(values: NDArray[np.floating]) -> float:
    return float(np.var(values, dtype=np.float64))


def _mean_var(name: str, quantity: str, row: int | None = None) -> list[Feature]:
    return [Feature(f"{name}_mean", quantity, _mean, row), Feature(f"{name}_var", quantity, _var, row)]


FEATURE_SETS: dict[str, list[Feature]] = {
    "iiitd41": [
        *_mean_var("rms", "rms"),
        *_mean_var("chroma_stft", "chroma"),
        *_mean_var("spectral_centroid", "spectral_centroid"),
        *_mean_var("spectral_bandwidth", "spectral_bandwidth"),
        *_mean_var("spectral_rolloff", "spectral_rolloff"),
        *_mean_var("zero_crossing_rate", "zero_crossing_rate"),
        Feature("tempo_mean", "tempo", _mean),
        *_mean_var("spectral_contrast", "spectral_contrast"),
        *_mean_var("spectral_flatness", "spectral_flatness"),
        *_mean_var("flux", "onset_strength"),
        *_mean_var("harmony", "harmonic"),
        *(Feature(f"mel_spec{band + 1}", "mel_decibels_20", _mean, band) for band in range(20)),
    ],
    "gtzan57": [
        *_mean_var("chroma_stft", "chroma"),
        *_mean_var("rms", "rms"),
        *_mean_var("spectral_centroid", "spectral_centroid"),
        *_mean_var("spectral_bandwidth", "spectral_bandwidth"),
        *_mean_var("rolloff", "spectral_rolloff"),
        *_mean_var("zero_crossing_rate", "zero_crossing_rate"),
        *_mean_var("harmony", "harmonic"),
        *_mean_var("perceptr", "percussive"),
        Feature("tempo", "tempo", _mean),
        *(feature for i in range(20) for feature in _mean_var(f"mfcc{i + 1}", "mfcc", i)),
    ],
}


def feature_names(feature_sets: str | Sequence[str]) -> list[str]:
    """Columns of one or several feature sets, each name once, in the sets' order.

    Raises
    ------
    ConfigError
        A set is unknown.
    """
    return [feature.name for feature in _features(feature_sets)]


def evaluate(analysis: "Analysis", feature_set: str | Sequence[str]) -> dict[str, float]:
    """Features of an analysed clip, one value a column, in the order of :func:`feature_names`."""
    return {feature.name: feature.value(analysis) for feature in _features(feature_set)}


def _features(feature_sets: str | Sequence[str]) -> list[Feature]:
    names = [feature_sets] if isinstance(feature_sets, str) else feature_sets
    unknown = [name for name in names if name not in FEATURE_SETS]
    if unknown:
        raise ConfigError(f"unknown feature set {unknown[0]!r}; expected one of {', '.join(FEATURE_SETS)}")
    return list({feature.name: feature for name in names for feature in FEATURE_SETS[name]}.values())
