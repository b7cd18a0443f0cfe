"""What lists and nights are measured by: the matrix product alone, and float64 brute force. NumPy is all they need."""

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

PROBE_S, PROBE_ROWS, PROBE_COLUMNS = 0.3, 512, 2048
BRUTE_ROWS = 32_768


class Product:
    """The float32 matrix product alone: a block of some vectors times block after block of the same vectors."""

    def __init__(self, vectors: Matrix) -> None:
        self._vectors, self._at = vectors, 0
        self._rows, self._columns = vectors[:PROBE_ROWS], min(PROBE_COLUMNS, len(vectors))
        self._out = np.empty((len(self._rows), self._columns), np.float32)

    def ns_per_pair(self) -> float:
        """Return the CPU nanoseconds of a pair at the present speed of this core."""
        blocks, started = 0, time.process_time()
        while (took := time.process_time() - started) < PROBE_S:
            np.matmul(self._rows, self._vectors[self._at : self._at + self._columns].T, out=self._out)
            following = self._at + self._columns
            self._at = following if following + self._columns <= len(self._vectors) else 0
            blocks += 1
        return took * 1e9 / (blocks * self._out.size)


class Exact(NamedTuple):
    """Lists, best first."""

    ids: NDArray[np.int32]  # [rows, n]
    scores: NDArray[np.float32]


def brute_force(vectors: Matrix, rows: NDArray[np.int64], n: int, metric: str = "cosine") -> Exact:
    """Return the lists of some rows: scores in float64, rounded to float32, sorted by score, then by row number."""
    of = as_compared(vectors[rows], metric)
    found = Exact(np.full((len(rows), n), -1, np.int32), np.full((len(rows), n), -np.inf, np.float32))
    for first in range(0, len(vectors), BRUTE_ROWS):
        block = as_compared(vectors[first : first + BRUTE_ROWS], metric)
        scores = exact_scores(of, block, metric).astype(np.float32)
        within = (rows >= first) & (rows < first + len(block))
        scores[np.flatnonzero(within), rows[within] - first] = -np.inf
        for ids, best, its in zip(*found, scores, strict=True):
            better = np.flatnonzero(its > best[-1])  # among equals, the rows of an earlier block come first
            together = np.concatenate([ids, first + better]), np.concatenate([best, its[better]])
            order = np.lexsort((together[0], -together[1]))[:n]
            ids[:], best[:] = together[0][order], together[1][order]
    return found


def exact_scores(a: NDArray[np.float64], b: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """Return the scores of all pairs [len(a), len(b)] of vectors as :func:`as_compared` gives them."""
    if metric == "euclidean":
        return np.stack([0 - np.sqrt(np.square(row - b).sum(axis=1)) for row in a])  # 0 for copies, not -0
    products: NDArray[np.float64] = a @ b.T
    return np.clip(products, -1, 1) if metric == "cosine" else products


def as_compared(vectors: Matrix, metric: str) -> NDArray[np.float64]:
    """Return vectors in float64, for the cosine of length 1."""
    songs = vectors.astype(np.float64)
    return songs / np.linalg.norm(songs, axis=1, keepdims=True) if metric == "cosine" else songs


def differing(a: Any, b: Any) -> int:  # noqa: ANN401 - lists of any version
    """Return how many lists differ: in an id, in the order, or in a bit of a score."""
    same = (a.ids == b.ids) & (a.scores.view(np.int32) == b.scores.view(np.int32))
    return int((~same.all(axis=1)).sum())
