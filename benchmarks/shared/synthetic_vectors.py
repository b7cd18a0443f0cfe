"""Synthetic vectors: clusters as songs form them, and inputs in which neighbours are hard to find."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

BLOCK_ROWS = 50_000
DUPLICATES = 0.005  # share of songs that are another one, bit for bit
ZIPF = 0.75  # the k-th largest cluster has a share in proportion to k ** -ZIPF
ROLLED = 5  # clusters differ in the order of a spectrum's first fifth
COPIES, NEAR_COPIES, NEARNESS = 2000, 3000, 1e-4


class Kind(NamedTuple):
    """How clustered vectors are spread."""

    rank: int  # dimensions that the clusters and their songs use
    decay: float  # the k-th of these has a variance in proportion to k ** -decay
    between: float  # share of the variance that lies between clusters
    noise: float  # share that lies in all dimensions alike
    density: float  # clusters, as a multiple of the root of the number of songs


KINDS = {
    "low-dimensional": Kind(rank=20, decay=0.5, between=0.65, noise=0.004, density=0.5),
    "harder": Kind(rank=512, decay=1.0, between=0.5, noise=0.0, density=1.0),
}


def clustered(kind: Kind, n_songs: int, d: int, seed: int = 0) -> Matrix:
    """Make unit vectors [n_songs, d] in clusters of sizes by Zipf, each with its own spectrum; randomly rotated."""
    rng = np.random.default_rng(seed)
    n_clusters, rank = max(8, int(kind.density * n_songs**0.5)), min(kind.rank, d)
    sizes = np.arange(1, n_clusters + 1) ** -ZIPF
    label = rng.choice(n_clusters, n_songs, p=sizes / sizes.sum())
    spread = np.arange(1, rank + 1) ** (-kind.decay / 2)
    spread /= np.linalg.norm(spread)
    spectra = np.stack([np.roll(spread, shift) for shift in range(max(1, rank // ROLLED))]).astype(np.float32)
    spectrum = rng.integers(0, len(spectra), n_clusters)
    centres = (rng.standard_normal((n_clusters, rank)) * spread * kind.between**0.5).astype(np.float32)
    spectra *= np.float32((1 - kind.between) ** 0.5)
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0][:rank].astype(np.float32)
    vectors = np.empty((n_songs, d), np.float32)
    for first in range(0, n_songs, BLOCK_ROWS):
        of = label[first : first + BLOCK_ROWS]
        songs = centres[of] + spectra[spectrum[of]] * rng.standard_normal((len(of), rank), np.float32)
        noise = rng.standard_normal((len(of), d), np.float32) * np.float32((kind.noise / d) ** 0.5)
        vectors[first : first + BLOCK_ROWS] = unit(songs @ rotation + noise)
    copies, originals = rng.integers(0, n_songs, (2, int(DUPLICATES * n_songs)))
    vectors[copies] = vectors[originals]
    return vectors


def unit(vectors: NDArray[np.floating]) -> Matrix:
    """Scale the vectors [N, d] to length 1."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


# --- adversarial --------------------------------------------------------------------------------------------------


def copies(n_songs: int, d: int) -> Matrix:
    """Make vectors with many copies of one song: more ties than a list is long."""
    vectors = clustered(KINDS["harder"], n_songs, d)
    vectors[np.random.default_rng(1).choice(n_songs, COPIES, replace=False)] = vectors[0]
    return vectors


def near_copies(n_songs: int, d: int) -> Matrix:
    """Make vectors with many near-copies of one song: 8 bits cannot distinguish their scores, float32 hardly can."""
    vectors, rng = clustered(KINDS["harder"], n_songs, d), np.random.default_rng(2)
    changed = vectors[0] + NEARNESS * rng.standard_normal((NEAR_COPIES, d))
    vectors[rng.choice(n_songs, NEAR_COPIES, replace=False)] = unit(changed)
    return vectors


def narrow_cone(n_songs: int, d: int) -> Matrix:
    """Make vectors that are all similar: the largest part of each is common to all."""
    return unit(np.random.default_rng(3).standard_normal((n_songs, d)) + 3)


def noise(n_songs: int, d: int) -> Matrix:
    """Make vectors with nothing to find: no clusters, and no axis that matters more than another."""
    return unit(np.random.default_rng(4).standard_normal((n_songs, d)))


def heavy_tails(n_songs: int, d: int) -> Matrix:
    """Make vectors with a few coordinates that are many times as large as all others."""
    return unit(np.random.default_rng(5).standard_normal((n_songs, d)) ** 3)


ADVERSARIAL: dict[str, Callable[[int, int], Matrix]] = {
    f"{COPIES} copies of one song": copies,
    f"{NEAR_COPIES} copies, each changed by {NEARNESS:g}": near_copies,
    "a narrow cone": narrow_cone,
    "noise alone": noise,
    "heavy tails": heavy_tails,
}
