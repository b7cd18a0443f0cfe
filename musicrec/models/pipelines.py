"""The classical models and clusterings as scikit-learn pipelines: every step learns from the training rows alone.

``knn``, ``logistic``, ``svm`` and ``random_forest`` are those of the reference system with its hyper-parameters;
``whitened_svm`` is this project's own; the clusterings stand in :mod:`musicrec.models.clustering`. The step before the
last is the embedding.

The data steps of the reference system are made for its features. Vectors of spaces, in which each number may matter,
are only scaled.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from musicrec.models import steps
from musicrec.models.clustering import CLUSTERERS, N_CLUSTERS, GenreOfCluster

N_SELECTED = 25  # the reference system's number
N_PLANE = 2  # principal components in which the reference system finds clusters


def build(
    name: str, n_songs: int, seed: int = 0, params: Mapping[str, Any] | None = None, *, of_spaces: bool = False
) -> Pipeline:
    """Return an untrained pipeline: features [n, n_features], NaN allowed, → genre.

    Parameters
    ----------
    name : str
        One of :data:`musicrec.models.classical.CLASSICAL_MODELS` or ``CLUSTERINGS`` beside it.
    n_songs : int
        Songs it will be trained on; ``knn`` asks no more neighbours than that, a clustering no more clusters.
    seed : int
        Seed of what is random in it.
    params : mapping, optional
        Settings of the classifier, which is the last step, that differ from those below.
    of_spaces : bool
        Whether it reads vectors of spaces instead of a feature set alone.
    """
    made = _OF_SPACES.get(name, _MODELS[name]) if of_spaces else _MODELS[name]
    pipeline = made(n_songs, seed)
    pipeline[-1].set_params(**params or {})
    if name == "knn":
        pipeline[-1].n_neighbors = min(pipeline[-1].n_neighbors, n_songs)
    return pipeline


def _missing() -> SimpleImputer:
    return SimpleImputer(strategy="median", keep_empty_features=True)


def _reduced(classifier: BaseEstimator) -> Pipeline:
    """Return the reference system's data steps, which leave 25 numbers of each song, and a classifier of these."""
    return make_pipeline(
        _missing(),
        steps.DropSkewed(),
        steps.ClipOutliers(),
        steps.DropCorrelated(),
        StandardScaler(),
        steps.Components(),
        steps.SelectAtMost(k=N_SELECTED),
        classifier,
    )


def _scaled(classifier: BaseEstimator) -> Pipeline:
    return make_pipeline(_missing(), StandardScaler(), classifier)


def _knn(n_songs: int, seed: int) -> Pipeline:
    return _reduced(steps.WeightedKNeighbors(16, weights="distance", algorithm="brute"))


def _logistic(n_songs: int, seed: int) -> Pipeline:
    return _reduced(LogisticRegression(C=1.0, solver="saga", max_iter=2000, random_state=seed))


def _svm(n_songs: int, seed: int) -> Pipeline:
    return _reduced(steps.ProbableSVC(C=10.0, gamma=0.01, break_ties=True))


def _random_forest(n_songs: int, seed: int) -> Pipeline:
    forest = RandomForestClassifier(
        n_estimators=275, min_samples_split=9, min_samples_leaf=3, max_depth=145, random_state=seed
    )
    return _scaled(forest)  # trees need no scaling, the embedding does


def _whitened_svm(n_songs: int, seed: int) -> Pipeline:
    return make_pipeline(
        _missing(),
        steps.Logarithm(),
        StandardScaler(),
        steps.WhitenWithinClasses(),
        steps.ProbableSVC(C=3.0, gamma=0.01, break_ties=True),
    )


def _clustering(name: str, n_songs: int, seed: int) -> Pipeline:
    plane = PCA(N_PLANE, svd_solver="covariance_eigh")  # exact, whatever the number of songs
    clusterer = CLUSTERERS[name](min(N_CLUSTERS, n_songs), seed)
    return make_pipeline(_missing(), StandardScaler(), plane, GenreOfCluster(clusterer))


_MODELS: dict[str, Callable[[int, int], Pipeline]] = {
    "knn": _knn,
    "logistic": _logistic,
    "svm": _svm,
    "random_forest": _random_forest,
    "whitened_svm": _whitened_svm,
    **{name: partial(_clustering, name) for name in CLUSTERERS},
}
_OF_SPACES: dict[str, Callable[[int, int], Pipeline]] = {  # the others are the same
    "knn": lambda n_songs, seed: _scaled(steps.WeightedKNeighbors(16, weights="distance", algorithm="brute")),
    "logistic": lambda n_songs, seed: _scaled(LogisticRegression(C=0.01, max_iter=2000)),
    "svm": lambda n_songs, seed: _scaled(steps.ProbableSVC(C=3.0, gamma="scale", break_ties=True)),
}
