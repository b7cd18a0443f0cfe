"""Retrieval figures equal those of scikit-learn and of definitions written out song by song."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import cosine_distances

from musicrec.evaluate.retrieval import (
    alike,
    average_precision,
    diversity,
    precision_at_k,
    random_rankings,
    recall_at_k,
    retrieval,
)
from musicrec.settings import Rules
from musicrec.similarity import refine, songs_of, top_n


@st.composite
def judged(draw):
    """Lists of a small catalog, some of them cut short, and labels, some of them unknown."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    n = draw(st.integers(2, 15))
    ids = random_rankings(n, int(rng.integers(2**16)))
    for row in ids:
        row[rng.integers(0, n) :] = -1
    labels = rng.choice(np.array(["a", "b", "c", None, ""], object), n, p=[0.4, 0.2, 0.2, 0.1, 0.1])
    return ids, labels, rng


@pytest.mark.thorough
@settings(max_examples=150, deadline=None)
@given(catalog=judged(), k=st.integers(1, 16))
def test_precision_and_recall_are_counted_song_by_song(catalog, k):
    ids, labels, rng = catalog
    wanted = rng.random(len(ids)) < 0.6
    precision, recall = precision_at_k(ids, labels, k), recall_at_k(ids, labels, k, wanted)
    for i, row in enumerate(ids.tolist()):
        first = [j for j in row[:k] if j >= 0]
        if not labels[i]:
            assert np.isnan(precision[i])
            assert np.isnan(recall[i])
            continue
        assert precision[i] == pytest.approx(sum(labels[j] == labels[i] for j in first) / k)
        targets = [j for j in range(len(ids)) if j != i and labels[j] == labels[i] and wanted[j]]
        if targets:
            assert recall[i] == pytest.approx(len(set(targets) & set(first)) / min(k, len(targets)))
        else:
            assert np.isnan(recall[i])


@pytest.mark.thorough
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**16), n=st.integers(2, 20))
def test_average_precision_is_that_of_scikit_learn(seed, n):
    labels = np.random.default_rng(seed).integers(0, 3, n)
    ids = random_rankings(n, seed)
    for i, (row, figure) in enumerate(zip(ids, average_precision(ids, labels), strict=True)):
        relevant = labels[row] == labels[i]
        if relevant.any():
            assert figure == pytest.approx(average_precision_score(relevant, -np.arange(n - 1)))
        else:
            assert np.isnan(figure)


def test_songs_that_a_filter_takes_out_do_not_count_as_missed():
    ids = np.array([[1, 2, -1], [0, -1, -1], [0, -1, -1], [-1, -1, -1]], np.int32)
    assert average_precision(ids, np.array(["g", "h", "g", "g"])).tolist() == pytest.approx(
        [0.5, np.nan, 1.0, np.nan], nan_ok=True
    )


@pytest.mark.thorough
@settings(max_examples=100, deadline=None)
@given(catalog=judged())
def test_diversity_is_the_mean_distance_of_all_pairs(catalog):
    ids, _, rng = catalog
    vectors = rng.normal(size=(len(ids), 3)) + 1
    vectors[rng.random(len(ids)) < 0.2] = 0
    distances = cosine_distances(vectors)
    for row, figure in zip(ids, diversity(ids, vectors), strict=True):
        pairs = list(itertools.combinations(row[row >= 0], 2))
        if pairs:
            assert figure == pytest.approx(np.mean([distances[i, j] for i, j in pairs]))
        else:
            assert np.isnan(figure)


@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_random_rankings_hold_all_others_once(n):
    ids = random_rankings(n, 3)
    assert ids.dtype == np.int32
    assert [sorted(row) for row in ids.tolist()] == [[j for j in range(n) if j != i] for i in range(n)]
    assert np.array_equal(ids, random_rankings(n, 3))


def test_random_rankings_find_a_genre_as_often_as_it_is():
    labels = np.repeat(np.arange(4), 100)
    found = precision_at_k(random_rankings(400), labels, 20)
    assert found.mean() == pytest.approx(99 / 399, abs=4 * found.std() / 20)


def test_labels_may_be_numbers_or_names():
    ids = np.array([[1, 2], [2, 0], [0, 1]], np.int32)
    for labels in ([7, 8, 7], ["x", "y", "x"], np.array(["x", "y", "x"], object)):
        assert alike(ids, labels).tolist() == [[False, True], [False, False], [True, False]]
    assert not alike(ids, [np.nan, np.nan, 1.0]).any()


def test_the_whole_of_it_on_a_catalog_with_an_artist_filter():
    """Songs by one artist lie close together, of one genre less so: the filter lowers the precision."""
    rng = np.random.default_rng(0)
    genres, artists = np.repeat(np.arange(4), 30), np.repeat(np.arange(24), 5)
    vectors = rng.normal(size=(4, 8))[genres] + rng.normal(size=(24, 8))[artists] + 0.3 * rng.normal(size=(120, 8))
    songs = songs_of({"artist_id": artists.tolist()})
    judged = {
        filtered: retrieval(
            refine(vectors, songs, Rules(n=119, no_same_artist=filtered)).ids, genres, artists, vectors, 5
        )
        for filtered in (False, True)
    }
    assert judged[True].same_artist == 0
    assert judged[False].same_artist > 0.5
    assert judged[True].precision.mean < judged[False].precision.mean
    for figures in judged.values():
        assert figures.precision.low < figures.precision.mean < figures.precision.high
        assert figures.mean_average_precision.n == 120
    first = top_n(vectors, 5)[0]
    assert judged[False].precision.mean == np.mean(genres[first] == genres[:, None])
    assert judged[False].hubs.hub_skew == pytest.approx(stats.skew(np.bincount(first.ravel(), minlength=120)))
    assert judged[False].diversity == pytest.approx(diversity(first, vectors).mean())


def test_songs_with_nothing_to_find_do_not_lower_the_precision():
    """Of two songs of one genre by one artist, an artist filter leaves none to find."""
    genres, artists = ["a", "a", "b", "b"], ["one", "one", "two", "three"]
    rules = Rules(n=3, no_same_artist=True)
    vectors = [[1, 0], [1, 0.1], [0, 1], [0.1, 1]]
    judged = retrieval(refine(vectors, songs_of({"artist_id": artists}), rules).ids, genres, artists, vectors, 1)
    assert judged.precision == judged.mean_average_precision == (1.0, 1.0, 1.0, 2)
