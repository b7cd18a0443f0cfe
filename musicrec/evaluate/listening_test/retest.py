"""Whether participants answer alike when they hear a song again."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from musicrec.evaluate.proportion import wilson


class Retest(NamedTuple):
    """Agreement of first and second answers.

    Attributes
    ----------
    n : int
        Number of songs that were answered twice.
    same, low, high : float
        Share of songs that were liked twice or twice not, in percent, and Wilson's 95 % interval.
    kappa : float
        Cohen's kappa: 0 if that is what chance would give, 1 if all are the same; NaN if all answers are.
    apart : float
        Mean distance of the two ratings.
    """

    n: int
    same: float
    low: float
    high: float
    kappa: float
    apart: float


def retest(likes: ArrayLike, likes_again: ArrayLike, ratings: ArrayLike, ratings_again: ArrayLike) -> Retest | None:
    """Return how alike the answers are.

    Parameters
    ----------
    likes, likes_again : array_like
        bool [n], the first and the second answer to each song.
    ratings, ratings_again : array_like
        [n], 0 to 100.

    Returns
    -------
    Retest or None
        None if no song was answered twice.

    Examples
    --------
    >>> found = retest([1, 1, 0, 0], [1, 0, 0, 0], [80, 60, 20, 30], [70, 45, 20, 35])
    >>> found.same, found.kappa, found.apart
    (75.0, 0.5, 7.5)
    """
    a, b = np.asarray(likes, np.bool_), np.asarray(likes_again, np.bool_)
    if not len(a):
        return None
    n_same = int((a == b).sum())
    by_chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    kappa = (n_same / len(a) - by_chance) / (1 - by_chance) if by_chance < 1 else np.nan
    apart = np.abs(np.asarray(ratings, np.float64) - np.asarray(ratings_again, np.float64)).mean()
    low, high = wilson(n_same, len(a))
    return Retest(len(a), 100 * n_same / len(a), 100 * low, 100 * high, float(kappa), float(apart))
