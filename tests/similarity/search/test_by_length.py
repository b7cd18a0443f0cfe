"""Lists by inner product where lengths differ by orders of magnitude are those of a ranking of all songs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from musicrec.similarity import top_n
from musicrec.similarity.search import by_length
from musicrec.similarity.search.blocks import prepare
from musicrec.similarity.search.refresh import full, refresh
from musicrec.similarity.search.screens import available


def ranked(songs, n):
    """Rows and scores by a plain ranking in long doubles."""
    x = np.asarray(songs, np.longdouble)
    scores = (x @ x.T).astype(np.float32) + np.float32(0)
    scores[np.arange(len(x)), np.arange(len(x))] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    return best, np.take_along_axis(scores, best, axis=1)


def heavy(n_songs, rng, d=24):
    """Synthetic vectors in clumps whose lengths differ by orders of magnitude, some of them zero and some copies."""
    vectors = rng.normal(size=(9, d))[rng.integers(0, 9, n_songs)] + 0.3 * rng.normal(size=(n_songs, d))
    vectors *= np.exp(1.5 * rng.normal(size=(n_songs, 1)))
    vectors[rng.integers(0, n_songs, n_songs // 40)] = vectors[1]
    vectors[rng.integers(0, n_songs, n_songs // 40)] = 0
    return vectors.astype(np.float32)


@settings(max_examples=80, deadline=None)
@given(
    arrays.arrays(np.float64, st.tuples(st.integers(6, 40), st.integers(1, 7)), elements=st.integers(-9, 9).map(float)),
    st.data(),
    st.integers(1, 45),
    st.integers(1, 5),
)
def test_lists_are_those_of_a_plain_ranking_whatever_the_levels(songs, data, n, few):
    powers = data.draw(arrays.arrays(np.int64, len(songs), elements=st.integers(-9, 9)))
    songs = np.ldexp(songs, powers[:, None])  # sums of products are exact, so ties are ties
    rows = data.draw(st.lists(st.integers(0, len(songs) - 1), unique=True, min_size=1).map(np.array))
    ids, scores = ranked(songs, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_length, "FEW", few)
        patch.setattr(by_length, "APART", 0.0)
        for screen in available():
            found = top_n(songs, n, "inner", screen=screen)
            assert found.ids.tolist() == ids[:, : found.ids.shape[1]].tolist()
            np.testing.assert_array_equal(found.scores, scores[:, : found.ids.shape[1]])
            assert top_n(songs, n, "inner", rows=rows, screen=screen).ids.tolist() == found.ids[rows].tolist()


@pytest.mark.parametrize("screen", available())
def test_songs_of_all_lengths_are_put_into_levels_and_compared_once_each(screen, monkeypatch):
    songs = heavy(4000, np.random.default_rng(0))
    levels = by_length.levels_of(prepare(songs, "inner"), 20, screen)
    assert sorted(np.concatenate([level.lists.songs for level in levels])) == list(range(4000))
    lengths = np.linalg.norm(songs, axis=1)
    for level in levels[1:]:
        within = lengths[level.lists.songs]
        assert len(within) <= by_length.FEW or within.min() >= within.max() / by_length.RATIO * (1 - 1e-6)
    seen, fill = [], by_length.fill
    monkeypatch.setattr(by_length, "fill", lambda *a: (seen.append(1), fill(*a)))
    ids, scores = top_n(songs, 20, "inner", screen=screen)
    assert seen
    expected = ranked(songs, 20)
    assert (ids == expected[0]).mean() > 0.999  # others are ties of float32 that sums in another order break
    np.testing.assert_allclose(scores, expected[1], rtol=1e-5, atol=1e-6 * np.abs(scores).max())


def test_lengths_that_hardly_differ_make_no_levels():
    songs = heavy(3000, np.random.default_rng(0))
    lengths = np.linalg.norm(songs, axis=1, keepdims=True)
    assert by_length.differ_much(prepare(songs, "inner"))
    assert not by_length.differ_much(prepare(songs / np.where(lengths > 0, lengths, 1), "inner"))


def test_nights_after_a_run_by_levels_are_full_runs():
    rng = np.random.default_rng(3)
    songs = heavy(3000, rng)
    last = full(songs, 10, "inner")
    for _ in range(3):
        songs = songs.copy()
        songs[rng.choice(3000, 20, replace=False)] = heavy(200, rng)[rng.choice(200, 20)].clip(-5, 5)
        last = refresh(last.kept, songs, np.arange(3000), "inner")
        expected = top_n(songs, 10, "inner")
        assert last.lists.ids.tolist() == expected.ids.tolist()
        assert last.lists.scores.tobytes() == expected.scores.tobytes()


@pytest.mark.parametrize(("share", "pays"), [(0.01, False), (0.1, True), (0.4, True)])
def test_levels_pay_where_some_songs_are_short_too(share, pays):
    songs = np.random.default_rng(0).normal(size=(1000, 8))
    songs /= np.linalg.norm(songs, axis=1, keepdims=True)
    songs[: round(share * len(songs))] /= 1000
    assert by_length.differ_much(prepare(songs, "inner")) is pays
