"""The reference system's clusterings as models: clusters are found without genres, and get genres afterwards.

Each is the last step of a pipeline after StandardScaler and PCA to two components. Noise, which only DBSCAN knows, is
cluster -1.
"""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.spatial import KDTree
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.base import clone as untrained
from sklearn.cluster import DBSCAN, Birch, KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from threadpoolctl import threadpool_limits  # comes with scikit-learn

from musicrec.evaluate.cluster_quality import Cluster, agreement, quality, sweep
from musicrec.models.dataset import TrainingSet
from musicrec.schemas import CLUSTERS, SWEEP
from musicrec.settings import TrainSettings

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Array = NDArray[np.float64]

N_CLUSTERS = 9  # the reference system's number, for 12 genres
SWEPT_NUMBERS = range(2, 21)
SWEPT_COMPONENTS = (2, 3, 5, 10)
MOST_SWEPT = 2000  # songs: a sweep trains and judges 76 clusterings
MOST_IN_DBSCAN = 20_000  # songs: all pairs nearer than eps are held at once


class GenreOfCluster(ClassifierMixin, BaseEstimator):
    """Genre probabilities of a song: the shares of the genres among the training songs of its cluster.

    Where the clusterer gives probabilities, songs count in part. A cluster without training songs has the shares of
    all songs.

    Parameters
    ----------
    clusterer : estimator
        scikit-learn clusterer with ``predict``; it is given the features alone.
    """

    def __init__(self, clusterer: Any) -> None:  # noqa: ANN401 - any estimator
        self.clusterer = clusterer

    def fit(self, X: Array, y: NDArray[Any], sample_weight: Array | None = None) -> Self:
        """Find the clusters ``clusterer_`` of X, then the genre ``shares_`` of each [n_clusters + 1, n_classes].

        Songs count by their weights in the shares, but not where the clusters are found.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.clusterer_ = found(untrained(self.clusterer), X)
        vars(self.clusterer_).pop("labels_", None)  # a number for each training song, none of which predicting needs
        self.classes_, genre = np.unique(y, return_inverse=True)
        self.n_clusters_ = int(self.clusterer_.predict(X).max()) + 1
        genres = np.eye(len(self.classes_))[genre]
        counts = _check_sample_weight(sample_weight, X, dtype=np.float64)
        weights = self._memberships(X) * counts[:, None]
        sizes = weights.sum(axis=0)[:, None]
        of_all = np.average(genres, axis=0, weights=counts)
        self.shares_ = np.where(sizes > 0, weights.T @ genres / np.where(sizes > 0, sizes, 1), of_all)
        return self

    def clusters(self, X: Array) -> NDArray[np.int32]:
        """Return the cluster of each song, -1 where it is noise."""
        check_is_fitted(self)
        return self.clusterer_.predict(validate_data(self, X, dtype=np.float64, reset=False)).astype(np.int32)

    def predict_proba(self, X: Array) -> Array:
        """Return the probabilities [n, n_classes]."""
        check_is_fitted(self)
        probabilities: Array = self._memberships(validate_data(self, X, dtype=np.float64, reset=False)) @ self.shares_
        return probabilities

    def predict(self, X: Array) -> NDArray[Any]:
        """Return the commonest genre of each song's cluster."""
        commonest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[commonest]

    def _memberships(self, X: Array) -> Array:
        """Return the share [n, n_clusters + 1] of each song in each cluster; the last is noise or an unseen cluster."""
        if hasattr(self.clusterer_, "predict_proba"):
            inside: Array = self.clusterer_.predict_proba(X)
            return np.column_stack([inside, np.zeros(len(X))])
        clusters = self.clusterer_.predict(X)
        return np.eye(self.n_clusters_ + 1)[np.where(clusters < self.n_clusters_, clusters, -1)]


