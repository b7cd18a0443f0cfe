"""Steps of the classical models that scikit-learn lacks; each learns from the training rows alone.

All take features X [n, n_features], numbers without NaN.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import skew
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.covariance import ledoit_wolf
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_selection import SelectKBest, SelectorMixin
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

Array = NDArray[np.float64]


class ClipOutliers(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Move values far outside the middle half of a column back to its fences.

    Clipped, not removed: a song must not be lost because it is unusual.

    Parameters
    ----------
    spread : float
        The fences stand so many interquartile ranges below the first and above the third quartile.
    """

    def __init__(self, spread: float = 3.0) -> None:
        self.spread = spread

    def fit(self, X: Array, y: object = None) -> Self:
        """Find the fences ``low_`` and ``high_`` of each column."""
        X = validate_data(self, X, dtype=np.float64)
        first, third = np.percentile(X, [25, 75], axis=0)
        reach = self.spread * (third - first)
        # A column that is mostly one value has no middle half; it stays as it is.
        self.low_ = np.where(reach > 0, first - reach, -np.inf)
        self.high_ = np.where(reach > 0, third + reach, np.inf)
        return self

    def transform(self, X: Array) -> Array:
        """Clip values to the fences."""
        check_is_fitted(self)
        return np.clip(validate_data(self, X, dtype=np.float64, reset=False), self.low_, self.high_)


class DropSkewed(SelectorMixin, BaseEstimator):
    """Leave out columns whose skewness is beyond a limit.

    Parameters
    ----------
    limit : float
        Largest absolute skewness of a column that stays. If none would, the least skewed one does.
    """

    def __init__(self, limit: float = 5.0) -> None:
        self.limit = limit

    def fit(self, X: Array, y: object = None) -> Self:
        """Find the columns that stay, ``support_``."""
        X = validate_data(self, X, dtype=np.float64)
        with np.errstate(all="ignore"):
            skewness = np.abs(np.nan_to_num(skew(X, axis=0)))  # NaN: constant
        self.support_ = skewness <= max(self.limit, skewness.min())
        return self

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return self.support_


class DropCorrelated(SelectorMixin, BaseEstimator):
    """Leave out each column that is nearly the same as an earlier one that stays.

    Parameters
    ----------
    limit : float
        Largest absolute correlation of two columns that both stay.
    """

    def __init__(self, limit: float = 0.98) -> None:
        self.limit = limit

    def fit(self, X: Array, y: object = None) -> Self:
        """Find the columns that stay, ``support_``."""
        X = validate_data(self, X, dtype=np.float64)
        with np.errstate(all="ignore"):
            r = np.abs(np.nan_to_num(np.atleast_2d(np.corrcoef(X, rowvar=False))))  # NaN: constant
        support = np.zeros(len(r), bool)
        for i in range(len(r)):
            support[i] = not (r[i, support] > self.limit).any()
        self.support_ = support
        return self

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return self.support_


class Components(TransformerMixin, BaseEstimator):
    """TruncatedSVD to at most `n_components`, or to as many as there are columns.

    Parameters
    ----------
    n_components : int
        The most components.
    """

    def __init__(self, n_components: int = 40) -> None:
        self.n_components = n_components

    def fit(self, X: Array, y: object = None) -> Self:
        """Find the components."""
        X = validate_data(self, X, dtype=np.float64, ensure_min_features=2, ensure_min_samples=2)
        self.svd_ = TruncatedSVD(min(self.n_components, X.shape[1]), random_state=0).fit(X)
        return self

    def transform(self, X: Array) -> Array:
        """Return the coordinates along the components."""
        check_is_fitted(self)
        return self.svd_.transform(validate_data(self, X, dtype=np.float64, reset=False))


class SelectAtMost(SelectKBest):
    """SelectKBest by the F statistic that takes all columns, without a warning, where there are fewer than `k`."""

    def _check_params(self, X: Array, y: object) -> None:
        pass

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        if self.k >= len(self.scores_):
            return np.ones(len(self.scores_), bool)
        mask: NDArray[np.bool_] = super()._get_support_mask()
        return mask


