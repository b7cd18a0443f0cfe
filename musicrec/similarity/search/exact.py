"""Exact top-N of every song against all songs, in a total order: score descending, then song number.

Each pair is compared once, a block of rows with a panel of columns at a time. A screen of short codes (:mod:`bounds`)
drops most pairs. The others are scored in float64 by one fixed order of summation, and rounded to float32 before they
are ranked, so scores that a reader sees as equal are ties. The result is the same for any screen, any block size, any
split of the rows and either order of a pair.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.similarity.search import bounds, by_length
from musicrec.similarity.search.blocks import (
    BLOCK_ROWS,
    METRICS,
    Block,
    Lists,
    check,
    compare_blocks,
    empty,
    finish,
    new_lists,
    prepare,
    slices,
)
from musicrec.similarity.search.bounds import Projection, Vectors
from musicrec.similarity.search.candidates import CandidateLists
from musicrec.similarity.search.clusters import cluster
from musicrec.similarity.search.score_keys import COSINE
from musicrec.similarity.search.screens import PANEL
from musicrec.similarity.search.starting_limits import start_from_clusters
from musicrec.similarity.search.within import compare_within

FEW_ROWS, NEAR = 2048, 512  # with fewer rows, clustering does not pay; so many places before and after come first
ROOM_TO_GROW, SHARE_OF_PLACES = 1.25, 0.02  # times the length of the longest vector; share of places for new songs


def top_n(
    vectors: ArrayLike,
    n: int,
    metric: str = "cosine",
    *,
    rows: tuple[int, int] | NDArray[np.integer[Any]] | None = None,
    among: NDArray[np.integer[Any]] | None = None,
    screen: str | None = None,
) -> Lists:
    """Return the `n` most similar rows of every row, without the row itself.

    Parameters
    ----------
    vectors : array_like
        [N, d], finite; float32 is used as it is, any other type is converted to float64. A zero vector has cosine 0
        with every other.
    n : int
        Number of rows; fewer come back if there are fewer others.
    metric : {"cosine", "euclidean", "inner"}
        The score: the cosine, in [-1, 1]; minus the Euclidean distance; or the inner product.
    rows : tuple of int or numpy.ndarray, optional
        The rows whose lists are computed: (start, stop) or row numbers; all rows by default.
    among : numpy.ndarray, optional
        Row numbers of the rows that lists may hold, each once; all by default.
    screen : {"amx", "vnni", "product", "tensorflow"}, optional
        How pairs are screened: by default, the fastest way of this machine's processor; "tensorflow" uses a GPU. It
        does not change the result.

    Returns
    -------
    ids : numpy.ndarray
        int32 [rows, min(n, N-1)], row numbers by descending score; equal scores by ascending row number. With `among`,
        [rows, min(n, N-1, len(among))], and -1 at the end where there are no more.
    scores : numpy.ndarray
        float32, of the same shape; -inf at the end where there are no more.

    Raises
    ------
    ConfigError
        The metric or the screen is unknown, or `n` is below 1.
    ValueError
        `vectors` is not a matrix, or it holds NaN or infinite values.

    Examples
    --------
    >>> ids, scores = top_n([[1.0, 0.0], [3.0, 4.0], [0.0, 1.0]], 1)
    >>> ids.ravel().tolist(), [round(s, 3) for s in scores.ravel().tolist()]
    ([1, 2, 1], [0.6, 0.8, 0.8])
    """
    screen = check(n, metric, screen)
    given = prepare(vectors, metric)
    n = max(0, min(n, len(given.values) - 1))
    wanted = np.arange(*rows) if isinstance(rows, tuple) else rows
    if among is not None:
        n, wanted = min(n, len(among)), np.arange(len(given.values)) if wanted is None else wanted
    if n == 0:
        return empty(len(given.values) if wanted is None else len(wanted), 0)
    if wanted is None:
        return finish(*all_pairs(given, n, METRICS[metric], screen), len(given.values), n)
    return _some_rows(given, n, METRICS[metric], screen, np.asarray(wanted, np.int64), among=among)


def with_room(projection: Projection, order: NDArray[np.int64]) -> tuple[Projection, NDArray[np.int64]]:
    """Make room for new songs: a projection that fits longer vectors, and free places with the number -1."""
    longest = projection.longest * ROOM_TO_GROW
    if projection.metric == COSINE:  # bound for unit vectors minus the centre
        longest = max(projection.longest, min(longest, 1.0 + float(np.linalg.norm(projection.centre))))
    vacant = np.full(int(len(order) * SHARE_OF_PLACES) + PANEL, -1)
    return projection._replace(longest=longest), np.concatenate([order, vacant])


def all_pairs(
    given: Vectors, n: int, metric: int, screen: str, *, can_grow: bool = False
) -> tuple[Projection, CandidateLists]:
    """Compare all songs with each other; return their candidate lists of `n`, not sorted yet.

    With `can_grow`, there is room for new songs: free places, and codes that fit longer vectors.
    """
    projection = bounds.fit(given, metric, n, screen)
    levels, starts = None, np.empty(0, np.int64)
    if by_length.differ_much(given, metric):
        levels = by_length.levels_of(given, np.arange(len(given.values)), n, metric, screen)
        order = by_length.places_of(levels)
    else:
        _, order, starts = cluster(projection, given)
    if can_grow:
        projection, order = with_room(projection, order)
    lists = new_lists(projection, given.rows(order), order, n)
    if levels:
        by_length.fill_all(lists, given.rows(order), levels, projection.scale)
    else:
        compare_within(projection, lists, starts)
    return projection, lists


def _some_rows(
    given: Vectors,
    n: int,
    metric: int,
    screen: str,
    rows: NDArray[np.int64],
    *,
    among: NDArray[np.integer[Any]] | None,
) -> Lists:
    projection = bounds.fit(given, metric, n, screen)
    if len(rows) < FEW_ROWS:
        order, starts = np.arange(len(given.values)), np.empty(0, np.int64)
    else:  # as in all_pairs: lists that start with similar songs take few others
        _, order, starts = cluster(projection, given)
    place = np.argsort(order)[rows]
    by_place = np.argsort(place, kind="stable")
    places = place[by_place]
    a = new_lists(projection, given.rows(rows[by_place]), rows[by_place], n)
    if among is None and by_length.differ_much(given, metric):
        levels = by_length.levels_of(given, np.arange(len(given.values)), n, metric, screen)
        by_length.fill(a, given.rows(rows[by_place]), levels, projection.scale)
        return finish(projection, a._replace(songs=by_place), len(rows), n)
    if among is not None:
        chosen = np.flatnonzero(np.isin(order, among))
        order, places = order[chosen], np.searchsorted(chosen, places)
    elif (np.diff(places) > 0).all():  # no song is asked for twice
        start_from_clusters(projection, a, np.searchsorted(places, starts))
    b = new_lists(projection, given.rows(order), order, 0)
    compare_blocks(projection, a, b, _near_first(places, len(order)))
    return finish(projection, a._replace(songs=by_place), len(rows), n)


def _near_first(places: NDArray[np.int64], n_songs: int) -> Iterator[Block]:
    """Iterate over blocks of rows, by place: each is compared with the songs around it first, then with all others."""
    for first, last in slices(0, len(places), BLOCK_ROWS):
        start = max(0, int(places[first]) - NEAR) // PANEL * PANEL
        stop = min(n_songs, (int(places[last - 1]) + NEAR) // PANEL * PANEL)
        for columns in ((start, stop), (0, start), (stop, n_songs)):
            if columns[0] < columns[1]:
                yield Block(first, last, *columns)
