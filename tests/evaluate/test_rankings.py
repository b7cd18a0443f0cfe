"""Figures of whole rankings: those of rankings made song by song, whatever the block."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from musicrec.evaluate import rankings
from musicrec.evaluate.rankings import relevance


def songs(n=60, seed=0):
    rng = np.random.default_rng(seed)
    genres, artists = rng.integers(0, 4, n), rng.integers(0, 15, n)
    return rng.normal(size=(n, 6)).astype(np.float32), genres, artists


def one_by_one(vectors, genres, artists, k):
    x = vectors.astype(np.float64)
    cosines = x @ x.T / np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(x, axis=1))
    for i, row in enumerate(cosines):
        others = np.flatnonzero(artists != artists[i])
        hits = genres[others] == genres[i]
        if hits.any():
            first = others[np.argsort(-row[others])][:k]
            yield (genres[first] == genres[i]).sum() / k, average_precision_score(hits, row[others])
        else:
            yield np.nan, np.nan


@pytest.mark.parametrize("cells", [1, 130, 10_000])
def test_figures_are_those_of_each_ranking_by_itself(monkeypatch, cells):
    monkeypatch.setattr(rankings, "CELLS", cells)
    vectors, genres, artists = songs()
    genres[artists == 3], genres[7] = 4, 5  # one genre of one artist, one of one song: nothing to find
    artists[7] = 99
    precision, average = np.array(list(one_by_one(vectors, genres, artists, 5))).T
    found = relevance(vectors, genres, artists, 5)
    np.testing.assert_allclose(found[0], precision)
    np.testing.assert_allclose(found[1], average, rtol=1e-5)
    assert np.isnan(found[0]).sum() == (artists == 3).sum() + 1


def test_some_songs_are_judged_among_all():
    vectors, genres, artists = songs()
    rows = np.array([3, 40, 59])
    some, every = relevance(vectors, genres, artists, 5, rows), relevance(vectors, genres, artists, 5)
    np.testing.assert_array_equal(some, [figures[rows] for figures in every])


def test_lengths_of_vectors_do_not_matter_however_extreme():
    vectors, genres, artists = songs()
    scaled = vectors * np.float32(10.0) ** np.random.default_rng(1).choice([-30, 0, 30], (60, 1)).astype(np.float32)
    np.testing.assert_allclose(relevance(scaled, genres, artists, 5), relevance(vectors, genres, artists, 5), rtol=1e-5)
    vectors[4] = 0
    assert np.isfinite(relevance(vectors, genres, artists, 5)[1]).all()
