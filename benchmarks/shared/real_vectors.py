"""Vectors of real music, grown to the size of a catalog, and whether what was grown is like what it was grown from.

The source are windows of 3 s of the clips in ``gtzan`` and ``gtzan_crops``. A grown vector is a real one, its parent,
moved at random towards some of the parent's nearest neighbours, plus a little noise with the covariance of all. So the
spectrum, the clusters and the hubs stay those of the source, and no dimension is left that nobody uses.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared.common import audio_files
from benchmarks.shared.synthetic_vectors import Matrix, unit
from musicrec import audio
from musicrec.features import extract
from musicrec.models.pretrained import library
from musicrec.models.pretrained.session import Pretrained
from musicrec.similarity import top_n

NEIGHBOURS, MOVED, NOISE = 20, 0.7, 0.05  # of a parent; how far from it; the share of variance that is noise
RATE, WINDOW_S = 22_050, 3
BLOCK_ROWS = 20_000
HUBS_OF = 10  # length of the lists in which hubs are counted
MUSICNN, SETS = "musicnn", ("gtzan57", "iiitd41")
REAL = (MUSICNN, *SETS)


class Shape(NamedTuple):
    """What makes neighbours easy or hard to find."""

    dimensions: float  # participation ratio of the spectrum: over how many dimensions the variance is spread
    hubness: float  # skewness of how often a song stands in lists of ten
    nearness: float  # cosine distance to the nearest song, as a share of that to a song at random; medians


def shape(vectors: Matrix, n: int, seed: int = 0) -> Shape:
    """Return the shape of some vectors, from `n` of them."""
    rng = np.random.default_rng(seed)
    some = unit(vectors[rng.choice(len(vectors), min(n, len(vectors)), replace=False)])
    spectrum = np.linalg.eigvalsh(np.cov(some, rowvar=False))
    lists = top_n(some, HUBS_OF)
    named = np.bincount(lists.ids.ravel(), minlength=len(some))
    skewness = float((((named - named.mean()) / named.std()) ** 3).mean())
    at_random = 1 - (some * some[rng.permutation(len(some))]).sum(axis=1)
    nearest = float(np.median(1 - lists.scores[:, 0]) / np.median(at_random))
    return Shape(float(spectrum.sum() ** 2 / (spectrum**2).sum()), skewness, nearest)


@cache
def source(name: str, data: Path) -> Matrix:
    """Return the standardised vectors [n, d] of all windows of the clips, by a feature set or by MusiCNN."""
    clips = [path for folder in ("gtzan", "gtzan_crops") for path in audio_files(data / folder)]
    rows = _by_musicnn(clips) if name == MUSICNN else _by_features(clips, name)
    X = np.stack(list(rows)).astype(np.float64)
    deviation = X.std(axis=0)
    return ((X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1)).astype(np.float32)


def _by_features(clips: list[Path], name: str) -> Iterator[NDArray[np.float64]]:
    for clip in clips:
        y = audio.load(str(clip), sample_rate=RATE)
        length = WINDOW_S * RATE
        for first in range(0, len(y) - length + 1, length):
            yield np.array(list(extract(y[first : first + length], RATE, name).values()))


def _by_musicnn(clips: list[Path]) -> Iterator[NDArray[np.float32]]:
    model = Pretrained(*library.read_model(MUSICNN))
    card = model.card
    length = int(card.window_s * card.sample_rate)
    for clip in clips:
        y = audio.load(str(clip), sample_rate=card.sample_rate)
        for first in range(0, len(y) - length + 1, length):
            output = model.embed(y[first : first + length])
            assert output is not None
            yield output.vector


def grown(vectors: Matrix, n_songs: int, seed: int = 0, *, as_unit: bool = True) -> Matrix:
    """Return `n_songs` vectors that are spread as some real ones are, as unit vectors or as long as those are."""
    rng = np.random.default_rng(seed)
    near = top_n(vectors, NEIGHBOURS).ids
    _, spread, axes = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    noise = (axes.T * (spread * (NOISE / len(vectors)) ** 0.5)).astype(np.float32)  # [d, d]
    made = np.empty((n_songs, vectors.shape[1]), np.float32)
    for first in range(0, n_songs, BLOCK_ROWS):
        parents = rng.integers(0, len(vectors), min(BLOCK_ROWS, n_songs - first))
        steps = rng.standard_normal((len(parents), NEIGHBOURS), np.float32) * np.float32(MOVED / NEIGHBOURS**0.5)
        towards = np.einsum("rk,rkd->rd", steps, vectors[near[parents]])
        block = vectors[parents] * (1 - steps.sum(axis=1, keepdims=True)) + towards
        made[first : first + len(parents)] = (
            block + rng.standard_normal((len(parents), len(noise.T)), np.float32) @ noise.T
        )
    return unit(made) if as_unit else made
