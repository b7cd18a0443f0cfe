"""Accuracy of models that name the genre: by folds, with an interval over songs or over artists."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.evaluate.bootstrap import draw_groups, interval

Fold = tuple[NDArray[np.intp], NDArray[np.intp]]  # rows to train on, rows to test


class Accuracy(NamedTuple):
    """A share of songs named right, and its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int  # songs tested, each counted once


def predict_folds(
    build: Callable[[int], Any], X: NDArray[Any], y: NDArray[Any], folds: Iterable[Fold]
) -> list[NDArray[np.float64]]:
    """Train a new model for each fold and test it on what the fold holds out.

    Parameters
    ----------
    build : callable
        Makes an untrained scikit-learn classifier for a number of training songs.
    X, y : numpy.ndarray
        Features [n, n_features] and genres [n].
    folds : iterable of (numpy.ndarray, numpy.ndarray)
        Rows to train on and rows to test.

    Returns
    -------
    list of numpy.ndarray
        For each fold, float [n]: 1 where a tested song was named right, 0 where wrong, NaN where it was not tested.
    """
    hits = []
    for learn, test in folds:
        named = build(len(learn)).fit(X[learn], y[learn]).predict(X[test])
        hit = np.full(len(y), np.nan)
        hit[test] = named == y[test]
        hits.append(hit)
    return hits


def accuracy(hits: ArrayLike, groups: ArrayLike | None = None, seed: int = 0) -> Accuracy:
    """Return the mean accuracy of folds or repeats, with a percentile bootstrap interval.

    A song that is tested several times counts once, by its mean: repeating a cross-validation adds no songs. The
    interval comes from resampled songs, or artists. It does not include the chance in training again.

    Parameters
    ----------
    hits : array_like
        [n_folds, n] as :func:`predict_folds` returns them; songs that no fold tests are left out.
    groups : array_like, optional
        Artist of each song, [n]; whole artists are drawn. Without it, songs are.
    seed : int
        Seed of the draws.

    Raises
    ------
    ValueError
        No song was tested.
    """
    all_hits = np.atleast_2d(np.asarray(hits, np.float64))
    tested = ~np.isnan(all_hits).all(axis=0)
    if not tested.any():
        raise ValueError("no song was tested; expected folds that hold songs out")
    per_song = np.nanmean(all_hits[:, tested], axis=0)
    names = np.arange(len(per_song)) if groups is None else np.asarray(groups)[tested]
    _, group = np.unique(names, return_inverse=True)
    right, songs = np.bincount(group, per_song), np.bincount(group)
    draws = draw_groups(len(songs), seed)
    low, high = interval((draws @ right) / (draws @ songs))
    return Accuracy(float(per_song.mean()), low, high, int(tested.sum()))
