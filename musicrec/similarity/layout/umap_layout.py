"""A layout of all songs in the plane, by UMAP, with the published lists as the nearest neighbours.

References
----------
L. McInnes, J. Healy, J. Melville: UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction. 2018.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ConfigError
from musicrec.similarity.layout.rim import on_rim
from musicrec.similarity.layout.start_places import start_places

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]

FEW_SONGS = 10_000
EPOCHS = {True: 500, False: 100}  # of few songs, of many
NEGATIVES = 5  # songs from which one moves away, for each that it moves towards
SPREAD = 1.0


def lay_out(
    ids: Int32, scores: Float32, track_ids: Sequence[str], *, neighbours: int, min_dist: float, seed: int
) -> Float32:
    """Return a place for each song, near the places of the songs in its list.

    Parameters
    ----------
    ids, scores : numpy.ndarray
        int32 and float32 [N, n]: rows and scores of the songs in each list, best first. A shorter list ends in rows -1.
    track_ids : sequence of str
        [N], the ids of the songs. They give the places of the songs that no list joins with another.
    neighbours : int
        So many songs of each list count.
    min_dist : float
        How near songs may come to each other, from 0 to 1, where 1 is the distance of songs that are unlike.
    seed : int
        Of the draws; the same places come from the same seed, on any number of cores.

    Returns
    -------
    numpy.ndarray
        float32 [N, 2], finite.

    Raises
    ------
    ConfigError
        umap-learn is not installed.
    """
    umap = _umap()
    from numba import get_num_threads, set_num_threads
    from threadpoolctl import threadpool_limits

    ids, scores = np.asarray(ids[:, :neighbours]), np.asarray(scores[:, :neighbours])
    is_listed = ids >= 0
    joined = np.union1d(np.flatnonzero(is_listed.any(axis=1)), ids[is_listed])
    places = np.zeros((len(ids), 2), np.float32)
    n_threads = get_num_threads()
    set_num_threads(1)  # sums over threads depend on their number
    try:
        with threadpool_limits(1):
            if len(joined):
                places[joined] = _optimised(umap, _graph(umap, ids, scores)[joined][:, joined], min_dist, seed)
    finally:
        set_num_threads(n_threads)
    alone = np.setdiff1d(np.arange(len(ids)), joined)
    places[alone] = on_rim(places[joined], [track_ids[row] for row in alone])
    return places


def _graph(umap: Any, ids: Int32, scores: Float32) -> Any:  # noqa: ANN401 - untyped libraries
    """Return how strongly songs belong together, as a sparse matrix [N, N].

    A short list is as if it went on at the distance of its last song; what it would hold there joins nothing.
    """
    own = np.arange(len(ids), dtype=np.int32)[:, None]
    distances = np.where(ids >= 0, scores.max(where=ids >= 0, initial=-np.inf) - scores, 0.0).astype(np.float32)
    distances = np.maximum.accumulate(np.hstack([np.zeros_like(own, np.float32), distances]), axis=1)
    knn = np.hstack([own, ids])
    graph, *_ = umap.fuzzy_simplicial_set(own, knn.shape[1], None, "", knn_indices=knn, knn_dists=distances)
    return graph.tocsr()


def _optimised(umap: Any, graph: Any, min_dist: float, seed: int) -> Float32:  # noqa: ANN401
    """Return the places of the songs of a graph that UMAP's objective is least for."""
    a, b = umap.find_ab_params(SPREAD, min_dist)
    rng = np.random.RandomState(seed)
    places, _ = umap.simplicial_set_embedding(
        None, graph, 2, 1.0, a, b, 1.0, NEGATIVES, EPOCHS[graph.shape[0] <= FEW_SONGS], start_places(graph, seed), rng,
        "", {}, densmap=False, densmap_kwds={}, output_dens=False,
    )  # fmt: skip
    return _turned(places)


def _turned(places: Float32) -> Float32:
    """Return a map with its middle at 0 and its longer side from left to right, as screens have it."""
    centred = places - places.mean(axis=0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    return (centred @ axes[:, ::-1]).astype(np.float32)


def _umap() -> Any:  # noqa: ANN401 - a module
    """Return umap-learn's functions."""
    try:
        with _no_tensorflow():
            import umap.umap_ as functions
    except ImportError as e:
        raise ConfigError(
            f'a map is laid out by umap-learn, which cannot be loaded ({e}); pip install "musicrec[map]"'
        ) from e
    return functions


@contextmanager
def _no_tensorflow() -> Iterator[None]:
    """Keep umap-learn from loading TensorFlow, which takes seconds, for a class that is not used here."""
    if "tensorflow" in sys.modules:
        yield
        return
    sys.modules["tensorflow"] = None  # type: ignore[assignment]  # Python's mark of what cannot be imported
    try:
        yield
    finally:
        del sys.modules["tensorflow"]
