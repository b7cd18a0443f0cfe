"""What a table of similar songs must satisfy before it is published, and the figures that describe it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import PublishError

Ids = NDArray[np.int32]
Scores = NDArray[np.float32]

NO_SONG = -1  # ends a list that is shorter than others; its score is -inf
BLOCK_ROWS = 16_384  # processed together: about ten MB at n = 50

LARGEST = float(np.finfo(np.float32).max)
SCORE_RANGE: dict[str, tuple[float, float]] = {
    "cosine": (-1.0, 1.0),
    "euclidean": (-np.inf, 0.0),
    "inner": (-LARGEST, LARGEST),
}


class Quality(NamedTuple):
    """How a table spreads its recommendations over the catalog. N_k of a song is the number of lists that it is in.

    Attributes
    ----------
    coverage : float
        Share of songs that are in at least one list.
    antihub_share : float
        Share of songs that are in no list.
    max_hub_share : float
        Share of all lists that the most frequent song is in.
    hub_skew : float
        Skewness of N_k (Radovanović, Nanopoulos, Ivanović: JMLR 11, 2010).
    robin_hood : float
        Σ|N_k - k| / 2k(N - 1): the share of all entries that would have to go to other songs for all N_k to be equal.

    Examples
    --------
    >>> import numpy as np
    >>> from musicrec.similarity import quality
    >>> figures = quality(np.array([[1], [0], [0], [0]], np.int32))  # all but one list hold song 0
    >>> figures.coverage, figures.max_hub_share
    (0.5, 0.75)
    """

    coverage: float
    antihub_share: float
    max_hub_share: float
    hub_skew: float
    robin_hood: float


def check_lists(ids: Ids, scores: Scores, between: tuple[float, float]) -> int:
    """Check that every list ranks other songs, each of them once, by descending score within a range.

    Parameters
    ----------
    ids : numpy.ndarray
        int32 [N, n], row numbers; a list with fewer than n songs ends in -1.
    scores : numpy.ndarray
        float32 [N, n]; -inf where there is no song.
    between : tuple of float
        Lowest and highest possible score.

    Returns
    -------
    int
        Number of lists that have fewer than n songs.

    Raises
    ------
    PublishError
        A list is wrong. The message says which, in what way, and how many such lists there are.

    Examples
    --------
    >>> import numpy as np
    >>> ids, scores = np.array([[1], [0], [-1]], np.int32), np.array([[0.9], [0.9], [-np.inf]], np.float32)
    >>> check_lists(ids, scores, (-1.0, 1.0))
    1
    """
    short = 0
    first: dict[str, int] = {}
    lists: dict[str, int] = {}
    for start in range(0, len(ids), BLOCK_ROWS):
        block = np.asarray(ids[start : start + BLOCK_ROWS])
        for fault, rows in _faults(block, np.asarray(scores[start : start + BLOCK_ROWS]), between, start, len(ids)):
            if rows.any():
                first.setdefault(fault, start + int(rows.argmax()))
                lists[fault] = lists.get(fault, 0) + int(rows.sum())
        short += int((block == NO_SONG).any(axis=1).sum())
    for fault, row in first.items():
        raise PublishError(f"similar: the list of row {row} {fault} ({lists[fault]} such lists)")
    return short


def _faults(
    ids: Ids, scores: Scores, between: tuple[float, float], start: int, n_songs: int
) -> Iterator[tuple[str, Any]]:
    """Iterate over the faults that a list can have, each with which of the lists from row `start` on have it."""
    low, high = between
    is_song = ids != NO_SONG
    ordered = np.sort(ids, axis=1)
    in_range = np.where(is_song, (scores >= low) & (scores <= high), scores == -np.inf)
    yield "names a song that does not exist", (is_song & ((ids < 0) | (ids >= n_songs))).any(axis=1)
    yield "recommends the song itself", (ids == np.arange(start, start + len(ids))[:, None]).any(axis=1)
    yield "repeats a song", ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_SONG)).any(axis=1)
    yield "has no song before its last one", (~is_song[:, :-1] & is_song[:, 1:]).any(axis=1)
    yield "has a score out of range", ~in_range.all(axis=1)
    yield "is not in order of score", (scores[:, 1:] > scores[:, :-1]).any(axis=1)


def quality(ids: Ids, n_songs: int | None = None) -> Quality:
    """Return coverage and hubness of lists; k is their mean length.

    The skewness is 0 if all songs are in the same number of lists, and if all lists are empty.

    Parameters
    ----------
    ids : numpy.ndarray
        int32 [rows, k], row numbers; -1 after the end of a list.
    n_songs : int, optional
        Number of songs that can be in a list; by default, the number of lists.

    Returns
    -------
    Quality
        The figures.

    Examples
    --------
    >>> import numpy as np
    >>> quality(np.array([[1], [0], [0], [0]], np.int32)).antihub_share
    0.5
    """
    counts = occurrences(ids, n_songs).astype(np.float64)
    if not counts.any():
        return Quality(0.0, 1.0, 0.0, 0.0, 0.0)
    mean, spread = counts.mean(), counts.std()
    covered = float((counts > 0).mean())
    return Quality(
        coverage=covered,
        antihub_share=1.0 - covered,
        max_hub_share=float(counts.max() / len(ids)),
        hub_skew=float((((counts - mean) / spread) ** 3).mean()) if spread > 0 else 0.0,
        robin_hood=float(np.abs(counts - mean).sum() / (2 * mean * max(1, len(counts) - 1))),
    )


def occurrences(ids: Ids, n_songs: int | None = None) -> NDArray[np.int64]:
    """Return in how many lists each song is, int [n_songs].

    Parameters
    ----------
    ids : numpy.ndarray
        int32 [rows, k], row numbers; ``NO_SONG`` after the end of a list.
    n_songs : int, optional
        Number of songs that can be in a list; by default, the number of lists.
    """
    counts = np.zeros((len(ids) if n_songs is None else n_songs) + 1, np.int64)
    for start in range(0, len(ids), BLOCK_ROWS):
        counts += np.bincount(ids[start : start + BLOCK_ROWS].ravel() + 1, minlength=len(counts))
    return counts[1:]  # the first one counts the places without a song


def churn(before: Ids, now: Ids, rows_before: NDArray[np.integer[Any]]) -> float | None:
    """Return how much the lists have changed: the mean share of a song's list that was not in its list before.

    Parameters
    ----------
    before, now : numpy.ndarray
        int32 [N0, n0] and [N, n], row numbers of two tables; -1 after the end of a list. `before` is read in blocks,
        so it may be mapped.
    rows_before : numpy.ndarray
        int [N]: the row that each song of `now` has in `before`; -1 if it is new.

    Returns
    -------
    float or None
        Mean over the songs that both tables have; None if there is no such song.

    Examples
    --------
    >>> import numpy as np
    >>> before, now = np.array([[1], [0], [0]], np.int32), np.array([[1], [2], [0]], np.int32)
    >>> round(churn(before, now, np.arange(3)), 3)
    0.333
    """
    common = np.flatnonzero(rows_before >= 0)
    if not len(common):
        return None
    to_before = np.append(rows_before, -1).astype(np.int32)  # index -1 takes the last value, so -1 stays -1
    new = 0.0
    for start in range(0, len(common), BLOCK_ROWS):
        rows = common[start : start + BLOCK_ROWS]
        both = np.concatenate([to_before[now[rows]], before[rows_before[rows]]], axis=1)
        both.sort(axis=1)  # a list names a song once, so a pair of equal numbers is in both lists
        kept = ((both[:, 1:] == both[:, :-1]) & (both[:, 1:] >= 0)).sum(axis=1)
        length = (now[rows] != NO_SONG).sum(axis=1)
        new += float(((length - kept) / np.maximum(length, 1)).sum())
    return new / len(common)
