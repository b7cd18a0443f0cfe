"""Recommendations from liked songs: the score of every song, the best songs, and centre songs.

Method 1 of the reference system is the cosine to the liked songs. Method 2 adds the agreement of genres,
λ·⟨p(genre | song), mean p(genre | liked songs)⟩. Sums are taken in float64 in one fixed order, and rounded to float32
before songs are ranked. So no score depends on how many songs are scored at once. Songs with equal scores are ranked by
row number.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.errors import ConfigError

Matrix = NDArray[np.float64]

POOLS = ("mean", "max")
BLOCK_ROWS = 512  # so many fit in a core's cache


class Taste(NamedTuple):
    """The songs that a listener likes, and how other songs are compared with them.

    Parameters
    ----------
    vectors : array_like
        [n_liked, d], finite.
    probabilities : array_like, optional
        Genre probabilities of the liked songs, [n_liked, n_genres]. If they are given, scores are those of Method 2.
    metric : {"cosine", "euclidean"}
        Similarity to a liked song: the cosine, or minus the Euclidean distance.
    pool : {"mean", "max"}
        Mean similarity to all liked songs, or similarity to the nearest of them.
    weight : float
        λ, the weight of the agreement of genres.

    Examples
    --------
    >>> import numpy as np
    >>> from musicrec.similarity import Taste, score
    >>> taste = Taste([[1.0, 0.0], [0.0, 1.0]], pool="max")
    >>> score(np.array([[2.0, 0.0], [0.0, -1.0]]), taste)[0].tolist()
    [1.0, 0.0]
    """

    vectors: ArrayLike
    probabilities: ArrayLike | None = None
    metric: str = "cosine"
    pool: str = "mean"
    weight: float = 1.0


def score(
    vectors: NDArray[np.floating], taste: Taste, probabilities: NDArray[np.floating] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return the scores of songs by a taste. Besides the result, memory holds one block of rows at a time.

    Parameters
    ----------
    vectors : numpy.ndarray
        [n, d], finite. A zero vector has cosine 0 with every other.
    taste : Taste
        The liked songs, at least one.
    probabilities : numpy.ndarray, optional
        Genre probabilities of the songs, [n, n_genres]; needed if the taste has those of the liked songs.

    Returns
    -------
    scores : numpy.ndarray
        float32 [n]; a larger score is better.
    because : numpy.ndarray
        intp [n], for each song the row of the liked song that it is most similar to; the first of several equal ones.

    Raises
    ------
    ConfigError
        The metric or the pool is unknown.
    ValueError
        The taste has no songs, or it has genre probabilities and the songs have none.

    Examples
    --------
    >>> import numpy as np
    >>> songs = np.array([[1.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    >>> scores, because = score(songs, Taste(songs[:1]))
    >>> [round(s, 3) for s in scores.tolist()], because.tolist()
    ([1.0, 0.6, 0.0], [0, 0, 0])
    """
    if taste.metric not in _METRICS:
        raise ConfigError(f"unknown metric {taste.metric!r}; expected one of {', '.join(_METRICS)}")
    if taste.pool not in POOLS:
        raise ConfigError(f"unknown pool {taste.pool!r}; expected one of {', '.join(POOLS)}")
    if not len(np.asarray(taste.vectors)):
        raise ValueError("the taste has no songs; expected at least one liked song")
    if taste.probabilities is not None and probabilities is None:
        raise ValueError("only the liked songs have genre probabilities; expected those of the other songs too")
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
    """Return the songs to recommend: new songs, and only one clip of each recording.

    Parameters
    ----------
    scores : numpy.ndarray
        [N]; a song with score -inf is not a candidate.
    n : int
        Number of songs; fewer come back if there are fewer.
    liked : array_like
        Rows of the liked songs. They are left out, and so are other clips of their recordings.
    recordings : array_like, optional
        int [N], number of the recording that each song is a clip of; by default, each song is its own recording.

    Returns
    -------
    numpy.ndarray
        intp [≤ n], rows by descending score, then ascending row.

    Examples
    --------
    >>> import numpy as np
    >>> scores = np.array([1.0, 0.5, 0.9, 0.8], np.float32)
    >>> best(scores, n=2, liked=[0], recordings=[0, 1, 2, 2]).tolist()  # songs 2 and 3 are one recording
    [2, 1]
    """
    recording_of = np.arange(len(scores)) if recordings is None else np.asarray(recordings)
    is_new = (scores > -np.inf) & ~np.isin(recording_of, recording_of[np.asarray(liked, np.intp)])
    rows = np.flatnonzero(is_new)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    _, first_clips = np.unique(recording_of[rows], return_index=True)
    return rows[np.sort(first_clips)[:n]]


def medoid(vectors: ArrayLike) -> int:
    """Return the row whose mean cosine to the others is largest, such as the centre song of a genre.

    Parameters
    ----------
    vectors : array_like
        [n, d], finite, at least one row.

    Returns
    -------
    int
        Row number; the first of several equal ones.

    Examples
    --------
    >>> medoid([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    1
    """
    unit = _unit_rows(np.asarray(vectors, np.float64))
    to_others = (unit * (unit.sum(axis=0) - unit)).sum(axis=1) / max(1, len(unit) - 1)
    return int(to_others.astype(np.float32).argmax())


def _pooled(
    songs: Matrix, liked: Matrix, similarity: Callable[[Matrix, Matrix], Matrix], pool: str
) -> tuple[Matrix, NDArray[np.intp]]:
    """Return the similarity of each song to the liked songs together, and which of them is the nearest."""
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
    """Return the inner product of each song's genre probabilities with the mean of the liked songs'."""
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
