"""Where songs stand before a layout begins: the parts of the graph side by side, each unrolled by its own spectrum."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

VECTORS = 4  # that are iterated; those for the plane are the best of them
STEPS = 10  # along all edges, between two orthogonalisations
FEWEST_ROUNDS, MOST_ROUNDS = 4, 50  # of these
WORK = 500_000  # songs in all rounds: large parts are unrolled roughly, small ones well
FEWEST = 30  # songs of a part that is unrolled; fewer stand at random
TURN = np.pi * (3 - 5**0.5)  # the golden angle, by which each part is further round the centre


def start_places(graph: Any, seed: int) -> Float32:  # noqa: ANN401 - a sparse matrix
    """Return a place for each song: parts that no song joins do not overlap, and the largest is in the middle.

    Parameters
    ----------
    graph : scipy.sparse.csr_matrix
        [N, N], symmetric: how strongly two songs belong together, from 0 to 1.
    seed : int
        Of the draws.

    Returns
    -------
    numpy.ndarray
        float32 [N, 2].
    """
    from scipy.sparse.csgraph import connected_components

    rng = np.random.default_rng(seed)
    _, part = connected_components(graph, directed=False)
    rows = np.argsort(part, kind="stable")
    sizes = np.bincount(part)
    ends = np.cumsum(sizes)
    places = np.empty((len(part), 2))
    area = 0
    for number, of in enumerate(np.argsort(-sizes, kind="stable")):
        members = rows[ends[of] - sizes[of] : ends[of]]
        radius = sizes[of] ** 0.5
        away = (area**0.5 + radius) * (number > 0)
        centre = away * np.array([np.cos(number * TURN), np.sin(number * TURN)])
        places[members] = centre + radius * _unrolled(graph, members, rng)
        area += 2 * sizes[of]  # circles leave gaps
    return places.astype(np.float32)


def _unrolled(graph: Any, members: NDArray[np.integer[Any]], rng: np.random.Generator) -> Float32:  # noqa: ANN401
    """Return the places of the songs of one part, all over a square that a circle of radius 1 holds."""
    noise = rng.standard_normal((len(members), VECTORS), np.float32)
    if len(members) < FEWEST:
        return np.asarray(noise[:, :2] / 3, np.float32)
    whole = len(members) == graph.shape[0]
    plane = _smoothest(graph if whole else graph[members][:, members], noise)
    ranks = plane.argsort(axis=0, kind="stable").argsort(axis=0)  # few songs lie far out, most in a heap
    return np.asarray((2 * ranks / (len(ranks) - 1) - 1) / 2**0.5, np.float32)


def _smoothest(graph: Any, vectors: Float32) -> Float32:  # noqa: ANN401
    """Return the two vectors that change least along the edges of a connected graph, beside the constant one.

    They are found by subspace iteration, from the given vectors, and need not have converged: UMAP goes on from them.
    """
    degree = np.asarray(graph.sum(axis=1), np.float32).ravel()
    scale = 1 / np.sqrt(degree)[:, None]
    constant = np.sqrt(degree / degree.sum())[:, None]
    for _ in range(max(FEWEST_ROUNDS, min(MOST_ROUNDS, WORK // len(degree)))):
        for _ in range(STEPS):
            vectors = (vectors + scale * (graph @ (scale * vectors))) / 2
        vectors -= constant * (constant.T @ vectors)
        vectors, _ = np.linalg.qr(vectors)
    step = vectors.T @ (scale * (graph @ (scale * vectors)))
    _, mix = np.linalg.eigh((step + step.T) / 2)
    return np.asarray(scale * (vectors @ mix[:, -1:-3:-1]), np.float32)
