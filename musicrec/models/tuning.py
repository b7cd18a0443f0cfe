"""The search for hyper-parameters of the classical models: grids, inner folds, one score, the best.

Only training songs are searched on; those that are held out for testing have no part in any choice.
"""

import json
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from musicrec.errors import ConfigError, ModelError
from musicrec.models.classical import Array, finite_or_nan, fit
from musicrec.models.dataset import TrainingSet, folds
from musicrec.models.weights import song_weights
from musicrec.settings import TrainSettings

Candidate = dict[str, Any]
Fold = tuple[NDArray[np.intp], NDArray[np.intp]]

GRIDS: dict[str, list[dict[str, list[Any]]]] = {  # among ties the first wins, so simple candidates stand first
    "knn": [{"n_neighbors": [1, 2, 4, 8, 12, 16, 24, 32, 64], "weights": ["uniform", "distance"]}],
    "logistic": [{"C": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]}],
    "svm": [
        {"kernel": ["linear"], "C": [0.01, 0.1, 1.0, 10.0]},
        {"kernel": ["rbf"], "C": [0.1, 1.0, 3.0, 10.0, 30.0], "gamma": [0.001, 0.003, 0.01, 0.03, 0.1]},
        {"kernel": ["poly"], "C": [0.1, 1.0, 10.0], "gamma": [0.003, 0.01, 0.03], "degree": [2, 3]},
    ],
    "random_forest": [
        {
            "n_estimators": [100, 275],
            "max_depth": [5, 10, 20, 145],
            "min_samples_split": [2, 9],
            "min_samples_leaf": [1, 3],
        }
    ],
    "whitened_svm": [{"C": [0.3, 1.0, 3.0, 10.0, 30.0], "gamma": [0.001, 0.003, 0.01, 0.03]}],
}

GRIDS_OF_SPACES: dict[str, list[dict[str, list[Any]]]] = GRIDS | {
    "logistic": [{"C": [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3]}],
    "svm": [{"C": [0.1, 0.3, 1.0, 3.0, 10.0, 30.0]}],
}
CHOOSING = ("logistic", "svm")  # they choose their candidate when they are trained on spaces
CHOOSING_FOLDS = 3


def candidates(model: str, *, of_spaces: bool = False) -> list[Candidate]:
    """Return the candidates of a model, in the order of its grid, which is another for vectors of spaces.

    Raises
    ------
    ConfigError
        The model has no grid.
    """
    from sklearn.model_selection import ParameterGrid

    if model not in GRIDS:
        raise ConfigError(f"model {model} has no grid to search; expected one of {', '.join(GRIDS)}")
    return list(ParameterGrid((GRIDS_OF_SPACES if of_spaces else GRIDS)[model]))


def inner_folds(songs: TrainingSet, learn: NDArray[np.bool_], n_folds: int, seed: int) -> list[Fold]:
    """Return folds within the training songs, stratified by genre, in which no artist stands on both sides.

    Parameters
    ----------
    songs : TrainingSet
        All songs.
    learn : numpy.ndarray
        bool [n_songs]; True for training songs.
    n_folds : int
        How many folds; there are never more than artists.
    seed : int
        Seed of the shuffle before the split.

    Returns
    -------
    list of (numpy.ndarray, numpy.ndarray)
        Rows of `songs` to train on and rows to test. Songs of a genre without a training song in a fold are trained on
        instead of tested; a fold that then tests nothing is left out.

    Raises
    ------
    ModelError
        No fold is left.
    """
    rows = np.flatnonzero(learn)
    y, groups = songs.y[rows], [songs.groups[i] for i in rows]
    n_splits = min(n_folds, len(set(groups)), int(np.bincount(y).max()))
    if n_splits < 2:
        raise ModelError(f"{len(rows)} training songs of {len(set(groups))} artists cannot be folded; add songs")
    found = [(rows[part], rows[test]) for part, test in folds(y, groups, n_splits, seed) if test.any()]
    if not found:
        raise ModelError("every genre has training songs of one artist only; add songs of other artists")
    return found


