"""Measures of clusters: by themselves, over numbers of clusters and components, and beside the genres.

Conventions: points are [n, d]; clusters are integers [n], -1 for noise. Noise counts as a cluster of its own, as in
scikit-learn and in the reference system. With one cluster, or as many as songs, the measures are not defined: None.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

MOST_COMPARED = 10_000  # songs: a silhouette compares every pair

Cluster = Callable[[NDArray[np.float64], int | None], NDArray[Any]]


class Quality(NamedTuple):
    """How well clusters are kept apart."""

    n_clusters: int  # without noise
    noise: int  # songs
    silhouette: float | None  # -1 to 1; high is good
    davies_bouldin: float | None  # 0 and above; low is good


class Agreement(NamedTuple):
    """How well clusters match the genres; 1 where they are the same."""

    adjusted_rand: float  # 0 by chance
    mutual_information: float  # normalised by the mean of both entropies; 0 where independent


def quality(points: ArrayLike, clusters: ArrayLike, seed: int = 0) -> Quality:
    """Return silhouette (Rousseeuw 1987) and Davies-Bouldin index (Davies and Bouldin 1979) of a clustering.

    Parameters
    ----------
    points : array_like
        [n, d].
    clusters : array_like
        Cluster of each point, [n].
    seed : int
        Seed of the sample that is judged where there are more than 10 000 songs.
    """
    from sklearn.metrics import davies_bouldin_score, silhouette_score

    X, found = np.asarray(points, np.float64), np.asarray(clusters)
    n_clusters, noise = len(np.unique(found[found >= 0])), int((found < 0).sum())
    if len(found) > MOST_COMPARED:
        chosen = np.random.default_rng(seed).choice(len(found), MOST_COMPARED, replace=False)
        X, found = X[chosen], found[chosen]
    if not 2 <= len(np.unique(found)) < len(found):
        return Quality(n_clusters, noise, None, None)
    return Quality(n_clusters, noise, float(silhouette_score(X, found)), float(davies_bouldin_score(X, found)))


def agreement(clusters: ArrayLike, genres: ArrayLike) -> Agreement:
    """Return adjusted Rand index (Hubert, Arabie 1985) and normalised mutual information of clusters and genres [n]."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return Agreement(
        float(adjusted_rand_score(genres, clusters)), float(normalized_mutual_info_score(genres, clusters))
    )


def sweep(
    X: NDArray[np.float64],
    algorithms: Mapping[str, Cluster],
    components: Sequence[int],
    numbers: Iterable[int | None],
    *,
    most: int = MOST_COMPARED,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the quality over numbers of principal components and of clusters.

    Parameters
    ----------
    X : numpy.ndarray
        Standardised features [n, n_features].
    algorithms : mapping
        Name → function that takes points [n, components] and a number of clusters, and returns their clusters.
    components : sequence of int
        Numbers of principal components; more than X has are left out.
    numbers : iterable of int or None
        Numbers of clusters to ask for, None where the algorithm finds it; those not below n are left out.
    most : int
        The most songs; of more, some are drawn.
    seed : int
        Seed of the draw.

    Returns
    -------
    pandas.DataFrame
        Columns of ``musicrec.schemas.SWEEP``: algorithm, components, asked, clusters (found), silhouette,
        davies_bouldin (NaN where not defined), a row each.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    if len(X) > most:
        X = np.random.default_rng(seed).choice(X, most, replace=False)
    held = [c for c in components if c <= min(X.shape)]
    asked = [number for number in numbers if number is None or number < len(X)]
    rows = []
    with threadpool_limits(1):  # for such small work, threads cost more than they save
        points = PCA(max(held, default=1), svd_solver="covariance_eigh").fit_transform(X)
        for (name, cluster), c, number in itertools.product(algorithms.items(), held, asked):
            q = quality(points[:, :c], cluster(points[:, :c], number))
            rows.append((name, c, number, q.n_clusters, q.silhouette, q.davies_bouldin))
    table = pd.DataFrame(rows, columns=["algorithm", "components", "asked", "clusters", "silhouette", "davies_bouldin"])
    return table.astype({"asked": "Int32", "silhouette": "float64", "davies_bouldin": "float64"})
