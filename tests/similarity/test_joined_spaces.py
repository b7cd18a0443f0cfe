"""Several spaces as one vector: its cosines are the weighted means of those of the spaces."""

import numpy as np
import pytest

from musicrec.similarity import top_n
from musicrec.similarity.joined_spaces import join, shares

WIDTHS = (5, 40, 17)


def spaces(seed, n=60):
    rng = np.random.default_rng(seed)
    return [(10.0 ** rng.uniform(-30, 30) * rng.normal(size=(n, d))).astype(np.float32) for d in WIDTHS]


def mean_cosine(matrices, weights):
    """Weighted mean of the cosines, in float64, space by space."""
    total = 0
    for matrix, weight in zip(matrices, weights, strict=True):
        unit = matrix.astype(np.float64) / np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
        total = total + weight * (unit @ unit.T)
    return total / sum(weights)


@pytest.mark.parametrize("seed", range(10))
def test_the_cosine_of_joined_vectors_is_the_weighted_mean_of_cosines(seed):
    matrices, weights = spaces(seed), np.random.default_rng(seed).uniform(0.01, 5, 3).tolist()
    joined = join(matrices, weights)
    assert (joined.shape, joined.dtype) == ((60, sum(WIDTHS)), np.float32)
    np.testing.assert_allclose(np.linalg.norm(joined, axis=1), 1, atol=1e-6)
    expected = mean_cosine(matrices, weights)
    np.testing.assert_allclose(joined.astype(np.float64) @ joined.T, expected, atol=3e-7)
    ids, scores = top_n(joined, 10)
    np.fill_diagonal(expected, -np.inf)
    np.testing.assert_allclose(scores, -np.sort(-expected, axis=1)[:, :10], atol=5e-7)
    np.testing.assert_allclose(np.take_along_axis(expected, ids.astype(np.int64), axis=1), scores, atol=5e-7)


def test_a_song_has_the_same_vector_whoever_else_is_there():
    matrices = spaces(0)
    some = join([matrix[20:23] for matrix in matrices], [1, 0.3, 2])
    assert np.array_equal(some, join(matrices, [1, 0.3, 2])[20:23])


def test_shares_are_the_parts_of_the_cosine_that_each_space_gives():
    matrices, weights = spaces(1), [1, 0.3, 2]
    joined = join(matrices, weights)
    ids, scores = top_n(joined, 7)
    ids[3, 5:] = -1
    found = shares(joined, WIDTHS, ids[2:9], first=2)
    assert found.dtype == np.float32
    for space, (matrix, weight) in enumerate(zip(matrices, weights, strict=True)):
        part = weight / sum(weights) * mean_cosine([matrix], [1])
        expected = np.where(ids[2:9] >= 0, np.take_along_axis(part[2:9], ids[2:9].astype(np.int64), axis=1), 0)
        np.testing.assert_allclose(found[..., space], expected, atol=1e-6)
    is_there = ids[2:9] >= 0
    np.testing.assert_allclose(found.sum(axis=2)[is_there], scores[2:9][is_there], atol=1e-6)