def score(
    model: str,
    candidate: Mapping[str, Any],
    known: tuple[Array, NDArray[np.int32]],
    fold: Fold,
    seed: int,
    *,
    weights: NDArray[np.float64] | None = None,
    of_spaces: bool = False,
) -> tuple[float, float]:
    """Return the accuracy of a candidate on the songs a fold holds out, and on those it was trained on.

    Parameters
    ----------
    model : str
        One of :data:`GRIDS`.
    candidate : mapping
        Settings of its classifier.
    known : (numpy.ndarray, numpy.ndarray)
        Features [n, n_features] as extracted, and class indices [n].
    fold : (numpy.ndarray, numpy.ndarray)
        Rows to train on and rows to test.
    seed : int
        Seed of what is random in the model.
    weights : numpy.ndarray, optional
        How much each song that it is trained on counts, [n of the fold].
    of_spaces : bool
        Whether the features are vectors of spaces.
    """
    X, y = known
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")  # a candidate may converge slowly: its score will show it
        pipeline = fit(model, (X[fold[0]], y[fold[0]]), seed, candidate, weights, of_spaces=of_spaces)
        hits = [pipeline.predict(finite_or_nan(X[rows])) == y[rows] for rows in (fold[1], fold[0])]
    return float(hits[0].mean()), float(hits[1].mean())


def choose(songs: TrainingSet, learn: NDArray[np.bool_], settings: TrainSettings) -> Candidate:
    """Return the candidate for a model that reads spaces: the best on inner folds that keep artists apart.

    How strongly such a model should be regularised depends on the space by powers of ten.

    Parameters
    ----------
    songs : TrainingSet
        All songs.
    learn : numpy.ndarray
        bool [n_songs]; True for training songs, the only ones that are looked at.
    settings : TrainSettings
        Model, balance and seed.

    Returns
    -------
    dict
        Settings of the classifier; among equals the first of the grid. Empty for a model that chooses nothing, and if
        the songs cannot be folded.
    """
    if settings.model not in CHOOSING:
        return {}
    try:
        folds = inner_folds(songs, learn, CHOOSING_FOLDS, settings.seed)
    except ModelError:
        return {}
    known = np.asarray(songs.X), songs.y
    weights = [song_weights(songs.y[rows], [songs.groups[i] for i in rows], settings.balance) for rows, _ in folds]

    def hits(candidate: Candidate) -> float:
        scores = [
            score(settings.model, candidate, known, fold, settings.seed, weights=own, of_spaces=True)[0]
            for fold, own in zip(folds, weights, strict=True)
        ]
        sizes = [len(test) for _, test in folds]
        return round(float(np.average(scores, weights=sizes)), 9)  # a rounding error is no difference

    return max(candidates(settings.model, of_spaces=True), key=hits)


def to_text(candidate: Mapping[str, Any]) -> str:
    """Return a candidate as the column ``candidate`` of the table ``tuning`` holds it."""
    return json.dumps(candidate, sort_keys=True)


def best_params(table: pa.Table, model: str) -> Candidate:
    """Return the candidate whose mean accuracy over the folds is best; among equals the one that was tried first.

    Parameters
    ----------
    table : pyarrow.Table
        Rows of ``tuning``, see :data:`musicrec.schemas.TUNING`.
    model : str
        Whose rows count.

    Raises
    ------
    ConfigError
        The table has no rows of the model.
    """
    rows = table.select(["model", "candidate", "accuracy"]).to_pandas()
    means = rows[rows["model"] == model].groupby("candidate", sort=False)["accuracy"].mean()
    if means.empty:
        raise ConfigError(f"model {model} has not been tuned; run: musicrec tune OUT --model {model}")
    best: Candidate = json.loads(str(means.index[int(means.round(9).argmax())]))  # a rounding error is no difference
    return best
