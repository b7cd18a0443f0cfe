"""Figures of lists for listeners: equal to a plain float64 reference, and to RecTools where both define them alike."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from musicrec.evaluate.listeners import list_variety, ranking_metrics
from musicrec.evaluate.listeners.ranking_metrics import (
    average_precision_at_k,
    hit_rate_at_k,
    ndcg_at_k,
    recall_at_k,
)

FIGURES = {
    "recall": recall_at_k,
    "hit_rate": hit_rate_at_k,
    "ndcg": ndcg_at_k,
    "average_precision": average_precision_at_k,
}


def reference(listed, wanted, k):
    """The four figures of one list, written down as their definitions are."""
    listed, ideal = [item for item in listed[:k] if item >= 0], min(k, len(wanted))
    if not wanted:
        return dict.fromkeys(FIGURES, math.nan)
    dcg = sum(1 / math.log2(i + 1) for i, item in enumerate(listed, 1) if item in wanted)
    precisions = [sum(x in wanted for x in listed[:i]) / i for i, item in enumerate(listed, 1) if item in wanted]
    return {
        "recall": len(precisions) / len(wanted),
        "hit_rate": float(bool(precisions)),
        "ndcg": dcg / sum(1 / math.log2(i + 1) for i in range(1, ideal + 1)),
        "average_precision": sum(precisions) / ideal,
    }


def arrays(lists, wanted, n_items):
    n = max(map(len, lists))
    ids = np.array([[*mine, *[-1] * (n - len(mine))] for mine in lists], np.int32).reshape(len(lists), n)
    matrix = np.zeros((len(lists), n_items))
    for user, items in enumerate(wanted):
        matrix[user, list(items)] = 1
    return ids, sparse.csr_array(matrix)


@st.composite
def cases(draw):
    n_items = draw(st.integers(1, 12))
    n_users = draw(st.integers(1, 5))
    shuffled = st.permutations(range(n_items))
    lists = [draw(shuffled)[: draw(st.integers(0, n_items))] for _ in range(n_users)]
    wanted = [draw(st.sets(st.integers(0, n_items - 1))) for _ in range(n_users)]
    return lists, wanted, n_items, draw(st.integers(1, 14))


@given(cases())
def test_they_are_those_of_a_plain_reference(case):
    lists, wanted, n_items, k = case
    ids, relevant = arrays(lists, wanted, n_items)
    expected = [reference(mine, items, k) for mine, items in zip(lists, wanted, strict=True)]
    for name, figure in FIGURES.items():
        found = figure(ids, relevant, k)
        np.testing.assert_allclose(found, [row[name] for row in expected], rtol=0, atol=1e-12, err_msg=name)


def test_a_case_by_hand():
    ids, relevant = arrays([[4, 0, 3]], [{0, 3}], 6)
    assert recall_at_k(ids, relevant, 2).tolist() == [0.5]
    assert hit_rate_at_k(ids, relevant, 1).tolist() == [0.0]
    assert ndcg_at_k(ids, relevant, 3)[0] == pytest.approx((0.63092975 + 0.5) / (1 + 0.63092975))
    assert average_precision_at_k(ids, relevant, 3)[0] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_perfect_list_has_one_however_many_items_were_held_out():
    for n_held in (1, 3, 9):
        ids, relevant = arrays([list(range(n_held))], [set(range(n_held))], 10)
        assert ndcg_at_k(ids, relevant, 5).tolist() == [1.0]
        assert average_precision_at_k(ids, relevant, 5).tolist() == [1.0]


@given(cases())
def test_variety_is_that_of_a_plain_reference(case):
    lists, _, n_items, k = case
    ids = arrays(lists, [set()] * len(lists), n_items)[0][:, :k]
    popularity = np.arange(n_items) // 2  # the first two nobody likes
    artists = np.arange(n_items) // 3 - 1  # the first three have none
    cut = [mine[:k] for mine in lists]

    def mean_of(values):
        return [np.mean([values(item) for item in mine]) if mine else math.nan for mine in cut]

    listed = {item for mine in cut for item in mine}
    assert list_variety.coverage(ids, n_items) == len(listed) / n_items
    novelty = mean_of(lambda item: -math.log2(max(1, popularity[item]) / 8))
    np.testing.assert_allclose(list_variety.novelty(ids, popularity, 8), novelty, atol=1e-12)
    np.testing.assert_allclose(list_variety.cold_share(ids, popularity), mean_of(lambda item: popularity[item] == 0))
    names = [{f"a{artists[item]}" if artists[item] >= 0 else item for item in mine} for mine in cut]
    per_list = [len(set_of) / len(mine) if mine else math.nan for set_of, mine in zip(names, cut, strict=True)]
    np.testing.assert_allclose(list_variety.artists_per_list(ids, artists), per_list)


# --- RecTools -------------------------------------------------------------------------------------------------------


def frames(lists, wanted):
    import pandas as pd

    reco = [(user, item, rank) for user, mine in enumerate(lists) for rank, item in enumerate(mine, 1)]
    held = [(user, item) for user, items in enumerate(wanted) for item in sorted(items)]
    return (
        pd.DataFrame(reco, columns=["user_id", "item_id", "rank"]),
        pd.DataFrame(held, columns=["user_id", "item_id"]).assign(weight=1, datetime="2026-01-01"),
    )


@pytest.mark.parametrize("k", [1, 5, 10])
def test_they_are_rectools_where_both_define_them_alike(k):
    """RecTools needs NumPy 1, so it is no dependency: run this file in a folder of its own with it installed."""
    metrics = pytest.importorskip("rectools.metrics", reason="RecTools is not installed")
    rng = np.random.default_rng(k)
    n_items, n_users = 60, 40
    lists = [rng.permutation(n_items)[:10].tolist() for _ in range(n_users)]
    wanted = [set(rng.permutation(n_items)[: rng.integers(1, 15)].tolist()) for _ in range(n_users)]
    ids, relevant = arrays(lists, wanted, n_items)
    reco, held = frames(lists, wanted)
    liked_by = rng.integers(1, 30, n_items)
    before = [(user, item) for item in range(n_items) for user in range(liked_by[item])]
    learned = type(reco)(before, columns=["user_id", "item_id"]).assign(weight=1, datetime="2025-01-01")
    n_learning = learned["user_id"].nunique()
    few = np.array([len(items) <= k for items in wanted])
    theirs = {
        "recall": metrics.Recall(k=k).calc_per_user(reco, held),
        "hit_rate": metrics.HitRate(k=k).calc_per_user(reco, held),
        "ndcg": metrics.NDCG(k=k, divide_by_achievable=True).calc_per_user(reco, held),
    }
    for name, figure in theirs.items():
        np.testing.assert_allclose(FIGURES[name](ids, relevant, k), figure.sort_index(), rtol=0, atol=1e-9)
    by_all = metrics.MAP(k=k).calc_per_user(reco, held).sort_index()
    found = average_precision_at_k(ids, relevant, k)
    np.testing.assert_allclose(found[few], by_all[few], rtol=0, atol=1e-9)
    n_held = np.array(list(map(len, wanted)))
    np.testing.assert_allclose(found * np.minimum(k, n_held) / n_held, by_all, rtol=0, atol=1e-9)
    new = metrics.MeanInvUserFreq(k=k).calc_per_user(reco, learned).sort_index()
    np.testing.assert_allclose(list_variety.novelty(ids[:, :k], liked_by, n_learning), new, rtol=0, atol=1e-9)
    spread = metrics.CatalogCoverage(k=k, normalize=True).calc(reco, range(n_items))
    assert list_variety.coverage(ids[:, :k], n_items) == pytest.approx(spread, abs=1e-9)


def test_hits_are_of_the_own_held_out_items_only():
    ids, relevant = arrays([[1], [1]], [{1}, {0}], 2)
    assert ranking_metrics.hits_of(ids, relevant).tolist() == [[True], [False]]
