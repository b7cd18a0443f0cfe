"""Songs for somebody, by the songs one likes: what every song scores, the best of them, and centre songs.

Method 1 of the reference system is the cosine to the liked songs. Method 2 adds the agreement of genres,
λ·⟨p(genre | song), mean p(genre | liked songs)⟩. Sums are taken in float64 in one fixed order and rounded to float32
before songs are ranked, so that no score depends on how many songs are scored at once; of equal scores the smaller row
comes first.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.errors import ConfigError

Matrix = NDArray[np.float64]

POOLS = ("mean", "max")
BLOCK_ROWS = 512  # that stay in a core's cache


class Taste(NamedTuple):
    """The songs somebody likes, and how others are measured by them.

    Attributes
    ----------
    vectors : array-like
        [n_liked, d], finite.
    probabilities : array-like, optional
        Genre probabilities of the liked songs, [n_liked, n_genres]; with them it is Method 2.
    metric : {"cosine", "euclidean"}
        Similarity to a liked song: the cosine, or minus the Euclidean distance.
    pool : {"mean", "max"}
        Whether a song is as similar as it is to the liked songs on average, or to the nearest one.
    weight : float
        λ, of the agreement of genres.
    """

    vectors: ArrayLike
    probabilities: ArrayLike | None = None
    metric: str = "cosine"
    pool: str = "mean"
    weight: float = 1.0


def score(
    vectors: NDArray[np.floating], taste: Taste, probabilities: NDArray[np.floating] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """What songs score by a taste. Beside the result, memory holds a block of rows at a time.

    Parameters
    ----------
    vectors : numpy.ndarray
        [n, d], finite. A zero vector has cosine 0 with every other.
    taste : Taste
        Liked songs, one at least.
    probabilities : numpy.ndarray, optional
        Genre probabilities [n, n_genres] of the songs, where the taste has those of the liked ones.

    Returns
    -------
    scores : numpy.ndarray
        float32 [n], the larger the better.
    because : numpy.ndarray
        intp [n], for each song the row of the liked song that it is most similar to; of equal ones the first.

    Raises
    ------
    ConfigError
        The metric or the pool is unknown.
    ValueError
        Nothing is liked, or the taste has genre probabilities and the songs have none.
    """
    if taste.metric not in _METRICS:
        raise ConfigError(f"unknown metric {taste.metric!r}; expected one of {', '.join(_METRICS)}")
    if taste.pool not in POOLS:
        raise ConfigError(f"unknown pool {taste.pool!r}; expected one of {', '.join(POOLS)}")
    if not len(np.asarray(taste.vectors)):
        raise ValueError("a taste of no songs; expected one liked song at least")
    if taste.probabilities is not None and probabilities is None:
        raise ValueError("genre probabilities of the liked songs alone; expected those of the others too")
    prepare, similarity = _METRICS[taste.metric]
    liked = prepare(np.asarray(taste.vectors, np.float64))
    scores = np.empty(len(vectors), np.float32)
    because = np.empty(len(vectors), np.intp)
    for start in range(0, len(vectors), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        pooled, because[rows] = _pooled(prepare(np.asarray(vectors[rows], np.float64)), liked, similarity, taste.pool)
        if taste.probabilities is not None and probabilities is not None:
            pooled += taste.weight * _agreement(probabilities[rows], taste.probabilities)
        scores[rows] = pooled
    return scores, because


def best(
    scores: NDArray[np.float32], n: int, liked: ArrayLike, recordings: ArrayLike | None = None
) -> NDArray[np.intp]:
    """The songs to recommend: new ones, and of each recording one clip.

    Parameters
    ----------
    scores : numpy.ndarray
        [N]; a song of score -inf is no candidate.
    n : int
        How many; where there are fewer, all of them.
    liked : array-like
        Rows of the liked songs: neither they nor other clips of their recordings come back.
    recordings : array-like, optional
        int [N], which recording each song is all or a part of; each is its own by default.

    Returns
    -------
    numpy.ndarray
        intp [at most n], rows by descending score, then ascending row.
    """
    of = np.arange(len(scores)) if recordings is None else np.asarray(recordings)
    is_new = (scores > -np.inf) & ~np.isin(of, of[np.asarray(liked, np.intp)])
    rows = np.flatnonzero(is_new)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    _, first_clips = np.unique(of[rows], return_index=True)
    return rows[np.sort(first_clips)[:n]]


def medoid(vectors: ArrayLike) -> int:
    """Row whose mean cosine to the others is largest: the centre song of a genre.

    Parameters
    ----------
    vectors : array-like
        [n, d], finite, one row at least. Of equal rows the first.
    """
    unit = _unit_rows(np.asarray(vectors, np.float64))
    to_others = (unit * (unit.sum(axis=0) - unit)).sum(axis=1) / max(1, len(unit) - 1)
    return int(to_others.astype(np.float32).argmax())


def _pooled(
    songs: Matrix, liked: Matrix, similarity: Callable[[Matrix, Matrix], Matrix], pool: str
) -> tuple[Matrix, NDArray[np.intp]]:
    """Similarity of each song to the liked ones together, and which of them is the nearest."""
    nearest = np.full(len(songs), -np.inf)
    total = np.zeros(len(songs))
    because = np.zeros(len(songs), np.intp)
    for i, song in enumerate(liked):
        to_this = similarity(songs, song)
        because[to_this > nearest] = i
        np.maximum(nearest, to_this, out=nearest)
        total += to_this
    return nearest if pool == "max" else total / len(liked), because


def _agreement(probabilities: ArrayLike, liked: ArrayLike) -> Matrix:
    """Inner product of each song's genre probabilities with the liked songs' mean."""
    mean = np.asarray(liked, np.float64).mean(axis=0)
    agreement: Matrix = (np.asarray(probabilities, np.float64) * mean).sum(axis=1)
    return agreement


def _unit_rows(x: Matrix) -> Matrix:
    norm = np.sqrt((x * x).sum(axis=1, keepdims=True))
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)


def _cosine(songs: Matrix, song: Matrix) -> Matrix:
    return np.clip((songs * song).sum(axis=1), -1.0, 1.0)


def _minus_distance(songs: Matrix, song: Matrix) -> Matrix:
    return 0.0 - np.sqrt(((songs - song) ** 2).sum(axis=1))  # 0, not -0, for equal vectors


_METRICS: dict[str, tuple[Callable[[Matrix], Matrix], Callable[[Matrix, Matrix], Matrix]]] = {
    "cosine": (_unit_rows, _cosine),
    "euclidean": (lambda x: x, _minus_distance),
}
