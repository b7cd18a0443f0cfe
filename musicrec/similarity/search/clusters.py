"""Clusters of songs, and an order of songs in which similar ones stand near each other."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.similarity.search.bounds import Projection, Vectors

Matrix = NDArray[np.float32]

ROUNDS = 4
SAMPLE_PER_CLUSTER = 40
BLOCK_ROWS, AT_ONCE = 8192, 512


class Clusters(NamedTuple):
    """Clusters of songs; each is followed by the nearest one that is left."""

    centres: Matrix  # [clusters, p]
    order: NDArray[np.int64]  # [N]: row numbers, cluster by cluster
    starts: NDArray[np.int64]  # [clusters + 1]: where each cluster starts in the order, and where the last one ends


def cluster(projection: Projection, given: Vectors, n_clusters: int | None = None) -> Clusters:
    """Cluster songs by k-means on a sample; by default into half the square root of their number."""
    found = centres(projection, given, n_clusters or max(1, int(len(given.values) ** 0.5 / 2)))
    labels = assign(projection, given, found)
    order = np.argsort(labels, kind="stable")
    return Clusters(found, order, np.searchsorted(labels[order], np.arange(len(found) + 1)))


def centres(projection: Projection, given: Vectors, n_clusters: int, seed: int = 0) -> Matrix:
    """Return the centres [clusters, p] of a k-means on a sample of songs, in a chain of nearest neighbours."""
    n_songs = len(given.values)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(n_songs, min(n_songs, n_clusters * SAMPLE_PER_CLUSTER), replace=False))
    sample = projection.coordinates(given.rows(rows))
    found = sample[rng.permutation(len(sample))[:n_clusters]]
    for _ in range(ROUNDS):
        label = _nearest(sample, found)
        order = np.argsort(label, kind="stable")
        seen, starts = np.unique(label[order], return_index=True)
        found[seen] = np.add.reduceat(sample[order], starts, axis=0) / np.diff([*starts, len(order)])[:, None]
    return found[_chain(found)]


def assign(projection: Projection, given: Vectors, cluster_centres: Matrix) -> NDArray[np.int64]:
    """Return the cluster of every song."""
    n_songs = len(given.values)
    blocks = (slice(first, first + BLOCK_ROWS) for first in range(0, n_songs, BLOCK_ROWS))
    return np.concatenate([_nearest(projection.coordinates(given.rows(block)), cluster_centres) for block in blocks])


def _nearest(points: Matrix, targets: Matrix) -> NDArray[np.int64]:
    """Return the row of the nearest target for each point; in small blocks, whose products stay in the cache."""
    weights = np.concatenate([targets, -0.5 * np.einsum("ij,ij->i", targets, targets)[:, None]], axis=1).T
    ones = np.ones((len(points), 1), np.float32)
    extended = np.concatenate([points, ones], axis=1)
    nearest = np.empty(len(points), np.int64)
    for first in range(0, len(points), AT_ONCE):
        block = slice(first, first + AT_ONCE)
        nearest[block] = np.argmax(extended[block] @ weights, axis=1)
    return nearest


def _chain(points: Matrix) -> list[int]:
    distances = -2 * points @ points.T + np.einsum("ij,ij->i", points, points)
    chain, left = [0], np.ones(len(points), bool)
    left[0] = False
    while left.any():
        chain.append(int(np.argmin(np.where(left, distances[chain[-1]], np.inf))))
        left[chain[-1]] = False
    return chain
