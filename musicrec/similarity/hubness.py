"""Methods against hubs: songs that are in the lists of far too many others.

They give each pair of a deeper list a new score, and rank the list again. They compare the similarity of two songs with
how similar the two are to other songs in general:

- mutual proximity: to all others (Schnitzer, Flexer, Schedl, Widmer: "Local and global scaling reduce hubs in space",
  JMLR 13, 2012; with independent normal distributions),
- local scaling: to their nearest neighbours (called NICDM there, after Jégou, Schmid, Harzallah, Verbeek, "Accurate
  image search using the contextual dissimilarity measure", PAMI 32(1), 2010),
- CSLS: the same, as a difference (Conneau, Lample, Ranzato, Denoyer, Jégou, "Word translation without parallel data",
  ICLR 2018).

Songs beyond the deeper list are not considered, even if their new score would be high.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, vectorize
from numpy.typing import ArrayLike, NDArray

from musicrec.errors import ConfigError
from musicrec.similarity.feature_spaces import moments as moments_of_rows
from musicrec.similarity.list_quality import SCORE_RANGE
from musicrec.similarity.ranking import ranked
from musicrec.similarity.search.blocks import Lists

Ids = NDArray[np.int32]
Scores = NDArray[np.float32]
Array = NDArray[np.float64]

METHODS = "mutual_proximity", "local_scaling", "csls"
NEIGHBOURS = 10  # nearest neighbours of a song that count, as in both publications
BLOCK_ROWS = 65_536
ROUNDING = 1e-6  # relative rounding error of scores: a smaller spread is none
TINY = float(np.finfo(np.float64).tiny)

# --- statistics of a song -----------------------------------------------------------------------------------------


class Statistics(NamedTuple):
    """How similar each song is to others in general.

    Both are float64 [n_songs], rounded to 24 bits, so that they do not depend on the order of summation.
    """

    centre: Array
    spread: Array


def statistics(method: str, vectors: ArrayLike, scores: Scores, *, metric: str = "cosine") -> Statistics:
    """Return the statistics of all songs that a method against hubs needs.

    Parameters
    ----------
    method : {"mutual_proximity", "local_scaling", "csls"}
        Method against hubs. Mutual proximity uses `vectors`; the others use `scores`.
    vectors : array_like
        [n_songs, d], finite.
    scores : numpy.ndarray
        float32 [n_songs, k], of the lists of all songs; ten columns are enough.
    metric : {"cosine", "euclidean", "inner"}
        Metric of the scores.

    Returns
    -------
    Statistics
        Two numbers for each song, for :func:`rerank`.

    Raises
    ------
    ConfigError
        The method or the metric is unknown, or the method needs a distance and the metric is ``inner``.

    Examples
    --------
    >>> from musicrec.similarity import statistics, top_n
    >>> vectors = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    >>> lists = top_n(vectors, 2)
    >>> statistics("csls", vectors, lists.scores).centre.tolist()
    [0.0, 0.5, 0.5]
    """
    _check(method, metric)
    if method == "mutual_proximity":
        mean, std = moments(vectors, metric)
        return Statistics(_rounded(mean), _rounded(std))
    near = np.asarray(scores[:, :NEIGHBOURS], np.float64)
    values = _distance(near, metric) if method == "local_scaling" else near
    is_song = np.isfinite(near)
    mean = np.where(is_song, values, 0.0).sum(axis=1) / np.maximum(1, is_song.sum(axis=1))
    if method == "local_scaling":  # if all neighbours of a song are copies of it, the mean distance is 0
        mean = np.maximum(mean, ROUNDING * mean.max(initial=0.0) + TINY)
    return Statistics(_rounded(mean), np.ones(len(near)))


def _rounded(x: Array) -> Array:
    """Round to the precision of float32, but keep the range of float64."""
    fraction, exponent = np.frexp(x)
    return np.ldexp(np.round(fraction * 2**24), exponent - 24)


def moments(vectors: ArrayLike, metric: str = "cosine") -> tuple[Array, Array]:
    """Return mean and standard deviation of each song's similarity to all others, without comparing pairs.

    A similarity is u·y + c, with a vector u and a number c of the first song, and a vector y of the second. So over all
    songs its mean is u·m + c and its variance uᵀCu, where m and C are mean and covariance of the vectors y. Then the
    song itself is taken out.

    Parameters
    ----------
    vectors : array_like
        [n_songs, d], finite.
    metric : {"cosine", "euclidean", "inner"}
        Cosine, minus the *squared* Euclidean distance, which has the same form, or inner product.

    Returns
    -------
    mean, std : numpy.ndarray
        float64 [n_songs]. A standard deviation is at least 1e-6 of the similarities, which is their precision.
    """
    _check("mutual_proximity", metric)
    matrix = np.asarray(vectors)
    n = len(matrix)
    if n < 2:
        return np.zeros(n), np.ones(n)
    middle = matrix.mean(axis=0, dtype=np.float64)
    blocks = [slice(start, start + BLOCK_ROWS) for start in range(0, n, BLOCK_ROWS)]
    m, covariance = moments_of_rows(_factors(matrix[b], middle, metric).there for b in blocks)
    mean, std = np.empty(n), np.empty(n)
    for b in blocks:
        u, y, c = _factors(matrix[b], middle, metric)
        own = (u * y).sum(axis=1) + c
        among_all = u @ m + c
        variance = ((u @ covariance) * u).sum(axis=1)
        mean[b] = among_all + (among_all - own) / (n - 1)
        variance = np.maximum(0.0, variance - (own - among_all) ** 2 / (n - 1)) * n / (n - 1)
        std[b] = np.maximum(np.sqrt(variance), ROUNDING * np.maximum(np.abs(mean[b]), np.abs(own)) + TINY)
    return mean, std


class _Factors(NamedTuple):
    here: Array  # u
    there: Array  # y
    constant: Array  # c


def _factors(rows: NDArray[np.floating], middle: Array, metric: str) -> _Factors:
    """Return vectors u, y and numbers c of songs: u·y + c is the similarity of one song to another."""
    x = np.asarray(rows, np.float64)
    if metric != "euclidean":
        x = _unit_rows(x) if metric == "cosine" else x
        return _Factors(x, x, np.zeros(len(x)))
    x = x - middle  # distances stay the same, and squares become smaller
    square = (x * x).sum(axis=1, keepdims=True)
    return _Factors(np.hstack([2 * x, -np.ones_like(square)]), np.hstack([x, square]), -square[:, 0])


def _unit_rows(x: Array) -> Array:
    largest = np.abs(x).max(axis=1, keepdims=True, initial=0.0)
    x = np.divide(x, largest, out=np.zeros_like(x), where=largest > 0)  # squares neither overflow nor vanish
    norm = np.sqrt((x * x).sum(axis=1, keepdims=True))
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)


# --- ranking anew -------------------------------------------------------------------------------------------------


def rerank(
    lists: tuple[Ids, Scores],
    n: int,
    method: str,
    of_songs: Statistics,
    *,
    metric: str = "cosine",
    rows: NDArray[np.integer] | None = None,
) -> Lists:
    """Return the best `n` songs of deeper lists by a method against hubs.

    The new score depends on the method:

    - mutual proximity: -log₁₀(1 - P(s > S₁)·P(s > S₂)), where P is the probability that the similarity s of the two
      songs is above that of one of them to another song. It is always above 0: 1 is a product of 90 %, 2 of 99 %.
    - local scaling: minus the distance, divided by the geometric mean of both songs' mean distances to their
      neighbours. The distance of a cosine is that of unit vectors, √(2 - 2cos).
    - CSLS: twice the score, minus both songs' mean scores with their neighbours.

    Parameters
    ----------
    lists : tuple of numpy.ndarray
        int32 and float32 [rows, k], as :func:`musicrec.similarity.top_n` returns them; -1 after the end of a list.
    n : int
        Number of songs.
    method : {"mutual_proximity", "local_scaling", "csls"}
        Method against hubs.
    of_songs : Statistics
        Statistics of all songs, as :func:`statistics` returns them.
    metric : {"cosine", "euclidean", "inner"}
        Metric of the scores.
    rows : numpy.ndarray, optional
        Row numbers of the songs whose lists these are; all songs by default.

    Returns
    -------
    Lists
        int32 and float32 [rows, n], by descending new score, then ascending row number.

    Raises
    ------
    ConfigError
        As for :func:`statistics`.

    Examples
    --------
    >>> from musicrec.similarity import rerank, statistics, top_n
    >>> vectors = [[1.0, 0.0], [1.0, 0.5], [0.5, 1.0], [0.0, 1.0], [1.0, 0.4]]
    >>> lists = top_n(vectors, 4)
    >>> of_songs = statistics("csls", vectors, lists.scores)
    >>> lists.ids[:, 0].tolist(), rerank(lists, 1, "csls", of_songs).ids.ravel().tolist()
    ([4, 4, 3, 2, 1], [4, 4, 3, 2, 0])
    """
    return ranked(lists[0], rescored(lists, method, of_songs, metric=metric, rows=rows), n)


def rescored(
    lists: tuple[Ids, Scores],
    method: str,
    of_songs: Statistics,
    *,
    metric: str = "cosine",
    rows: NDArray[np.integer] | None = None,
) -> Scores:
    """Return the new score of each pair, as :func:`rerank` describes them; it is the same from either side.

    The logarithm of mutual proximity tells scores apart that a float32 close to 1 could not.
    """
    _check(method, metric)
    ids, scores = lists
    own = np.arange(len(ids)) if rows is None else np.asarray(rows)
    values = np.asarray(scores, np.float64)
    here, there = own[:, None], np.maximum(ids, 0)
    centre, spread = of_songs
    with np.errstate(all="ignore"):  # after the end of a list
        if method == "mutual_proximity":
            similarity = -values * values if metric == "euclidean" else values
            new = _nines((similarity - centre[here]) / spread[here], (similarity - centre[there]) / spread[there])
        elif method == "local_scaling":
            new = 0.0 - _distance(values, metric) / (np.sqrt(centre)[here] * np.sqrt(centre)[there])
        else:
            new = 2 * values - (centre[here] + centre[there])
        return np.where(ids >= 0, new, -np.inf).astype(np.float32)


@vectorize(cache=True)
def _nines(z1: float, z2: float) -> float:
    """Return -log10(1 - Φ(z1)·Φ(z2)), to full precision over its whole range."""
    root = math.sqrt(0.5)
    tail1, tail2 = 0.5 * math.erfc(z1 * root), 0.5 * math.erfc(z2 * root)
    tail = tail1 + tail2 - tail1 * tail2
    if tail > 0.5:
        logarithm = math.log1p(-0.25 * math.erfc(-z1 * root) * math.erfc(-z2 * root))
    elif tail > 1e-290:
        logarithm = math.log(tail)
    else:  # the tails underflow, so by their series; their product is negligible
        near, far = min(z1, z2), max(z1, z2)
        logarithm = _log_tail(near) + math.log1p(math.exp(_log_tail(far) - _log_tail(near)))
    return -logarithm / math.log(10.0)


@njit(cache=True)
def _log_tail(z: float) -> float:
    """Return log(1 - Φ(z)) for z of 30 and more, to 1e-8."""
    return -0.5 * z * z - math.log(z * math.sqrt(2 * math.pi)) + math.log1p(-1 / z**2 + 3 / z**4)


def _distance(scores: Array, metric: str) -> Array:
    return np.sqrt(np.maximum(0.0, 2.0 - 2.0 * scores)) if metric == "cosine" else -scores


def _check(method: str, metric: str) -> None:
    if method not in METHODS:
        raise ConfigError(f"unknown method against hubs {method!r}; expected one of {', '.join(METHODS)}")
    if metric not in SCORE_RANGE:
        raise ConfigError(f"unknown metric {metric!r}; expected one of {', '.join(SCORE_RANGE)}")
    if method == "local_scaling" and metric == "inner":
        raise ConfigError("local scaling needs a distance, and inner products have none; use cosine or euclidean")
