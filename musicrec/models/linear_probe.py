"""How well a linear model names the genre from vectors: what is in the vectors, whatever made them.

The classifier is a logistic regression of standardised columns. Genres count equally in training, and so, by the square
root of the number of their songs, do the artists of a genre. How strongly it is regularised is chosen on inner folds of
the training songs.
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from musicrec.models.dataset import folds
from musicrec.models.weights import song_weights

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Array = NDArray[Any]

STRENGTHS = (0.001, 0.01, 0.1)  # C of the penalty: the smallest is the strongest, and wins a tie
MAX_ITERATIONS = 200


def probe(X: Array, y: NDArray[np.int32], groups: Sequence[str], n_folds: int = 3, seed: int = 0) -> Array:
    """Name the genre of every song by a model that has heard no song of its artist.

    Parameters
    ----------
    X : numpy.ndarray
        Vectors [n, d], finite.
    y : numpy.ndarray
        int32 [n], genre of each song.
    groups : sequence of str
        Artist of each song, [n]. The folds depend on genres, artists and seed alone, so they are the same for all
        vectors of the same songs.
    n_folds : int
        How many folds, of the songs and, for the choice of the penalty, of the training songs.
    seed : int
        Seed of the folds.

    Returns
    -------
    numpy.ndarray
        float64 [n]: 1 where the genre is named right, 0 where wrong, NaN where the song could not be tested, as its
        genre has no song by another artist.

    Raises
    ------
    ModelError
        No genre has as many songs as there are folds.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.repeat(np.arange(2, dtype=np.int32), 6)
    >>> X = np.column_stack([y + 0.1 * np.arange(12) % 0.3, np.ones(12)])
    >>> float(probe(X, y, [f"artist {i // 2}" for i in range(12)]).mean())
    1.0
    """
    names = np.asarray(groups)
    hits = np.full(len(y), np.nan)
    for learn, test in folds(y, list(groups), n_folds, seed):
        if test.any():
            rows = np.flatnonzero(learn)
            penalty = _penalty(X[rows], y[rows], names[rows], n_folds, seed)
            hits[test] = _fit(X[rows], y[rows], names[rows], penalty).predict(X[test]) == y[test]
    return hits


def _penalty(X: Array, y: NDArray[np.int32], groups: Array, n_folds: int, seed: int) -> float:
    """Return the C by which the songs of inner folds are named best."""
    right = np.zeros(len(STRENGTHS))
    n_folds = min(n_folds, int(np.bincount(y).max()), len(set(groups.tolist())))
    if n_folds < 2:
        return STRENGTHS[0]
    for learn, test in folds(y, groups.tolist(), n_folds, seed):
        if test.any():
            fitted = [_fit(X[learn], y[learn], groups[learn], c).predict(X[test]) for c in STRENGTHS]
            right += [(named == y[test]).sum() for named in fitted]
    return STRENGTHS[int(right.argmax())]


def _fit(X: Array, y: NDArray[np.int32], groups: Array, c: float) -> "Pipeline":
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=MAX_ITERATIONS, tol=1e-3))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")  # one that converges slowly is worse, and shows it
        return model.fit(X, y, logisticregression__sample_weight=song_weights(y, groups.tolist()))
