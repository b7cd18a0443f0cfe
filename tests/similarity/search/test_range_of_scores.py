"""Scores are float32: those beyond its range are infinite, those below its smallest number zero, and so ties."""

import numpy as np
import pytest

from musicrec.similarity import top_n
from musicrec.similarity.search.screens import available


@pytest.mark.parametrize("metric", ["inner", "euclidean"])
@pytest.mark.parametrize("size", [1e-160, 1e-44, 1e-30, 1e30, 1e160, 1.5e307])
@pytest.mark.parametrize("screen", available())
def test_scores_beyond_float32_are_ties_at_its_ends(metric, size, screen):
    whole = np.random.default_rng(7).integers(-9, 10, (700, 5)).astype(float)  # so that sums of products are exact
    songs = np.ldexp(whole, np.frexp(size)[1] - 5)
    x = songs.astype(np.longdouble)
    exact = x @ x.T if metric == "inner" else -np.sqrt(np.square(x[:, None] - x).sum(axis=-1))
    with np.errstate(over="ignore", under="ignore"):
        scores = exact.astype(np.float64).astype(np.float32) + np.float32(0)
    order = np.argsort(-np.where(np.eye(700, dtype=bool), np.nan, scores), axis=1, kind="stable")[:, :12]
    found = top_n(songs, 12, metric, screen=screen)
    np.testing.assert_array_equal(found.scores, np.take_along_axis(scores, order, axis=1))
    np.testing.assert_array_equal(found.ids, order)


@pytest.mark.parametrize("screen", available())
def test_short_songs_whose_squares_are_no_float32_have_exact_lists(screen):
    whole = np.random.default_rng(0).integers(-9, 10, (600, 8)).astype(float)
    whole[300:] *= 2.0**-75
    songs = np.concatenate([whole, -whole])  # about zero, from which short songs are no farther than their lengths
    short = np.r_[300:600, 900:1200]
    exact = -np.sqrt(np.square((songs[short, None] - songs[short]) * 2.0**75).sum(axis=-1))
    order = np.argsort(-np.where(np.eye(600, dtype=bool), np.nan, exact), axis=1, kind="stable")[:, :10]
    found = top_n(songs, 10, "euclidean", screen=screen)
    np.testing.assert_array_equal(found.ids[short], short[order])
