"""All figures of methods together: bands add up, and a better method is told from a worse one."""

import numpy as np
import pytest
from scipy import sparse

from musicrec.evaluate.listeners.judging import (
    COLD_ARTISTS,
    HISTORY_BANDS,
    ITEM_BANDS,
    HeldOut,
    figures_of,
    history_bands,
    item_bands,
    judge,
)
from musicrec.evaluate.listeners.ranking_metrics import n_relevant

N_USERS, N_ITEMS, K = 60, 40, 5


@pytest.fixture(scope="module")
def held_out():
    rng = np.random.default_rng(0)
    draws = rng.random((N_USERS, N_ITEMS)) < np.linspace(0.6, 0, N_ITEMS)  # the last items nobody likes
    held = ~draws & (rng.random((N_USERS, N_ITEMS)) < 0.2)
    artists = np.arange(N_ITEMS) // 4
    artists[3] = -1
    vectors = rng.normal(size=(N_ITEMS, 3)).astype(np.float32)
    learned = sparse.csr_array(draws.astype(np.float32))
    return HeldOut(learned, np.arange(N_USERS), sparse.csr_array(held.astype(np.float32)), artists, vectors)


def good_and_bad(held_out):
    """Lists of held-out items first, and lists of the others."""
    held = held_out.relevant.toarray() > 0
    jitter = np.random.default_rng(1).random(held.shape)
    good = np.argsort(-(held + jitter * 0.9), axis=1)[:, :K].astype(np.int32)
    return {"good": good, "bad": np.argsort(held + jitter, axis=1)[:, :K].astype(np.int32)}


def test_each_item_is_in_one_band_and_bands_have_about_a_third_of_the_likes(held_out):
    bands = item_bands(held_out)
    assert sum(bands[name].astype(int) for name in ITEM_BANDS).tolist() == [1] * N_ITEMS
    popularity = held_out.popularity
    assert bands["cold items"].tolist() == (popularity == 0).tolist()
    assert bands["cold items"].any()
    shares = [popularity[bands[name]].sum() / popularity.sum() for name in ITEM_BANDS[1:]]
    assert all(0.2 < share < 0.45 for share in shares)
    assert popularity[bands["rare items"]].max() <= popularity[bands["medium items"]].min()
    assert popularity[bands["medium items"]].max() <= popularity[bands["popular items"]].min()
    liked = {artist for artist, n in zip(held_out.artists, popularity, strict=True) if n}
    cold = [artist >= 0 and artist not in liked for artist in held_out.artists]
    assert bands[COLD_ARTISTS].tolist() == cold


def test_each_listener_is_in_one_band_by_the_length_of_the_history(held_out):
    bands = history_bands(held_out)
    assert sum(bands[name].astype(int) for name in HISTORY_BANDS).tolist() == [1] * N_USERS
    lengths = np.diff(held_out.learned.indptr)
    assert lengths[bands["short histories"]].max() < lengths[bands["long histories"]].min()


def test_recall_in_bands_adds_up_to_the_recall_of_all(held_out):
    lists = good_and_bad(held_out)
    table = judge(lists, held_out, K).set_index(["method", "against", "metric", "band"])["value"]
    figures = figures_of(lists["good"], held_out, K)
    found = np.zeros(N_USERS)
    for band in ITEM_BANDS:
        held = (held_out.relevant.toarray() > 0) & item_bands(held_out)[band]
        found += np.nan_to_num(figures["recall", band]) * held.sum(axis=1)
    np.testing.assert_allclose(found, figures["recall", "all"] * n_relevant(held_out.relevant))
    assert table[("good", np.nan, "recall", "all")] == pytest.approx(np.nanmean(figures["recall", "all"]))


def test_a_better_method_is_told_from_a_worse_one_and_from_itself(held_out):
    lists = good_and_bad(held_out)
    table = judge({**lists, "twin": lists["good"]}, held_out, K)
    pairs = table[table["against"].notna() & (table["metric"] == "ndcg")].set_index(["method", "against"])
    assert pairs.loc[("good", "bad"), "p_holm"] < 0.001
    assert pairs.loc[("good", "bad"), "low"] > 0
    assert pairs.loc[("good", "twin"), ["value", "p_holm"]].tolist() == [0.0, 1.0]
    overall = table[table["against"].isna() & (table["band"] == "all")]
    assert set(overall["metric"]) == {
        "recall", "ndcg", "map", "hit_rate", "novelty", "cold_share", "artists_per_list", "diversity", "coverage",
    }  # fmt: skip
    with_interval = overall[overall["metric"] != "coverage"]
    assert (with_interval["low"] <= with_interval["value"]).all()
    assert (with_interval["value"] <= with_interval["high"]).all()
