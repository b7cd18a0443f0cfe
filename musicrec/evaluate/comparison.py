"""Whether one model is better than another on the same songs, or only luckier."""

import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from musicrec.evaluate.classification import Accuracy, accuracy


class McNemar(NamedTuple):
    """How many songs only one of two models names right, the mean over pairs of runs, and the exact p-value."""

    only_first: float
    only_second: float
    p: float


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """Do the exact McNemar test of two models on the same songs.

    Every run of one model is tested against every run of the other: adding up runs would count songs several times,
    and a majority vote of runs would judge an ensemble that nobody has. Twice the median of these p-values is a p-value
    itself, however they depend on each other (Rüger 1978). With one run each it is the usual McNemar test.

    The test takes songs to be independent, but those of one artist are not: see :func:`difference` too.

    Parameters
    ----------
    first, second : array_like
        1 where a song was named right, 0 where wrong; [n_songs] or [n_seeds, n_songs], with seeds in any number.
    """
    a, b = (np.atleast_2d(np.asarray(hits, np.float64)) for hits in (first, second))
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{a.shape[1]} songs of one model, {b.shape[1]} of the other; expected the same songs")
    only_first, only_second = a @ (1 - b).T, (1 - a) @ b.T
    fewer, differing = np.minimum(only_first, only_second), only_first + only_second
    from scipy import stats  # takes a second to import, and every run imports this module

    p = np.minimum(1, 2 * stats.binom.cdf(fewer, differing, 0.5))
    combined = min(1.0, 2 * float(np.median(p))) if p.size > 1 else float(p.item())
    return McNemar(float(only_first.mean()), float(only_second.mean()), combined)


def difference(first: ArrayLike, second: ArrayLike, groups: ArrayLike | None = None, seed: int = 0) -> Accuracy:
    """Return the accuracy of one model minus that of another on the same songs, with a paired bootstrap over artists.

    Parameters
    ----------
    first, second : array_like
        As for :func:`mcnemar`; a song counts once, by its mean over seeds.
    groups : array_like, optional
        Artist of each song, [n_songs].
    seed : int
        Seed of the draws.
    """
    a, b = (np.atleast_2d(np.asarray(hits, np.float64)).mean(axis=0) for hits in (first, second))
    return accuracy(a - b, groups, seed)


class Paired(NamedTuple):
    """A figure of two things that were judged on the same songs, and the second minus the first."""

    first: Accuracy
    second: Accuracy
    difference: Accuracy


def paired(first: ArrayLike, second: ArrayLike, groups: ArrayLike) -> Paired | None:
    """Compare a figure of each song by two ways; all three intervals come from the same draws of artists.

    Parameters
    ----------
    first, second : array_like
        [n_songs], NaN where a song could not be judged. Songs that both have judged count.
    groups : array_like
        Artist of each song, [n_songs].

    Returns
    -------
    Paired or None
        None if no song was judged by both.

    Examples
    --------
    >>> found = paired([1, 0, 0, np.nan], [1, 1, 0, 1], ["Ann", "Ben", "Cid", "Dee"])
    >>> round(found.first.mean, 3), round(found.difference.mean, 3)
    (0.333, 0.333)
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    judged = ~np.isnan(a) & ~np.isnan(b)
    if not judged.any():
        return None
    artists = np.asarray(groups)[judged]
    return Paired(*(accuracy(figures[judged], artists) for figures in (a, b, b - a)))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Raise the p-values of several tests so that together they err no more often than one (Holm 1979)."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    raised = np.empty(len(p))
    raised[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return raised


def hits_of(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return 1 where a song was named right, 0 where wrong; a row for each seed, a column for each song.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Columns of ``musicrec.schemas.EVALUATION``, of one model and split. Songs that a seed does not
        test are left out.
    """
    hit = (predictions["genre"] == predictions["predicted"]).astype(np.float64)
    table = predictions.assign(hit=hit).pivot(index="seed", columns="track_id", values="hit")
    return table.dropna(axis="columns")


def compare(predictions: pd.DataFrame, groups: pd.Series) -> pd.DataFrame:
    """Compare every two models on the songs that both were tested on.

    Parameters
    ----------
    predictions : pandas.DataFrame
        Columns of ``musicrec.schemas.EVALUATION``, of one split.
    groups : pandas.Series
        Artist by track id.

    Returns
    -------
    pandas.DataFrame
        Columns ``first``, ``second``, ``difference`` in accuracy, its 95 % interval ``low`` to ``high`` over artists,
        ``only_first``, ``only_second``, ``p`` of McNemar, ``p_holm`` and ``n_songs``.
    """
    hits = {str(model): hits_of(rows) for model, rows in predictions.groupby("model", sort=True)}
    rows = []
    for (first, a), (second, b) in itertools.combinations(hits.items(), 2):
        songs = a.columns.intersection(b.columns)
        if len(songs):
            apart = difference(a[songs], b[songs], groups.reindex(songs))
            rows.append((first, second, *apart[:3], *mcnemar(a[songs], b[songs]), len(songs)))
    names = ["first", "second", "difference", "low", "high", "only_first", "only_second", "p", "n_songs"]
    table = pd.DataFrame(rows, columns=names)
    table.insert(8, "p_holm", holm(table["p"]))
    return table
