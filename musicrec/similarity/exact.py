"""Exact top-N of every row against all rows, in a total order: score descending, then row number.

A blocked matrix product finds the candidates; their scores are then computed pair by pair in float64 by one fixed
order of summation, and rounded to float32 before they are ranked: scores that a reader sees as equal are ties. So the
result is the same for any block size, any split of the rows and either order of a pair.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.errors import ConfigError

Matrix = NDArray[np.float64]

BLOCK_ROWS = 256
PRODUCT_ERROR = 1e-11  # relative, of a float64 product of some thousand terms, with room to spare
ROUNDING_ERROR = 3e-7  # relative, of a float32 score or its square


class Metric(NamedTuple):
    """A similarity: how rows are prepared, a fast product to screen with, and the exact score of a row with some."""

    prepare: Callable[[Matrix], Matrix]
    screen: Callable[[Matrix, Matrix], Matrix]
    score: Callable[[Matrix, Matrix, float], Matrix]


def top_n(
    vectors: ArrayLike, n: int, metric: str = "cosine", *, rows: tuple[int, int] | None = None
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The `n` most similar rows of every row, itself excepted.

    Parameters
    ----------
    vectors : array-like
        [N, d], finite. A zero vector has cosine 0 with every other.
    n : int
        How many; where fewer other rows exist, all of them.
    metric : {"cosine", "euclidean"}
        The score is the cosine, in [-1, 1], or minus the Euclidean distance.
    rows : (int, int), optional
        Compute only the lists of rows start … stop-1.

    Returns
    -------
    ids : numpy.ndarray
        int32 [rows, min(n, N-1)], row numbers by descending score; equal scores by ascending row number.
    scores : numpy.ndarray
        float32, of the same shape.

    Raises
    ------
    ConfigError
        The metric is unknown or `n` is below 1.
    ValueError
        `vectors` is not a matrix or holds NaN or infinite values.
    """
    if metric not in METRICS:
        raise ConfigError(f"unknown metric {metric!r}; expected one of {', '.join(METRICS)}")
    if n < 1:
        raise ConfigError(f"n = {n}; expected at least 1 similar song")
    matrix = np.ascontiguousarray(vectors, np.float64)
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise ValueError(f"vectors of shape {matrix.shape}: expected a finite matrix [N, d]")
    prepare, screen, score = METRICS[metric]
    unit = _power_of_two(matrix)  # squares neither overflow nor vanish, and no bit of a score changes
    matrix = prepare(matrix / unit)
    product_error = PRODUCT_ERROR * float((matrix * matrix).sum(axis=1).max(initial=0.0))
    start, stop = rows or (0, len(matrix))
    n = max(0, min(n, len(matrix) - 1))
    ids = np.empty((stop - start, n), np.int32)
    scores = np.empty((stop - start, n), np.float32)
    for first in range(start, stop, BLOCK_ROWS) if n > 0 else ():
        block = slice(first, min(first + BLOCK_ROWS, stop))
        screened = screen(matrix[block], matrix)
        for row, approximate in zip(range(block.start, block.stop), screened, strict=True):
            approximate[row] = -np.inf
            nth = np.partition(approximate, -n)[-n]
            margin = 2 * (product_error + ROUNDING_ERROR * abs(nth))
            candidates = np.flatnonzero(approximate >= nth - margin)
            exact = score(matrix[row], matrix[candidates], unit).astype(np.float32)
            best = np.lexsort((candidates, -exact))[:n]
            ids[row - start], scores[row - start] = candidates[best], exact[best]
    return ids, scores


def _power_of_two(x: Matrix) -> float:
    """Power of two next to the largest magnitude."""
    _, exponent = np.frexp(np.abs(x).max(initial=0.0))
    return float(np.ldexp(1.0, exponent))


def _unit_rows(x: Matrix) -> Matrix:
    norm = np.sqrt((x * x).sum(axis=1, keepdims=True))
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)


def _cosine(a: Matrix, others: Matrix, unit: float) -> Matrix:
    return np.clip((others * a).sum(axis=1), -1.0, 1.0)


def _minus_squared_distance(block: Matrix, x: Matrix) -> Matrix:
    return 2 * (block @ x.T) - (x * x).sum(axis=1) - (block * block).sum(axis=1)[:, None]


def _minus_distance(a: Matrix, others: Matrix, unit: float) -> Matrix:
    return 0.0 - np.sqrt(((others - a) ** 2).sum(axis=1)) * unit  # 0, not -0, for equal vectors


METRICS = {
    "cosine": Metric(_unit_rows, lambda block, x: block @ x.T, _cosine),
    "euclidean": Metric(lambda x: x, _minus_squared_distance, _minus_distance),
}
