"""Named feature sets: which columns, in which order, and how each is computed from a clip's analysis.

``iiitd41`` is the set of the 12-genre reference system, ``gtzan57`` that of the public GTZAN table; both keep the
column names of their tables. Two remarks on those tables:

- The GTZAN table was made by a librosa before 0.9, which padded frames by reflection, and its tempo is the beat
  tracker's. Over the 14 untouched originals the median relative difference is 4e-4; it is above 1e-3 in mfcc7_var,
  mfcc13, 14, 16, 17, 18 and 20_mean, and in harmony_mean and perceptr_mean, which are means of a signal around zero.
- The reference system states 2048 samples per frame, and so do we. Its own table was made with 1024, except for flux,
  tempo and harmony, so mel_spec differs by about 6 dB.

``fma518`` is the set of the FMA dataset (Defferrard et al., ISMIR 2017; ``features.csv`` and ``features.py`` of
github.com/mdeff/fma): seven statistics of each of 74 rows. A column is named by the three levels of FMA's header, as in
``mfcc_mean_01``, and stands in FMA's order: ``features.columns = ["_".join(levels) for levels in features.columns]``
turns the public table into ours. The values are those of its script under librosa 0.11, not those of its table:

- FMA analyses a file at the file's own sample rate, we analyse the clip at ``sample_rate`` of the settings. Frequencies
  are true ones here; FMA's script leaves out the rate wherever librosa has a default, so that centroid, bandwidth and
  rolloff of a file of 44 100 Hz stand in its table at half their value, and the bands of the contrast are an octave up.
- The table was made by a librosa of 2017, which padded frames by reflection, and divided ``rmse`` by the number of bins
  and not by that of samples: its ``rmse`` is √(2048² / 2050), about 45.2 times as large.
- Pitch classes are folded from twelve bins an octave, as the table's are; librosa 0.11 would assume 36.
- Skew and kurtosis of a row that never changes are 0 and -3, as SciPy had it in 2017; today it gives NaN. A row that
  moves by no more than the rounding of float32 counts as one that never changes.

It adds about 20 ms for a clip of 30 s on one CPU core, mostly for pitch classes; librosa's transform alone takes 82 ms.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ConfigError

if TYPE_CHECKING:
    from musicrec.features.analysis import Analysis
    from musicrec.features.tonal import Tonal

N_FFT = 2048  # samples of a frame, at which all sets are defined
HOP_LENGTH = 512

Rows = NDArray[Any]  # [n_rows, n_frames]
Values = NDArray[np.float64]  # [n_rows]


class Feature(NamedTuple):
    """One column: a statistic of a quantity of :class:`Analysis` or :class:`Tonal`."""

    name: str
    quantity: str
    statistic: Callable[[Rows], Values]
    row: int | None = None  # row of a quantity that has several, such as mfcc; None: all rows together

    def value(self, analysis: "Analysis") -> float:
        """Return the feature of one clip."""
        return _values(analysis, [self])[self.name]


# --- statistics over time, of all rows at once ----------------------------------------------------------------------


def _mean(rows: Rows) -> Values:
    return _mean_and_variance(rows)[0]


def _var(rows: Rows) -> Values:
    return _mean_and_variance(rows)[1]


def _mean_and_variance(rows: Rows) -> tuple[Values, Values]:
    from musicrec.features.kernels import means_and_variances

    if rows.dtype == np.float32:
        return means_and_variances(np.ascontiguousarray(rows))
    return rows.mean(axis=1, dtype=np.float64), rows.var(axis=1, dtype=np.float64)


def _std(rows: Rows) -> Values:
    return np.asarray(rows.std(axis=1, dtype=np.float64))


def _skew(rows: Rows) -> Values:
    z = _standardised(rows)
    return np.asarray((z * z * z).mean(axis=1))


def _kurtosis(rows: Rows) -> Values:
    square = _standardised(rows) ** 2
    return np.asarray((square * square).mean(axis=1) - 3)


def _standardised(rows: Rows) -> NDArray[np.float64]:
    """Return deviations from the mean in standard deviations; zero where a row varies by float32 rounding alone."""
    mean, std = _mean(rows)[:, None], _std(rows)[:, None]
    return np.divide(rows - mean, std, out=np.zeros(rows.shape), where=std > np.finfo(np.float32).eps * np.abs(mean))


def _median(rows: Rows) -> Values:
    return np.asarray(np.median(rows, axis=1))


def _min(rows: Rows) -> Values:
    return np.asarray(rows.min(axis=1))


def _max(rows: Rows) -> Values:
    return np.asarray(rows.max(axis=1))


# --- the sets ---------------------------------------------------------------------------------------------------------


def _mean_var(name: str, quantity: str, row: int | None = None) -> list[Feature]:
    return [Feature(f"{name}_mean", quantity, _mean, row), Feature(f"{name}_var", quantity, _var, row)]


FMA_STATISTICS = {
    "kurtosis": _kurtosis, "max": _max, "mean": _mean, "median": _median, "min": _min, "skew": _skew, "std": _std,
}  # fmt: skip


def _fma(name: str, quantity: str, n_rows: int) -> list[Feature]:
    return [
        Feature(f"{name}_{label}_{row + 1:02}", quantity, statistic, row)
        for label, statistic in FMA_STATISTICS.items()
        for row in range(n_rows)
    ]


TONAL = ("chroma_cens", "chroma_cqt", "tonnetz", "windowed_rms")  # quantities of Tonal; all others belong to Analysis

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
    "fma518": [
        *_fma("chroma_cens", "chroma_cens", 12),
        *_fma("chroma_cqt", "chroma_cqt", 12),
        *_fma("chroma_stft", "chroma", 12),
        *_fma("mfcc", "mfcc", 20),
        *_fma("rmse", "windowed_rms", 1),
        *_fma("spectral_bandwidth", "spectral_bandwidth", 1),
        *_fma("spectral_centroid", "spectral_centroid", 1),
        *_fma("spectral_contrast", "spectral_contrast", 7),
        *_fma("spectral_rolloff", "spectral_rolloff", 1),
        *_fma("tonnetz", "tonnetz", 6),
        *_fma("zcr", "zero_crossing_rate", 1),
    ],
}


def feature_names(feature_sets: str | Sequence[str]) -> list[str]:
    """Return the columns of one or several feature sets, each name once, in the sets' order.

    Raises
    ------
    ConfigError
        A set is unknown.
    """
    return [feature.name for feature in _features(feature_sets)]


def evaluate(analysis: "Analysis", feature_set: str | Sequence[str]) -> dict[str, float]:
    """Return the features of an analysed clip, one value for each column, in the order of :func:`feature_names`."""
    return _values(analysis, _features(feature_set))


def _values(analysis: "Analysis", features: Sequence[Feature]) -> dict[str, float]:
    """Return one value for each feature; each statistic of a quantity is computed once, for all its rows."""

    @cache
    def tonal() -> "Tonal":
        from musicrec.features.tonal import Tonal  # the import takes seconds

        return Tonal(analysis)

    @cache
    def rows(quantity: str, *, together: bool) -> Rows:
        values = np.atleast_2d(getattr(tonal() if quantity in TONAL else analysis, quantity))
        return values.reshape(1, -1) if together else values

    @cache
    def column(quantity: str, statistic: Callable[[Rows], Values], *, together: bool) -> Values:
        return statistic(rows(quantity, together=together))

    return {
        name: float(column(quantity, statistic, together=row is None)[row or 0])
        for name, quantity, statistic, row in features
    }


def _features(feature_sets: str | Sequence[str]) -> list[Feature]:
    names = [feature_sets] if isinstance(feature_sets, str) else feature_sets
    unknown = [name for name in names if name not in FEATURE_SETS]
    if unknown:
        raise ConfigError(f"unknown feature set {unknown[0]!r}; expected one of {', '.join(FEATURE_SETS)}")
    return list({feature.name: feature for name in names for feature in FEATURE_SETS[name]}.values())