class PredictingDBSCAN(DBSCAN):
    """DBSCAN that also places new songs: in the cluster of the nearest core song within `eps`; without one, as noise.

    scikit-learn gives a song at the border of two clusters to the one it finds first. Here the nearer one gets it, so
    that a song's cluster does not depend on the order of songs.
    """

    def fit(self, X: Array, y: object = None, sample_weight: object = None) -> Self:
        """Find the core songs ``components_`` and their clusters ``core_clusters_``."""
        X = validate_data(self, X, dtype=np.float64)
        if sample_weight is None and len(X) > MOST_IN_DBSCAN:
            X = np.random.default_rng(0).choice(X, MOST_IN_DBSCAN, replace=False)
        super().fit(X, sample_weight=sample_weight)
        self.core_clusters_ = self.labels_[self.core_sample_indices_]
        return self

    def predict(self, X: Array) -> NDArray[np.intp]:
        """Return the cluster of each song, -1 where it is noise."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        core = self.components_.reshape(-1, X.shape[1])
        _, nearest = KDTree(core).query(X, distance_upper_bound=np.nextafter(self.eps, np.inf))  # the bound is open
        clusters: NDArray[np.intp] = np.append(self.core_clusters_, -1)[nearest]  # none within: the index past all
        return clusters

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags


class TreelessBirch(Birch):
    """Birch without its tree, which predicting does not need and which is too deep for pickle."""

    def fit(self, X: Array, y: object = None) -> Self:
        """Find the subclusters and join them to clusters."""
        super().fit(X)
        del self.root_, self.dummy_leaf_
        return self


def _kmeans(n_clusters: int, seed: int) -> BaseEstimator:
    return KMeans(n_clusters, n_init=10, random_state=seed)


def _birch(n_clusters: int, seed: int) -> BaseEstimator:
    return TreelessBirch(n_clusters=n_clusters, threshold=1.9, branching_factor=20)


def _gaussian_mixture(n_clusters: int, seed: int) -> BaseEstimator:
    return GaussianMixture(n_clusters, covariance_type="spherical", random_state=seed)


def _dbscan(n_clusters: int, seed: int) -> BaseEstimator:
    return PredictingDBSCAN(eps=0.6, min_samples=4)  # it finds the number itself


CLUSTERERS: dict[str, Callable[[int, int], BaseEstimator]] = {
    "kmeans": _kmeans,
    "birch": _birch,
    "gaussian_mixture": _gaussian_mixture,
    "dbscan": _dbscan,
}


def found(clusterer: Any, X: Array) -> Any:  # noqa: ANN401 - any estimator
    """Return the clusterer, fitted on songs X [n, n_features] alone."""
    with warnings.catch_warnings(), threadpool_limits(1):  # with several threads, the order of sums would vary
        warnings.filterwarnings("ignore", category=ConvergenceWarning)  # fewer clusters than asked for are allowed
        return clusterer.fit(X)


def write_clusters(
    folder: Path, pipeline: "Pipeline", songs: TrainingSet, learned: NDArray[np.bool_], settings: TrainSettings
) -> dict[str, Any]:
    """Write ``clusters.parquet`` and ``sweep.parquet`` of a trained clustering.

    Parameters
    ----------
    folder : pathlib.Path
        The model's folder.
    pipeline : sklearn.pipeline.Pipeline
        Trained on the `learned` songs.
    songs : TrainingSet
        All songs.
    learned : numpy.ndarray
        bool [n_songs].
    settings : TrainSettings
        Which clustering, and the seed.

    Returns
    -------
    dict
        Fields for the card: those of :class:`~musicrec.evaluate.cluster_quality.Quality` and, if the songs have genres,
        :class:`~musicrec.evaluate.cluster_quality.Agreement` of the `learned` songs.
    """
    X = np.where(np.isfinite(songs.X), songs.X, np.nan).astype(np.float64)
    standardised = pipeline[:-2].transform(X)
    points = pipeline[-2].transform(standardised)
    clusters = pipeline[-1].clusters(points)
    columns = [songs.track_ids, clusters, list(points.astype(np.float32))]
    pq.write_table(pa.table(columns, schema=CLUSTERS), folder / "clusters.parquet")
    cluster: dict[str, Cluster] = {settings.model: partial(_clusters, settings.model, settings.seed)}
    numbers = [None] if settings.model == "dbscan" else SWEPT_NUMBERS
    swept = sweep(standardised[learned], cluster, SWEPT_COMPONENTS, numbers, most=MOST_SWEPT)
    pq.write_table(pa.Table.from_pandas(swept, SWEEP, preserve_index=False), folder / "sweep.parquet")
    judged = quality(points[learned], clusters[learned])
    beside = agreement(clusters[learned], songs.y[learned])._asdict() if songs.classes else {}
    return judged._asdict() | beside


def _clusters(name: str, seed: int, X: Array, n_clusters: int | None) -> NDArray[np.intp]:
    """Return the clusters of X that the clusterer of this name finds."""
    return found(CLUSTERERS[name](n_clusters or N_CLUSTERS, seed), X).predict(X)
