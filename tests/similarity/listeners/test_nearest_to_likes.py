"""Songs nearest to any like, read off lists, against a float64 ranking of the whole catalog."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicrec.similarity import Lists, top_n
from musicrec.similarity.listeners.nearest_to_likes import Catalog, Listeners, caps_of, nearest_to_likes
from musicrec.similarity.songs import CodeSets

pytestmark = pytest.mark.thorough  # the kernels are compiled


def sets(rows):
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return CodeSets(starts, np.array([code for row in rows for code in row], np.int32))


def catalog_of(recording, artists=None):
    return Catalog(np.array(recording, np.int32), sets(artists or [[]] * len(recording)))


def listeners_of(catalog, likes, heard=None):
    """Listeners by the songs that they like, and others that they have heard."""
    both = [{*liked, *others} for liked, others in zip(likes, heard or [()] * len(likes), strict=True)]
    return Listeners(sets([sorted(liked) for liked in likes]),
                     sets([sorted({int(catalog.recording[song]) for song in songs}) for songs in both]))  # fmt: skip


def cosines(vectors):
    unit = vectors.astype(np.float64)
    norms = np.sqrt((unit * unit).sum(axis=1, keepdims=True))
    unit = np.divide(unit, norms, out=np.zeros_like(unit), where=norms > 0)
    return unit @ unit.T


def ranking(similarity, catalog, liked, heard, n, max_per_artist=0):
    """The same by sorting all songs; scores are rounded as lists hold them."""
    scores = similarity[sorted(liked)].max(axis=0).astype(np.float32)
    left_out = {int(catalog.recording[song]) for song in {*liked, *heard}}
    taken, given = [], {}
    for song in sorted(range(len(scores)), key=lambda song: (-scores[song], song)):
        artists = catalog.artist.of(song).tolist()
        if catalog.recording[song] in left_out or (
            max_per_artist and any(given.get(artist, 0) >= max_per_artist for artist in artists)
        ):
            continue
        left_out.add(int(catalog.recording[song]))
        for artist in artists:
            given[artist] = given.get(artist, 0) + 1
        taken.append(song)
    because = [min(like for like in liked if np.float32(similarity[like, song]) == scores[song]) for song in taken[:n]]
    return taken[:n], scores[taken[:n]].tolist(), because


def shown(found, listener):
    n = int((found.ids[listener] >= 0).sum())
    return found.ids[listener, :n].tolist(), found.scores[listener, :n].tolist(), found.because[listener, :n].tolist()


@st.composite
def cases(draw):
    """Songs on a coarse grid, where many scores are equal, or scattered; listeners, recordings, artists."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_songs, n_listeners = draw(st.integers(2, 40)), draw(st.integers(1, 5))
    vectors = rng.normal(size=(n_songs, 3)) if draw(st.booleans()) else rng.integers(-2, 3, (n_songs, 2)).astype(float)
    recording = rng.integers(0, n_songs if draw(st.booleans()) else max(1, n_songs // 2), n_songs)
    artists = [sorted({*rng.integers(0, 5, rng.integers(0, 3)).tolist()}) for _ in range(n_songs)]
    catalog = catalog_of(recording, artists)
    likes = [rng.permutation(n_songs)[: rng.integers(0, min(6, n_songs) + 1)].tolist() for _ in range(n_listeners)]
    heard = [rng.permutation(n_songs)[: rng.integers(0, n_songs + 1) // 2].tolist() for _ in range(n_listeners)]
    return vectors.astype(np.float32), catalog, likes, heard


@settings(max_examples=300)
@given(cases(), st.integers(1, 8), st.integers(1, 40), st.integers(0, 2))
def test_whenever_they_are_called_exact_they_are_those_of_the_whole_catalog(case, n, depth, max_per_artist):
    vectors, catalog, likes, heard = case
    lists = top_n(vectors, depth)
    every = top_n(vectors, len(vectors))
    similarity = np.full((len(vectors), len(vectors)), -np.inf)
    np.put_along_axis(similarity, every.ids.astype(np.int64), every.scores.astype(np.float64), axis=1)
    caps = caps_of(catalog, max_per_artist)
    found = nearest_to_likes(lists, listeners_of(catalog, likes, heard), catalog, n, caps=caps)
    for listener, (liked, others) in enumerate(zip(likes, heard, strict=True)):
        if not liked:
            assert shown(found, listener) == ([], [], [])
        elif found.is_exact[listener]:
            assert shown(found, listener) == ranking(similarity, catalog, liked, others, n, max_per_artist)
    if depth >= len(vectors) - 1:
        assert found.is_exact.all()


@settings(max_examples=200)
@given(cases(), st.integers(1, 5))
def test_they_are_exact_while_each_list_has_n_places_more_than_heard_songs_in_it(case, n):
    """The promise of the guide, on scores without ties: lists need not be longer."""
    vectors, _, likes, heard = case
    rng = np.random.default_rng(len(vectors))
    vectors = rng.normal(size=(len(vectors), 5)).astype(np.float32)
    catalog = catalog_of(range(len(vectors)))
    similarity = cosines(vectors)
    np.fill_diagonal(similarity, -np.inf)
    for liked, others in zip(likes, heard, strict=True):
        out = {*liked, *others}
        nearest = np.argsort(-similarity, axis=1)
        needed = [n + sum(song in out for song in nearest[like, : len(vectors) - 1]) for like in liked]
        lists = top_n(vectors, max(needed, default=1))
        found = nearest_to_likes(lists, listeners_of(catalog, [liked], [others]), catalog, n)
        assert found.is_exact[0]
        if liked:
            songs, scores, because = ranking(similarity, catalog, liked, others, n)
            assert shown(found, 0)[0] == songs
            assert shown(found, 0)[2] == because
            np.testing.assert_allclose(shown(found, 0)[1], scores, rtol=0, atol=1e-6)


def test_scores_are_within_float32_of_a_float64_reference():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 16)).astype(np.float32)
    catalog = catalog_of(range(500))
    likes = [rng.permutation(500)[:20].tolist() for _ in range(40)]
    found = nearest_to_likes(top_n(vectors, 60), listeners_of(catalog, likes), catalog, 20)
    assert found.is_exact.all()
    similarity = cosines(vectors)
    for listener, liked in enumerate(likes):
        songs, scores, because = ranking(similarity, catalog, liked, (), 20)
        assert found.ids[listener].tolist() == songs
        assert found.because[listener].tolist() == because
        np.testing.assert_allclose(found.scores[listener], scores, rtol=0, atol=1e-6)


def test_lists_that_are_too_short_are_called_so():
    vectors = np.array([[1, 0], [1, 0.1], [1, 0.2], [1, 0.3], [0, 1]], np.float32)
    catalog, listener = catalog_of(range(5)), [[0]]
    short = nearest_to_likes(top_n(vectors, 2), listeners_of(catalog, listener, [[1]]), catalog, 2)
    assert (short.ids.tolist(), short.is_exact.tolist()) == ([[2, -1]], [False])
    full = nearest_to_likes(top_n(vectors, 4), listeners_of(catalog, listener, [[1]]), catalog, 2)
    assert (full.ids.tolist(), full.is_exact.tolist()) == ([[2, 3]], [True])


def test_a_listener_is_the_same_whoever_else_is_there():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(60, 4)).astype(np.float32)
    artists = [[int(a)] for a in rng.integers(0, 9, 60)]
    catalog = catalog_of(rng.integers(0, 40, 60), artists)
    likes = [rng.permutation(60)[:4].tolist() for _ in range(30)]
    lists = top_n(vectors, 12)
    together = nearest_to_likes(lists, listeners_of(catalog, likes), catalog, 5, caps=caps_of(catalog, 1))
    for listener, liked in enumerate(likes):
        alone = nearest_to_likes(lists, listeners_of(catalog, [liked]), catalog, 5, caps=caps_of(catalog, 1))
        assert shown(alone, 0) == shown(together, listener)
        assert alone.is_exact[0] == together.is_exact[listener]


def test_lists_of_some_songs_serve_the_likes_that_have_one():
    vectors = np.random.default_rng(2).normal(size=(30, 4)).astype(np.float32)
    catalog, likes = catalog_of(range(30)), [[3, 9], [9, 20]]
    rows = np.full(30, -1, np.int32)
    rows[[3, 9]] = [0, 1]
    every = top_n(vectors, 12)
    some = Lists(every.ids[[3, 9]], every.scores[[3, 9]])
    found = nearest_to_likes(some, listeners_of(catalog, likes), catalog, 3, rows=rows)
    expected = nearest_to_likes(every, listeners_of(catalog, [[3, 9], [9]], [[], [20]]), catalog, 3)
    assert [shown(found, i) for i in range(2)] == [shown(expected, i) for i in range(2)]


@pytest.mark.parametrize("likes", [[], [[]]])
def test_nobody_and_a_listener_without_likes_are_no_fault(likes):
    catalog = catalog_of(range(3))
    found = nearest_to_likes(top_n(np.eye(3), 2), listeners_of(catalog, likes), catalog, 2)
    assert (found.ids >= 0).sum() == 0
    assert found.ids.shape == (len(likes), 2)
