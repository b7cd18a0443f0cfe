"""Songs from several lists in turn, and songs nearest to a vector of each listener, beside plain references."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicrec.similarity import Lists, top_n
from musicrec.similarity.listeners.in_turn import in_turn
from musicrec.similarity.listeners.nearest_to_likes import Catalog, Listeners, caps_of
from musicrec.similarity.listeners.nearest_to_tastes import most_similar_like, nearest_to_tastes
from musicrec.similarity.search.queries import prepare_songs
from musicrec.similarity.songs import CodeSets

pytestmark = pytest.mark.thorough  # the kernels are compiled


def sets(rows):
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return CodeSets(starts, np.array([code for row in rows for code in row], np.int32))


class Taken:
    """What may be taken: no recording twice, nor too many of an artist or an album."""

    def __init__(self, catalog, heard, most):
        self.catalog, self.out, self.most, self.given = catalog, set(heard), most, {}

    def take(self, song):
        groups = [("artist", artist) for artist in self.catalog.artist.of(song).tolist()]
        groups += [("album", int(self.catalog.album[song]))] if self.catalog.album[song] >= 0 else []
        recording = int(self.catalog.recording[song])
        most = dict(zip(("artist", "album"), self.most, strict=True))
        if recording in self.out or any(most[g[0]] and self.given.get(g, 0) >= most[g[0]] for g in groups):
            return False
        self.out.add(recording)
        self.given |= {g: self.given.get(g, 0) + 1 for g in groups}
        return True


@st.composite
def cases(draw):
    """Songs, recordings, artists, albums; listeners with likes and what they have heard beside them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_songs, n_listeners = draw(st.integers(2, 40)), draw(st.integers(1, 5))
    coarse = draw(st.booleans())
    vectors = rng.integers(-2, 3, (n_songs, 2)).astype(float) if coarse else rng.normal(size=(n_songs, 3))
    catalog = Catalog(
        rng.integers(0, draw(st.integers(1, n_songs)), n_songs).astype(np.int32),
        sets([sorted({*rng.integers(0, 5, rng.integers(0, 3)).tolist()}) for _ in range(n_songs)]),
        rng.integers(-1, 4, n_songs).astype(np.int32),
    )
    likes = [rng.permutation(n_songs)[: rng.integers(0, min(6, n_songs) + 1)].tolist() for _ in range(n_listeners)]
    others = [rng.permutation(n_songs)[: rng.integers(0, n_songs + 1) // 2].tolist() for _ in range(n_listeners)]
    heard = [sorted({int(catalog.recording[i]) for i in (*a, *b)}) for a, b in zip(likes, others, strict=True)]
    most = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    return vectors.astype(np.float32), catalog, likes, heard, most, rng.integers(1, 5, sum(map(len, likes)))


def shown(found, listener):
    n = int((found.ids[listener] >= 0).sum())
    return found.ids[listener, :n].tolist()


@settings(max_examples=300)
@given(cases(), st.integers(1, 8), st.integers(1, 40))
def test_lists_take_turns_by_their_shares(case, n, depth):
    vectors, catalog, likes, heard, most, shares = case
    lists, every = top_n(vectors, depth), top_n(vectors, len(vectors))
    found = in_turn(lists, Listeners(sets(likes), sets(heard)), shares, catalog, n, caps=caps_of(catalog, *most))
    first = 0
    for listener, liked in enumerate(likes):
        own, first = shares[first : first + len(liked)], first + len(liked)
        taken, given, mine = Taken(catalog, heard[listener], most), [0] * len(liked), []
        waiting = [every.ids[like].tolist() for like in liked]
        while len(mine) < n and any(waiting):
            turn = [own[i] / (2 * given[i] + 1) if waiting[i] else -1 for i in range(len(liked))]
            which = int(np.argmax(turn))
            song = next((i for i in waiting[which] if taken.take(i)), None)
            waiting[which] = [] if song is None else waiting[which][waiting[which].index(song) + 1 :]
            if song is not None:
                mine.append((song, liked[which]))
                given[which] += 1
        if found.is_exact[listener]:
            assert shown(found, listener) == [song for song, _ in mine]
            assert found.because[listener, : len(mine)].tolist() == [like for _, like in mine]
    if depth >= len(vectors) - 1:
        assert found.is_exact.all()


def test_at_every_place_each_list_has_given_its_share():
    ids = np.arange(3 * 30, dtype=np.int32).reshape(3, 30)
    lists = Lists(ids + 3, np.zeros((3, 30), np.float32))
    catalog = Catalog(np.arange(93, dtype=np.int32), sets([[]] * 93))
    rows = np.full(93, -1, np.int32)
    rows[:3] = range(3)
    listener = Listeners(sets([[0, 1, 2]]), sets([[]]))
    found = in_turn(lists, listener, np.array([5, 3, 2]), catalog, 30, rows=rows)
    for n in (10, 20, 30):
        assert np.bincount((found.ids[0, :n] - 3) // 30).tolist() == [n // 2, 3 * n // 10, n // 5]


@settings(max_examples=200)
@given(cases(), st.integers(1, 8), st.booleans())
def test_the_nearest_to_a_vector_are_those_of_a_float64_ranking_of_all_songs(case, n, some_only):
    vectors, catalog, likes, heard, most, _ = case
    songs = vectors.astype(np.float64)
    tastes = np.array([songs[liked].sum(axis=0) if liked else np.zeros(songs.shape[1]) for liked in likes])
    among = np.arange(0, len(songs), 2) if some_only else None
    prepared = prepare_songs(songs, n, among=among)
    found = nearest_to_tastes(tastes, prepared, sets(heard), catalog, n, caps=caps_of(catalog, *most))
    assert found.is_exact.all()
    for listener, taste in enumerate(tastes):
        scores = np.array([sum(a * b for a, b in zip(song, taste, strict=True)) for song in songs]).astype(np.float32)
        taken = Taken(catalog, heard[listener], most)
        rows = range(len(songs)) if among is None else among.tolist()
        wanted = [i for i in sorted(rows, key=lambda i: (-scores[i], i)) if taken.take(i)][:n]
        assert shown(found, listener) == wanted  # sums on the grid are exact, and others are far apart
        np.testing.assert_allclose(found.scores[listener, : len(wanted)], scores[wanted], rtol=1e-6)


def test_the_like_that_a_song_is_most_similar_to_is_named():
    rng = np.random.default_rng(0)
    songs = rng.normal(size=(50, 4))
    songs /= np.linalg.norm(songs, axis=1, keepdims=True)
    likes = [[3, 7, 20], [], [49]]
    tastes = np.array([songs[liked].sum(axis=0) for liked in likes])
    catalog = Catalog(np.arange(50, dtype=np.int32), sets([[]] * 50))
    found = nearest_to_tastes(tastes, prepare_songs(songs, 6), sets(likes), catalog, 6)
    found.ids[1] = -1
    most_similar_like(found, sets(likes), songs)
    for listener, liked in enumerate(likes):
        wanted = [min(liked, key=lambda like: -songs[like] @ songs[song]) for song in shown(found, listener)]
        assert found.because[listener, : len(wanted)].tolist() == wanted
