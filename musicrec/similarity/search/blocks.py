"""Vectors, lists and blocks of pairs: what every search compares, and how.

A screen of short codes (:mod:`bounds`) drops most pairs. The others are scored in float64 by one fixed order of
summation, and rounded to float32 before they are ranked, so scores that a reader sees as equal are ties.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.errors import ConfigError
from musicrec.simd.lanes import LANES
from musicrec.similarity.search import bounds, candidates, codes, pairs
from musicrec.similarity.search.bounds import Projection, Vectors
from musicrec.similarity.search.candidates import CandidateLists
from musicrec.similarity.search.score_keys import CLOSED, COSINE, EUCLIDEAN, INNER, MOST, NO_LIMIT
from musicrec.similarity.search.screens import DEVICE, PANEL, available

METRICS = {"cosine": COSINE, "euclidean": EUCLIDEAN, "inner": INNER}

BLOCK_ROWS = 768  # the codes of so many rows stay in a core's cache while they are compared with all columns
PRODUCT_COLUMNS = 2048
LARGE = 2.0**40
MOST_EXPONENT = 1023  # of a finite power of two


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
    unit = float(np.ldexp(1.0, min(np.frexp(largest)[1], MOST_EXPONENT)))  # a power of two
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
    matrix = as_matrix(vectors)
    width = _padded_width(matrix)
    return matrix if width == matrix.shape[1] else np.pad(matrix, ((0, 0), (0, width - matrix.shape[1])))


def as_matrix(vectors: ArrayLike) -> NDArray[Any]:
    """Return vectors as float32 or float64 [N, d]; ValueError unless they are a matrix."""
    matrix = np.asarray(vectors)
    matrix = np.ascontiguousarray(matrix, np.float32 if matrix.dtype == np.float32 else np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"vectors of shape {matrix.shape}: expected a finite matrix [N, d]")
    return matrix


def fits_width(matrix: NDArray[Any], of_before: NDArray[Any]) -> bool:
    """Return whether vectors would be as wide as padded ones, which hold nothing else where these are narrower."""
    d, width = matrix.shape[1], of_before.shape[1]
    return _padded_width(matrix) == width and not of_before[:, d:].any()


def _padded_width(matrix: NDArray[Any]) -> int:
    return max(LANES, -(-matrix.shape[1] // LANES) * LANES)


def empty(rows: int, n: int) -> Lists:
    """Return uninitialised lists."""
    return Lists(np.empty((rows, n), np.int32), np.empty((rows, n), np.float32))


# --- candidate lists --------------------------------------------------------------------------------------------------


def new_lists(projection: Projection, given: Vectors, songs: NDArray[np.int64], n: int) -> CandidateLists:
    """Return empty candidate lists of songs; number -1 is a free place.

    With `n` = 0 the songs get no lists of their own, and are only compared with others.
    """
    encoded = bounds.encode(projection, given)
    limits = np.full(len(encoded.offsets), MOST, encoded.offsets.dtype)
    lists = CandidateLists(
        *given[:2],
        songs,
        *encoded,
        codes.panels_of(encoded.codes, len(songs)),
        limits,
        np.full(len(songs), 0 if n else CLOSED, np.uint64),
        np.zeros(len(songs), np.int32),
        candidates.room(len(songs), n),
        n,
    )
    if n:
        candidates.set_limits(projection.scale, lists)
    vacant = np.flatnonzero(songs < 0)
    lists.offsets[vacant] = lists.starts[vacant] = 2 * NO_LIMIT
    lists.limits[vacant], lists.floors[vacant] = MOST, CLOSED
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


def slices(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Iterate over (start, stop) of consecutive slices of one size."""
    return ((first, min(first + size, stop)) for first in range(start, stop, size))