class Logarithm(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Logarithm of each column that is positive in every training row; the others stay as they are.

    Energies, variances and frequencies are heard by their ratios. A value below all training values counts as the
    smallest of them.
    """

    def fit(self, X: Array, y: object = None) -> Self:
        """Find the smallest value of each column, ``floor_``."""
        X = validate_data(self, X, dtype=np.float64)
        self.floor_ = X.min(axis=0)
        return self

    def transform(self, X: Array) -> Array:
        """Take the logarithms of the columns whose floor is above zero."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False, copy=True)
        positive = self.floor_ > 0
        X[:, positive] = np.log(np.maximum(X[:, positive], self.floor_[positive]))
        return X


class WhitenWithinClasses(TransformerMixin, BaseEstimator):
    """Rotate and scale features so that songs of one class spread alike in every direction.

    Euclidean distance afterwards is the Mahalanobis distance by the covariance within classes (Hatch, Kajarekar and
    Stolcke, "Within-class covariance normalization for SVM-based speaker recognition", Interspeech 2006), which
    Ledoit and Wolf's shrinkage keeps invertible where there are few songs.
    """

    def fit(self, X: Array, y: NDArray[Any]) -> Self:
        """Find ``mean_`` and the map ``whiten_`` [n_features, n_features]."""
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(y)
        _, index = np.unique(y, return_inverse=True)
        means = np.stack([X[index == k].mean(axis=0) for k in range(index.max() + 1)])
        covariance, _ = ledoit_wolf(X - means[index], assume_centered=True)
        variances, directions = np.linalg.eigh(covariance)
        self.mean_ = X.mean(axis=0)
        least = np.finfo(np.float64).eps * max(variances.max(), np.finfo(np.float64).tiny)
        self.whiten_ = np.where(variances > least, directions / np.sqrt(np.maximum(variances, least)), 0.0)
        return self

    def transform(self, X: Array) -> Array:
        """Return the whitened features, as many as before."""
        check_is_fitted(self)
        whitened: Array = (validate_data(self, X, dtype=np.float64, reset=False) - self.mean_) @ self.whiten_
        return whitened

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


class WeightedKNeighbors(KNeighborsClassifier):
    """KNeighborsClassifier in which each neighbour's vote is multiplied by its weight.

    Which songs are neighbours does not depend on the weights.
    """

    def fit(self, X: Array, y: NDArray[Any], sample_weight: Array | None = None) -> Self:
        """Keep the training songs and their weights above 0, ``sample_weight_``."""
        super().fit(X, y)
        self.sample_weight_ = _check_sample_weight(sample_weight, X, dtype=np.float64)
        return self

    def predict(self, X: Array) -> NDArray[Any]:
        """Return the likeliest class."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        named: NDArray[Any] = self.classes_[likeliest]
        return named

    def predict_proba(self, X: Array) -> Array:
        """Return the probabilities [n, n_classes]: the shares of the votes."""
        distances, neighbours = self.kneighbors(X)
        votes = self._votes(distances) * self.sample_weight_[neighbours]
        shares = np.stack([np.where(self._y[neighbours] == k, votes, 0).sum(axis=1) for k in range(len(self.classes_))])
        probabilities: Array = (shares / shares.sum(axis=0)).T
        return probabilities

    def _votes(self, distances: Array) -> Array:
        """Return what each neighbour's vote counts by its distance; at distance 0, only those vote."""
        if self.weights == "uniform":
            return np.ones(distances.shape)
        with np.errstate(divide="ignore"):
            inverse = 1 / distances
        same = np.isinf(inverse)
        return np.where(same.any(axis=1, keepdims=True), same, inverse)

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        tags.classifier_tags.multi_label = False
        return tags


class ProbableSVC(SVC):
    """SVC with probabilities: the softmax of its decision values, so that the likeliest class is the predicted one.

    They are not calibrated. Platt's, which scikit-learn fits by cross-validation, need several songs of every class
    and may contradict the decision.
    """

    def predict_proba(self, X: Array) -> Array:
        """Return the probabilities [n, n_classes]."""
        values = self.decision_function(X)
        values = np.column_stack([-values / 2, values / 2]) if values.ndim == 1 else values
        probabilities: Array = softmax(values, axis=1)
        return probabilities
