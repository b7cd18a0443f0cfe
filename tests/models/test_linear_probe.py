"""The linear probe: artists apart, genres balanced, the penalty chosen on training songs alone."""

import numpy as np
import pytest

from musicrec.errors import ModelError
from musicrec.models import linear_probe
from musicrec.models.linear_probe import probe

pytestmark = pytest.mark.thorough
PER_GENRE, ARTISTS = 30, 6


def songs(genre=1.0, artist=0.0, seed=0):
    """Three genres, each of six artists; how far apart genres and artists are in the vectors."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(3, dtype=np.int32), PER_GENRE)
    of = np.repeat(np.arange(3 * ARTISTS), PER_GENRE // ARTISTS)
    X = genre * rng.normal(size=(3, 8))[y] + artist * rng.normal(size=(3 * ARTISTS, 8))[of] + rng.normal(size=(90, 8))
    return X, y, [f"artist {i}" for i in of]


def test_genres_that_lie_apart_are_named():
    hits = probe(*songs(genre=3.0))
    assert not np.isnan(hits).any()
    assert hits.mean() > 0.9


def test_what_only_gives_the_artist_away_is_no_help():
    """Genres are as far apart as chance has it, artists very far: songs of a known artist would be named."""
    hits = [probe(*songs(genre=0.0, artist=5.0, seed=seed)).mean() for seed in range(5)]
    assert np.mean(hits) < 0.5


def test_the_folds_are_the_same_for_all_vectors(monkeypatch):
    """So the tests of two spaces are paired."""
    seen = []
    real = linear_probe._fit
    monkeypatch.setattr(
        linear_probe, "_fit", lambda X, y, groups, c: seen.append(tuple(groups)) or real(X, y, groups, c)
    )
    X, y, groups = songs()
    probe(X, y, groups)
    first = seen.copy()
    seen.clear()
    probe(X[:, :2] ** 3, y, groups)
    assert seen == first


def test_a_rare_genre_is_not_drowned_by_a_common_one():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(2, dtype=np.int32), [360, 24])
    X = rng.normal(size=(384, 1)) + 1.5 * y[:, None]
    hits = probe(X, y, [str(i) for i in range(384)])
    assert hits[y == 1].mean() > 0.6  # unbalanced: below 0.3


def test_a_genre_of_one_artist_cannot_be_tested():
    X, y, groups = songs()
    groups = ["the same" if genre == 2 else artist for genre, artist in zip(y, groups, strict=True)]
    hits = probe(X, y, groups)
    assert np.isnan(hits[y == 2]).all()
    assert not np.isnan(hits[y < 2]).any()


def test_too_few_songs_are_refused():
    with pytest.raises(ModelError, match="3 folds, but genres of at most 1 songs"):
        probe(np.eye(2), np.arange(2, dtype=np.int32), ["a", "b"])
