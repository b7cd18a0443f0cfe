"""Remedies against hubs, songs that stand in the lists of all too many others.

They give each pair of a deeper list another score, and rank it anew. They hold a similarity against how similar
the two songs are to others in general:

- mutual proximity: against all others (Schnitzer, Flexer, Schedl, Widmer: "Local and global scaling reduce hubs in
  space", JMLR 13, 2012; normal distributions taken as independent),
- local scaling: against their nearest neighbours (there called NICDM, after Jégou, Schmid, Harzallah, Verbeek,
  "Accurate image search using the contextual dissimilarity measure", PAMI 32(1), 2010),
- CSLS: the same, as a difference (Conneau, Lample, Ranzato, Denoyer, Jégou, "Word translation without parallel data",
  ICLR 2018).

What lies beyond the deeper list is not looked at: its songs are ranked as if no other could come near.
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
from musicrec.similarity.search.exact import Lists

Ids = NDArray[np.int32]
Scores = NDArray[np.float32]
Array = NDArray[np.float64]

METHODS = "mutual_proximity", "local_scaling", "csls"
NEIGHBOURS = 10  # that are the neighbourhood of a song, as in both publications
BLOCK_ROWS = 65_536
ROUNDING = 1e-6  # relative, of scores: songs that are all equally similar have no spread to speak of
TINY = float(np.finfo(np.float64).tiny)

# --- statistics of a song -----------------------------------------------------------------------------------------


class Statistics(NamedTuple):
    """How similar each song is to others in general: float64 [n_songs], in 24 bits, which no order of sums changes."""

    centre: Array
    spread: Array


def statistics(method: str, vectors: ArrayLike, scores: Scores, *, metric: str = "cosine") -> Statistics:
    """What a method of :data:`METHODS` needs to know of every song.

    Parameters
    ----------
    method : str
        One of :data:`METHODS`.
    vectors : array_like
        [n_songs, d], finite. Mutual proximity looks at them, and at no list.
    scores : numpy.ndarray
        float32 [n_songs, k], of the lists of all songs; :data:`NEIGHBOURS` columns are enough. The others look at them.
    metric : {"cosine", "euclidean", "inner"}
        Of the scores.

    Raises
    ------
    ConfigError
        The method or the metric is unknown, or the metric is no distance and the method needs one.
    """
    _check(method, metric)
    if method == "mutual_proximity":
        mean, std = moments(vectors, metric)
        return Statistics(_rounded(mean), _rounded(std))
    near = np.asarray(scores[:, :NEIGHBOURS], np.float64)
    values = _distance(near, metric) if method == "local_scaling" else near
    known = np.isfinite(near)
    mean = np.where(known, values, 0.0).sum(axis=1) / np.maximum(1, known.sum(axis=1))
    if method == "local_scaling":  # songs with copies of themselves only around them are near to something too
        mean = np.maximum(mean, ROUNDING * mean.max(initial=0.0) + TINY)
    return Statistics(_rounded(mean), np.ones(len(near)))


def _rounded(x: Array) -> Array:
    """To as many bits as a float32 has, and to any size."""
    fraction, exponent = np.frexp(x)
    return np.ldexp(np.round(fraction * 2**24), exponent - 24)


def moments(vectors: ArrayLike, metric: str = "cosine") -> tuple[Array, Array]:
    """Mean and standard deviation of a song's similarity to all others, without a pass over pairs.

    A similarity is a product u·y of one vector of each song, and a number c of the first. So over all songs its mean is
    u·m + c and its variance uᵀCu, with mean m and covariance C of the vectors y; then the song itself is taken out.

    Parameters
    ----------
    vectors : array_like
        [n_songs, d], finite.
    metric : {"cosine", "euclidean", "inner"}
        Cosine, minus the *squared* Euclidean distance, of which this holds too, or inner product.

    Returns
    -------
    mean, std : numpy.ndarray
        float64 [n_songs]. A standard deviation is 1e-6 of the similarities at least, which is how exact they are.
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
    """Vectors u, y and numbers c of songs: u·y + c is the similarity of one song to another."""
    x = np.asarray(rows, np.float64)
    if metric != "euclidean":
        x = _unit_rows(x) if metric == "cosine" else x
        return _Factors(x, x, np.zeros(len(x)))
    x = x - middle  # no distance changes, and squares become smaller
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
    """The best `n` of deeper lists by a method of :data:`METHODS`; equal scores by row number.

    Parameters
    ----------
    lists : (numpy.ndarray, numpy.ndarray)
        int32 and float32 [rows, k], as of :func:`musicrec.similarity.top_n`; -1 where a list has no more.
    n : int
        How many.
    method : str
        One of :data:`METHODS`.
    of_songs : Statistics
        As :func:`statistics` gives them.
    metric : {"cosine", "euclidean", "inner"}
        Of the scores.
    rows : numpy.ndarray, optional
        Whose lists these are; of all songs, unless given.

    Returns
    -------
    Lists
        With scores as of :func:`rescored`.
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
    """New score of each pair, as :func:`rerank` ranks them; the same from either side.

    - mutual proximity: how many nines the probability has that two songs are closer than others are to either,
      -log₁₀(1 - P(s > S₁)·P(s > S₂)): 1 is 90 %, 2 is 99 %. Always above 0. The logarithm keeps apart what a float32
      next to 1 does not.
    - local scaling: minus the distance over the geometric mean of both songs' distances to their neighbours; a cosine's
      distance is that of unit vectors, √(2 - 2cos).
    - CSLS: twice the score, less both songs' mean scores with their neighbours.
    """
    _check(method, metric)
    ids, scores = lists
    own = np.arange(len(ids)) if rows is None else np.asarray(rows)
    values = np.asarray(scores, np.float64)
    here, there = own[:, None], np.maximum(ids, 0)
    centre, spread = of_songs
    with np.errstate(all="ignore"):  # where a list has no more
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
    """-log10(1 - Φ(z1)·Φ(z2)), to full precision wherever it is."""
    root = math.sqrt(0.5)
    tail1, tail2 = 0.5 * math.erfc(z1 * root), 0.5 * math.erfc(z2 * root)
    tail = tail1 + tail2 - tail1 * tail2
    if tail > 0.5:
        logarithm = math.log1p(-0.25 * math.erfc(-z1 * root) * math.erfc(-z2 * root))
    elif tail > 1e-290:
        logarithm = math.log(tail)
    else:  # too small for a number, so by its series; the product of two such tails is nothing beside them
        near, far = min(z1, z2), max(z1, z2)
        logarithm = _log_tail(near) + math.log1p(math.exp(_log_tail(far) - _log_tail(near)))
    return -logarithm / math.log(10.0)


@njit(cache=True)
def _log_tail(z: float) -> float:
    """log(1 - Φ(z)), of z from 30 on to 1e-8."""
    return -0.5 * z * z - math.log(z * math.sqrt(2 * math.pi)) + math.log1p(-1 / z**2 + 3 / z**4)


def _distance(scores: Array, metric: str) -> Array:
    return np.sqrt(np.maximum(0.0, 2.0 - 2.0 * scores)) if metric == "cosine" else -scores


def _check(method: str, metric: str) -> None:
    if method not in METHODS:
        raise ConfigError(f"unknown method against hubs {method!r}; expected one of {', '.join(METHODS)}")
    if metric not in SCORE_RANGE:
        raise ConfigError(f"unknown metric {metric!r}; expected one of {', '.join(SCORE_RANGE)}")
    if method == "local_scaling" and metric == "inner":
        raise ConfigError("local scaling needs a distance, which inner products have not; use cosine or euclidean")
