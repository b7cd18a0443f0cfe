"""What a table of similar songs must satisfy before anyone sees it, and the figures that describe it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import PublishError

Ids = NDArray[np.int32]
Scores = NDArray[np.float32]

NO_SONG = -1  # ends a list that is shorter than others; its score is -inf
BLOCK_ROWS = 16_384  # looked at together: some ten MB at n = 50

LARGEST = float(np.finfo(np.float32).max)
SCORE_RANGE: dict[str, tuple[float, float]] = {
    "cosine": (-1.0, 1.0),
    "euclidean": (-np.inf, 0.0),
    "inner": (-LARGEST, LARGEST),
}


class Quality(NamedTuple):
    """How a table spreads its recommendations over the catalog; N_k of a song is in how many lists it stands."""

    coverage: float  # share of songs that stand in somebody's list
    antihub_share: float  # share of songs that stand in nobody's
    max_hub_share: float  # share of all lists the most frequent song stands in
    hub_skew: float  # skewness of N_k (Radovanović, Nanopoulos, Ivanović: JMLR 11, 2010)
    robin_hood: float  # Σ|N_k - k| / 2k(N - 1): share of all entries to hand over until all songs have as many


def check_lists(ids: Ids, scores: Scores, between: tuple[float, float]) -> int:
    """Raise PublishError unless every list is a ranking of other songs, each once, by falling score in range.

    Parameters
    ----------
    ids : numpy.ndarray
        int32 [N, n], row numbers; a list with fewer than n songs ends in ``NO_SONG``.
    scores : numpy.ndarray
        float32 [N, n]; -inf where there is no song.
    between : (float, float)
        Least and largest score that there can be.

    Returns
    -------
    int
        How many lists have fewer than n songs.
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
    """Each fault that a list can have, and which of the lists of rows `start` … have it."""
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
    """Coverage and hubness of lists, as ``occurrences`` counts them; k is their mean length.

    Songs that all stand in as many lists have skewness 0, and so has a catalog of which no list says anything.
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
    """In how many lists each song stands, int [n_songs].

    Parameters
    ----------
    ids : numpy.ndarray
        int32 [rows, k], row numbers; ``NO_SONG`` where a list has no more.
    n_songs : int, optional
        Songs that may stand in a list; as many as there are lists, unless given.
    """
    counts = np.zeros((len(ids) if n_songs is None else n_songs) + 1, np.int64)
    for start in range(0, len(ids), BLOCK_ROWS):
        counts += np.bincount(ids[start : start + BLOCK_ROWS].ravel() + 1, minlength=len(counts))
    return counts[1:]  # the first counted places without a song


def churn(before: Ids, now: Ids, rows_before: NDArray[np.integer[Any]]) -> float | None:
    """Mean share of a song's list that was not in its list before, over the songs of both; None without any.

    Parameters
    ----------
    before, now : numpy.ndarray
        int32 [N0, n0] and [N, n], row numbers of two tables; ``NO_SONG`` where a list has ended. `before` may be
        mapped: it is read in blocks.
    rows_before : numpy.ndarray
        Integers [N]: row that each song of `now` has in `before`; -1 if it is new.
    """
    common = np.flatnonzero(rows_before >= 0)
    if not len(common):
        return None
    to_before = np.append(rows_before, -1).astype(np.int32)  # no song stays no song: -1 takes the last one
    new = 0.0
    for start in range(0, len(common), BLOCK_ROWS):
        rows = common[start : start + BLOCK_ROWS]
        both = np.concatenate([to_before[now[rows]], before[rows_before[rows]]], axis=1)
        both.sort(axis=1)  # a list names a song once: what stands twice stands in both lists
        kept = ((both[:, 1:] == both[:, :-1]) & (both[:, 1:] >= 0)).sum(axis=1)
        length = (now[rows] != NO_SONG).sum(axis=1)
        new += float(((length - kept) / np.maximum(length, 1)).sum())
    return new / len(common)
