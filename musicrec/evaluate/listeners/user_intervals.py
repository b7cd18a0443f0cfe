"""Means over listeners with their intervals, and tests of one method against another on the same listeners."""

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.evaluate.bootstrap import RESAMPLES, interval
from musicrec.evaluate.comparison import holm

Figures = NDArray[np.float64]

CELLS = 8_000_000  # draws in memory at once


class Mean(NamedTuple):
    """A mean over listeners, its 95 % bootstrap interval, and over how many listeners it is."""

    mean: float
    low: float
    high: float
    n: int


def means(figures: Figures, seed: int = 0) -> list[Mean]:
    """Return the mean of each column; all intervals come from the same draws of listeners.

    Parameters
    ----------
    figures : numpy.ndarray
        float64 [n_users, n_figures], NaN where a listener could not be judged; such a listener does not count.
    seed : int
        Seed of the draws.

    Examples
    --------
    >>> import numpy as np
    >>> means(np.array([[1.0], [1.0], [np.nan]]))
    [Mean(mean=1.0, low=1.0, high=1.0, n=2)]
    """
    is_judged = ~np.isnan(figures)
    values = np.where(is_judged, figures, 0)
    drawn = np.concatenate([
        np.divide(draws @ values, n := draws @ is_judged, out=np.full(n.shape, np.nan), where=n > 0)
        for draws in _draws(len(figures), seed)
    ])  # fmt: skip
    n_judged = is_judged.sum(axis=0)
    mean = np.divide(values.sum(axis=0), n_judged, out=np.full(len(n_judged), np.nan), where=n_judged > 0)
    return [Mean(float(m), *interval(drawn[:, i]), int(n)) for i, (m, n) in enumerate(zip(mean, n_judged, strict=True))]


def _draws(n_users: int, seed: int) -> Iterator[Figures]:
    """Draw listeners with replacement: how often each is drawn, a block of draws at a time."""
    rng = np.random.default_rng(seed)
    at_once = max(1, CELLS // max(1, n_users))
    for start in range(0, RESAMPLES, at_once):
        n = min(at_once, RESAMPLES - start)
        yield rng.multinomial(n_users, np.full(n_users, 1 / n_users), n).astype(np.float64)


class Difference(NamedTuple):
    """A figure of one method minus that of another on the same listeners, with the paired t-test."""

    first: str
    second: str
    difference: Mean  # first minus second
    p: float  # two-sided; 1 if all differences are 0
    p_holm: float  # corrected for the number of pairs


def paired_tests(figures: Mapping[str, Figures], seed: int = 0) -> list[Difference]:
    """Compare each method with each other by the paired t-test, corrected by Holm for the number of pairs.

    Parameters
    ----------
    figures : mapping of str to numpy.ndarray
        A figure of each listener by each method, float64 [n_users]; listeners whom both have judged count.
    seed : int
        Seed of the draws for the intervals of the differences.

    Returns
    -------
    list of Difference
        A row for each pair, in the order of the methods.
    """
    pairs = list(itertools.combinations(figures, 2))
    if not pairs:
        return []
    apart = np.column_stack([figures[a] - figures[b] for a, b in pairs])
    p = np.array([_t_test(column[~np.isnan(column)]) for column in apart.T])
    rows = zip(pairs, means(apart, seed), p, holm(p), strict=True)
    return [Difference(a, b, mean, float(p), float(raised)) for (a, b), mean, p, raised in rows]


def _t_test(differences: Figures) -> float:
    from scipy import stats  # takes a second to import

    if len(differences) < 2 or not differences.any():
        return 1.0
    spread = differences.std(ddof=1)
    if spread == 0:
        return 0.0
    t = differences.mean() / (spread / np.sqrt(len(differences)))
    return float(2 * stats.t.sf(abs(t), len(differences) - 1))
