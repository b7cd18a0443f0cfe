"""Approximate top-N for catalogs too large for all pairs: each song is compared with the nearest clusters only.

Scores and order are exact, but a song of another cluster may be missing. :func:`recall` measures how many are.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicrec.similarity.search import bounds
from musicrec.similarity.search.blocks import METRICS, Lists, as_lists, check, empty, new_lists, prepare, slices
from musicrec.similarity.search.clusters import cluster
from musicrec.similarity.search.exact import top_n
from musicrec.similarity.search.shards import Part, lists_of_places, take_places

PROBES = 32
CLUSTERS_PER_ROOT = 2.0  # number of clusters, as a multiple of the square root of the number of songs
ROWS = 16_384


def top_n_approximate(
    vectors: ArrayLike, n: int, metric: str = "cosine", *, probes: int = PROBES, screen: str | None = None
) -> Lists:
    """Return lists as :func:`top_n` does, but compare each song only with the `probes` clusters nearest to its own.

    Where these hold fewer than `n` songs, a list ends early, with -1 and -inf.
    """
    screen = check(n, metric, screen)
    given = prepare(vectors, metric)
    n_songs = len(given.values)
    n = max(0, min(n, n_songs - 1))
    projection = bounds.fit(given, METRICS[metric], n, screen)
    clusters = cluster(projection, given, n_clusters(n_songs))
    lists = new_lists(projection, given.rows(clusters.order), clusters.order, 0)
    found = empty(n_songs, n)
    for first, last in slices(0, n_songs, ROWS):
        new = take_places(lists, first, last, n)
        lists_of_places(projection, clusters, [Part(0, lists)], new, first, probes=probes)
        rows = clusters.order[first:last]
        found.ids[rows], found.scores[rows] = as_lists(new._replace(songs=np.arange(last - first)), last - first, n)
    return found


def n_clusters(n_songs: int) -> int:
    """Return how many clusters to make of so many songs."""
    return max(1, int(CLUSTERS_PER_ROOT * n_songs**0.5))


def recall(
    vectors: ArrayLike, ids: NDArray[np.int32], metric: str = "cosine", *, sample: int = 1000, seed: int = 0
) -> float:
    """Return the share of exact lists that `ids` [N, n] hold, over a sample of songs; -1 ends a short list."""
    rows = np.sort(np.random.default_rng(seed).choice(len(ids), min(sample, len(ids)), replace=False))
    exact = top_n(vectors, ids.shape[1], metric, rows=rows).ids
    return float(np.mean([len(np.intersect1d(a, b)) for a, b in zip(exact, ids[rows], strict=True)]) / ids.shape[1])
