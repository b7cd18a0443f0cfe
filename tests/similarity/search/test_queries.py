"""Queries are compared with songs that were prepared once: their lists are those of a ranking of all songs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from musicrec.similarity.search import queries, starting_limits
from musicrec.similarity.search.queries import nearest, prepare_songs
from musicrec.similarity.search.screens import available

WHOLE = st.integers(-30, 30).map(float)  # sums of products are exact, so ties are ties


def ranked(songs, asked, n, among=None):
    """Rows and scores by a plain ranking in long doubles."""
    rows = np.arange(len(songs)) if among is None else np.sort(among)
    scores = (np.asarray(asked, np.longdouble) @ np.asarray(songs, np.longdouble)[rows].T).astype(np.float32) + 0.0
    best = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    return rows[best], np.take_along_axis(scores, best, axis=1)


def assert_ranked(found, songs, asked, n, among=None):
    ids, scores = ranked(songs, asked, n, among)
    assert found.ids.tolist() == ids.tolist()
    np.testing.assert_array_equal(found.scores + np.float32(0), scores)


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(1, 30), st.integers(0, 9), st.integers(1, 9)).flatmap(
        lambda size: st.tuples(
            arrays.arrays(np.float64, (size[0], size[2]), elements=WHOLE),
            arrays.arrays(np.float64, (size[1], size[2]), elements=WHOLE),
        )
    ),
    st.integers(1, 40),
    st.integers(-300, 300),
    st.integers(-40, 40),
    st.sampled_from([np.float64, np.float32]),
    st.booleans(),
)
def test_lists_are_those_of_a_plain_ranking_whatever_the_lengths(matrices, n, query_power, song_power, kind, some_only):
    songs, asked = matrices
    among = np.arange(0, len(songs), 2)[::-1] if some_only else None
    expected = ranked(songs, asked, n, among)
    with np.errstate(over="ignore", under="ignore"):
        scores = np.ldexp(expected[1], song_power + query_power) + np.float32(0)
    for screen in available():
        typical = asked if len(asked) else None
        prepared = prepare_songs(
            np.ldexp(songs, song_power).astype(kind), 5, typical=typical, among=among, screen=screen
        )
        found = nearest(prepared, np.ldexp(asked, query_power), n)
        assert found.ids.tolist() == expected[0].tolist()
        np.testing.assert_array_equal(found.scores + np.float32(0), scores)


@pytest.mark.parametrize("screen", available())
@pytest.mark.parametrize("depth", [5, 200])
def test_many_queries_of_all_lengths_meet_songs_in_clumps(screen, depth):
    rng = np.random.default_rng(0)
    songs = rng.normal(size=(12, 40))[rng.integers(0, 12, 3000)] + 0.3 * rng.normal(size=(3000, 40))
    asked = rng.normal(size=(500, 40)) * np.exp(3 * rng.normal(size=(500, 1)))
    found = nearest(prepare_songs(songs, depth, screen=screen), asked, depth)
    ids, scores = ranked(songs, asked, depth)
    assert (found.ids == ids).mean() > 0.999  # others are ties of float32 that sums in another order break
    np.testing.assert_allclose(found.scores, scores, rtol=1e-5, atol=1e-5 * np.abs(scores).max(axis=1).min())


def test_no_songs_give_empty_lists():
    none = prepare_songs(np.ones((3, 2)), 4, among=np.zeros(0, np.int64))
    assert nearest(none, np.ones((2, 2)), 4).ids.shape == (2, 0)
    assert nearest(prepare_songs(np.ones((3, 2)), 4), np.ones((0, 2)), 4).ids.shape == (0, 3)


@pytest.mark.parametrize("screen", available())
def test_without_a_typical_query_songs_are_prepared_too(screen):
    songs = np.random.default_rng(0).normal(size=(90, 12))
    prepared = prepare_songs(songs, 5, typical=songs[:0], screen=screen)
    assert_ranked(nearest(prepared, songs[:7], 5), songs, songs[:7], 5)


def test_a_list_whose_limit_was_guessed_too_high_is_made_without(monkeypatch):
    rng = np.random.default_rng(1)
    songs, asked = rng.integers(-9, 9, (500, 8)).astype(float), rng.integers(-9, 9, (40, 8)).astype(float)
    guess, made = starting_limits._limits, []
    monkeypatch.setattr(starting_limits, "_limits", lambda *a: guess(*a) + (np.arange(len(a[2])) % 3 == 0) * 2**20)
    compare = queries._compare_with_all
    monkeypatch.setattr(queries, "_compare_with_all", lambda *a: (made.append(len(a[1].songs)), compare(*a))[1])
    assert_ranked(nearest(prepare_songs(songs, 10), asked, 10), songs, asked, 10)
    assert len(made) == 2
    assert 14 <= made[1] < 40


def test_queries_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match=r"queries of shape \(1, 2\): expected a finite matrix \[Q, d\]"):
        nearest(prepare_songs(np.ones((3, 2)), 4), [[1.0, np.nan]], 4)
