"""Benchmarks of recommendations: that simulated listeners are as said, and that a wrong list is seen."""

import numpy as np
import pytest

from benchmarks.listeners import lastfm, recommend, simulated_tastes
from benchmarks.listeners import recommend_peers as peers
from musicrec.similarity import Lists
from musicrec.similarity.listeners.nearest_to_likes import nearest_to_likes
from recommending import needs_implicit

GENRES = np.repeat(np.arange(5), 30)


def test_simulated_listeners_like_each_song_once():
    likes = recommend.simulated_likes(200, 6, 20, seed=0)
    assert likes.shape == (200, 6)
    assert (np.diff(likes, axis=1) > 0).all()
    assert (likes.min(), likes.max()) == (0, 19)


def test_a_list_that_is_not_the_reference_is_seen():
    rng = np.random.default_rng(0)
    ids = np.stack([rng.permutation(np.delete(np.arange(30), i))[:8] for i in range(30)]).astype(np.int32)
    scores = -np.sort(-rng.random((30, 8)).astype(np.float32), axis=1)
    likes = recommend.simulated_likes(10, 3, 30, seed=1)
    found = nearest_to_likes(Lists(ids, scores), recommend.as_listeners(likes), recommend.catalog_of(30), 5).ids
    assert recommend.equals_reference(Lists(ids, scores), likes, found)
    found[3, [0, 1]] = found[3, [1, 0]]
    assert not recommend.equals_reference(Lists(ids, scores), likes, found)


@needs_implicit
@pytest.mark.parametrize("module", ["implicit", "rectools"])
def test_peers_add_up_the_scores_of_the_same_lists(module):
    pytest.importorskip(module, reason=f"{module} is not installed")
    rng = np.random.default_rng(2)
    ids = np.stack([rng.permutation(np.delete(np.arange(30), i))[:8] for i in range(30)]).astype(np.int32)
    lists = Lists(ids, -np.sort(-rng.random((30, 8)).astype(np.float32), axis=1))
    likes = recommend.simulated_likes(10, 3, 30, seed=1)
    table = np.zeros((30, 30))
    table[np.arange(30)[:, None], ids] = lists.scores
    for mine, found in zip(likes, getattr(peers, f"of_{module}")(lists, 30, 5)(likes)(), strict=True):
        sums = table[mine].sum(axis=0)
        sums[mine] = 0
        assert found[found >= 0].tolist() == np.argsort(-sums, kind="stable")[:5].tolist()


def test_simulated_likes_and_what_is_held_out_are_mostly_of_the_tastes():
    simulated = simulated_tastes.simulate(GENRES, 300, seed=0)
    assert set(simulated.tastes.sum(axis=1)) == {1, 2, 3}
    for part in (simulated.likes, simulated.held_out):
        assert (np.diff(part.indptr) == 8).all()
        entries = part.tocoo()
        share = simulated.tastes[entries.row, GENRES[entries.col]].mean()
        assert 0.85 < share < 0.97
    assert simulated.likes.multiply(simulated.held_out).nnz == 0


def test_figures_of_simulated_tastes_are_those_by_hand():
    simulated = simulated_tastes.simulate(GENRES, 2, seed=1)
    mine = np.flatnonzero(simulated.tastes[0])
    ids = np.array([[mine[0] * 30, mine[0] * 30 + 1, next(g for g in range(5) if g not in mine) * 30, -1]], np.int32)
    songs = {"genre": GENRES, "artist": np.arange(150) // 2, "x": np.eye(150)}
    found = simulated_tastes.figures_of(ids, np.array([0]), simulated, songs)
    assert found["precision"].tolist() == [0.5]
    assert found["taste coverage"].tolist() == [1 / len(mine)]
    assert found["diversity"].tolist() == [1.0]
    np.testing.assert_allclose(found["artists"], [2 / 3])


def test_likes_of_lastfm_are_in_one_part_each_and_a_tenth_is_tested():
    user, item = np.divmod(np.arange(40 * 50), 50)
    parts = lastfm.in_parts(user, item, seed=0)
    assert sum(parts).toarray().tolist() == np.ones((40, 50)).tolist()
    assert (np.diff(parts.test.indptr) == 5).all()
    assert (np.diff(parts.choose.indptr) == 5).all()


def test_what_settings_were_chosen_by_is_left_out_of_the_tested_lists():
    user, item = np.divmod(np.arange(40 * 50), 50)
    parts = lastfm.in_parts(user, item % 50, seed=0)
    method, _ = lastfm.chosen("item_knn", parts)
    ids = lastfm._Masked(method, parts).recommend(np.arange(40), 5)
    known = (parts.learn + parts.choose).toarray() > 0
    assert (ids >= 0).all()
    assert not known[np.arange(40)[:, None], ids].any()
