"""Exact top-N of every song against all songs, in a total order: score descending, then song number.

Each pair is compared once, a block of rows with a panel of columns at a time. A screen of short codes (:mod:`bounds`)
drops most pairs. The others are scored in float64 by one fixed order of summation, and rounded to float32 before they
are ranked, so scores that a reader sees as equal are ties. The result is the same for any screen, any block size, any
split of the rows and either order of a pair.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.errors import ConfigError
from musicrec.simd.lanes import LANES
from musicrec.similarity.search import bounds, candidates, codes, pairs
from musicrec.similarity.search.bounds import Projection, Vectors
from musicrec.similarity.search.candidates import CandidateLists
from musicrec.similarity.search.clusters import cluster
from musicrec.similarity.search.screens import DEVICE, PANEL, available
from musicrec.similarity.search.starting_limits import start_from_clusters

METRICS = {"cosine": candidates.COSINE, "euclidean": candidates.EUCLIDEAN, "inner": candidates.INNER}

BLOCK_ROWS = 768  # the codes of so many rows stay in a core's cache while they are compared with all columns
WINDOWS = (128, 512, 2048)  # similar songs are compared first: a list that starts with good candidates takes few others
PRODUCT_COLUMNS = 2048
FEW_ROWS, NEAR = 2048, 512  # with fewer rows, clustering does not pay; so many places before and after come first
LARGE = 2.0**40
ROOM_TO_GROW, SHARE_OF_PLACES = 1.25, 0.02  # times the length of the longest vector; share of places for new songs


class Lists(NamedTuple):
    """Lists of similar songs, best first.

    Attributes
    ----------
    ids : numpy.ndarray
        int32 [N, n], row numbers of the similar songs; -1 after the end of a shorter list.
    scores : numpy.ndarray
        float32 [N, n], their scores; -inf after the end of a shorter list.

    Examples
    --------
    >>> from musicrec.similarity import top_n
    >>> lists = top_n([[0.0], [1.0], [3.0]], 1, metric="euclidean")
    >>> lists.ids.tolist(), lists.scores.tolist()
    ([[1], [0], [1]], [[-1.0], [-1.0], [-2.0]])
    """

    ids: NDArray[np.int32]
    scores: NDArray[np.float32]


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


def check(n: int, metric: str, screen: str | None) -> str:
    """Return the name of the screen to use; ConfigError if `metric` or `screen` does not exist or `n` is below 1."""
    if metric not in METRICS:
        raise ConfigError(f"unknown metric {metric!r}; expected one of {', '.join(METRICS)}")
    if n < 1:
        raise ConfigError(f"n = {n}; expected at least 1 similar song")
    if screen not in (None, DEVICE, *available()):
        raise ConfigError(f"screen {screen!r}: this machine has {', '.join([*available(), DEVICE])}")
    return screen or available()[0]


def prepare(vectors: ArrayLike, metric: str) -> Vectors:
    """Return vectors as the kernels read them; ValueError unless they are a finite matrix."""
    matrix = padded(vectors)
    largest = candidates.largest_magnitude(matrix)
    if np.isinf(largest):
        raise ValueError(f"vectors of shape {np.shape(vectors)}: expected a finite matrix [N, d]")
    unit = float(np.ldexp(1.0, np.frexp(largest)[1]))  # a power of two
    if not 1 / LARGE < unit < LARGE:
        matrix = matrix.astype(np.float64) / unit  # no square overflows or underflows, and no score changes
    else:
        unit = 1.0
    inverse_norms = np.ones(len(matrix))
    if metric == "cosine":
        candidates.inverse_norms(matrix, inverse_norms)
    return Vectors(matrix, inverse_norms, unit)


def padded(vectors: ArrayLike) -> NDArray[Any]:
    """Return vectors as float32 or float64 [N, d], d a multiple of LANES; ValueError unless they are a matrix."""
    matrix = np.asarray(vectors)
    matrix = np.ascontiguousarray(matrix, np.float32 if matrix.dtype == np.float32 else np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"vectors of shape {matrix.shape}: expected a finite matrix [N, d]")
    width = max(LANES, -(-matrix.shape[1] // LANES) * LANES)
    return matrix if width == matrix.shape[1] else np.pad(matrix, ((0, 0), (0, width - matrix.shape[1])))


def empty(rows: int, n: int) -> Lists:
    """Return uninitialised lists."""
    return Lists(np.empty((rows, n), np.int32), np.empty((rows, n), np.float32))


# --- candidate lists --------------------------------------------------------------------------------------------------


def new_lists(projection: Projection, given: Vectors, songs: NDArray[np.int64], n: int) -> CandidateLists:
    """Return empty candidate lists of songs; number -1 is a free place.

    With `n` = 0 the songs get no lists of their own, and are only compared with others.
    """
    encoded = bounds.encode(projection, given)
    limits = np.full(len(encoded.offsets), candidates.MOST, encoded.offsets.dtype)
    lists = CandidateLists(
        *given[:2],
        songs,
        *encoded,
        codes.panels_of(encoded.codes, len(songs)),
        limits,
        np.full(len(songs), 0 if n else candidates.CLOSED, np.uint64),
        np.zeros(len(songs), np.int32),
        candidates.room(len(songs), n),
        n,
    )
    if n:
        candidates.set_limits(projection.scale, lists)
    vacant = np.flatnonzero(songs < 0)
    lists.offsets[vacant] = lists.starts[vacant] = 2 * candidates.NO_LIMIT
    lists.limits[vacant], lists.floors[vacant] = candidates.MOST, candidates.CLOSED
    return lists


def finish(projection: Projection, lists: CandidateLists, n_songs: int, n: int) -> Lists:
    """Return the `n` best candidates of each list, in the rows of the songs."""
    candidates.put_in_order(projection.scale, lists)
    return as_lists(lists, n_songs, n)


def as_lists(lists: CandidateLists, n_songs: int, n: int) -> Lists:
    """Return the `n` best candidates of sorted lists, in the rows of the songs."""
    done = empty(n_songs, n)
    candidates.read_out(lists, done.ids, done.scores)
    return done


# --- comparing --------------------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """Rows of some lists, and the columns they are compared with, which begin at a multiple of PANEL."""

    first: int
    last: int
    column: int
    end: int


def compare_blocks(
    projection: Projection, a: CandidateLists, b: CandidateLists, blocks: Iterable[Block], *, is_same: bool = False
) -> None:
    """Compare rows of `a` with columns of `b`. With `is_same`, `a` is `b`, and each pair is compared once."""
    available()  # each process has to ask for the permission to use tiles
    a, b = candidates.as_read(a), candidates.as_read(b)
    if projection.screen == DEVICE:
        from musicrec.similarity.search.gpu_screen import compare_on_gpu  # TensorFlow takes seconds to import

        compare_on_gpu(projection.scale, a, b, blocks, is_same=is_same)
    elif projection.screen == "product":
        _compare_products(projection, a, b, blocks, is_same)
    else:
        kernel = pairs.compare_amx if projection.screen == "amx" else pairs.compare_vnni
        for first, last, column, end in blocks:
            kernel(projection.scale, a, b, first, last, column // PANEL, -(-end // PANEL), is_same)


def _compare_products(
    projection: Projection, a: CandidateLists, b: CandidateLists, blocks: Iterable[Block], is_same: bool
) -> None:
    room = np.empty(BLOCK_ROWS * PRODUCT_COLUMNS, np.float32)  # allocating it anew takes as long as the product
    for block in blocks:
        for first, last in slices(block.first, block.last, BLOCK_ROWS):
            for start, stop in slices(block.column, -(-block.end // PANEL) * PANEL, PRODUCT_COLUMNS):
                products = room[: (last - first) * (stop - start)].reshape(last - first, stop - start)
                np.matmul(a.codes[first:last], b.codes[start:stop].T, out=products)
                pairs.compare_products(projection.scale, a, b, products, first, start, is_same)


def with_room(projection: Projection, order: NDArray[np.int64]) -> tuple[Projection, NDArray[np.int64]]:
    """Make room for new songs: a projection that fits longer vectors, and free places with the number -1."""
    longest = projection.longest * ROOM_TO_GROW
    if projection.metric == candidates.COSINE:  # bound for unit vectors minus the centre
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
    clusters = cluster(projection, given)
    order = clusters.order
    if can_grow:
        projection, order = with_room(projection, order)
    lists = new_lists(projection, given.rows(order), order, n)
    start_from_clusters(projection, lists, clusters.starts)
    for blocks in triangle(len(order)):
        candidates.tighten(projection.scale, lists)
        compare_blocks(projection, lists, lists, blocks, is_same=True)
    return projection, lists


def triangle(n_songs: int) -> Iterator[Iterator[Block]]:
    """Iterate over blocks that cover each pair once: within small windows, then within larger ones, then all others."""
    sizes = [0, *(size for size in WINDOWS if size < n_songs), n_songs]
    for inner, size in pairwise(sizes):
        yield (
            Block(*rows, last if inner else first, stop)
            for start, stop in slices(0, n_songs, size)
            for first, last in slices(start, stop, inner or size)
            for rows in slices(first, last, BLOCK_ROWS)
            if (last if inner else first) < stop
        )


def slices(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Iterate over (start, stop) of consecutive slices of one size."""
    return ((first, min(first + size, stop)) for first in range(start, stop, size))


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
