"""One contract that every method keeps, and each method beside a plain reference or beside implicit's own answer."""

import warnings

import numpy as np
import pytest
from scipy import sparse, stats

from musicrec.errors import ConfigError
from musicrec.models.recommenders import by_content, collaborative, scored
from musicrec.models.recommenders.by_content import MMR, Genre, Max, Mean, MultiInterest, interests, interleaved
from musicrec.models.recommenders.collaborative import ALS, BM25, BPR, ItemKNN, Popularity, Random, most_similar
from musicrec.models.recommenders.fused import Hybrid, fuse
from recommending import needs_implicit

N_USERS, N_ITEMS, N = 40, 50, 6
COLD = N_ITEMS - 3  # from this item on, nobody likes any
NO_LIKES = N_USERS - 1  # a listener who likes nothing


def vectors():
    return np.random.default_rng(0).normal(size=(N_ITEMS, 6)).astype(np.float32)


def probabilities():
    return np.random.default_rng(1).dirichlet(np.ones(3), N_ITEMS)


METHODS = {
    "popularity": Popularity,
    "random": Random,
    "item_knn": lambda: ItemKNN(5),
    "bm25": lambda: BM25(5),
    "als": lambda: ALS(factors=4, iterations=3),
    "bpr": lambda: BPR(factors=4, iterations=5),
    "mean": lambda: Mean(vectors()),
    "genre": lambda: Genre(vectors(), probabilities()),
    "max": lambda: Max(vectors()),
    "mmr": lambda: MMR(vectors()),
    "multi_interest": lambda: MultiInterest(vectors()),
    "hybrid": lambda: Hybrid({"item_knn": ItemKNN(5), "max": Max(vectors())}, [0.5, 0.5]),
}
OF_IMPLICIT = ("bm25", "als", "bpr")
KNOW_LIKES_ONLY = ("popularity", "item_knn", "bm25", "als", "bpr")


@pytest.fixture(scope="module")
def listeners():
    """Likes, and what was only heard; one listener likes nothing, another has heard everything but two items."""
    rng = np.random.default_rng(2)
    likes = rng.random((N_USERS, N_ITEMS)) < np.linspace(0.4, 0.05, N_ITEMS)
    likes[:, COLD:] = False
    likes[NO_LIKES] = False
    heard = ~likes & (rng.random((N_USERS, N_ITEMS)) < 0.1)
    heard[0] = ~likes[0]
    heard[0, [1, COLD]] = False
    likes[0, 1] = False
    return tuple(sparse.csr_array(each.astype(np.float32)) for each in (likes, heard))


@pytest.fixture(params=[pytest.param(name, marks=needs_implicit if name in OF_IMPLICIT else ()) for name in METHODS])
def name(request):
    return request.param


def test_nothing_heard_is_recommended_nor_anything_twice(name, listeners):
    likes, heard = listeners
    ids = METHODS[name]().fit(likes, heard).recommend(np.arange(N_USERS), N)
    assert ids.shape == (N_USERS, N)
    assert ids.dtype == np.int32
    known = (likes + heard).toarray() > 0
    for user, mine in enumerate(ids):
        items = mine[mine >= 0]
        assert (mine[len(items) :] == -1).all()
        assert len(set(items)) == len(items)
        assert not known[user, items].any()
        assert ((items >= 0) & (items < N_ITEMS)).all()


def test_a_list_is_as_long_as_it_can_be_and_no_longer(name, listeners):
    likes, heard = listeners
    method = METHODS[name]().fit(likes, heard)
    everything = method.recommend(np.array([0]), 3 * N_ITEMS)
    assert everything.shape == (1, 3 * N_ITEMS)
    assert set(everything[0]) <= {1, COLD, -1}
    if name not in ("item_knn", "bm25"):  # which know neighbours only
        assert 1 in everything[0]
    assert (COLD in everything[0]) == (name not in KNOW_LIKES_ONLY)
    nothing = method.recommend(np.array([NO_LIKES]), N)
    assert (nothing == -1).all() == (name not in ("popularity", "random"))
    assert method.recommend(np.array([], np.int64), N).shape == (0, N)


def test_lists_are_the_same_alone_in_any_order_in_small_blocks_and_fitted_again(name, listeners, monkeypatch):
    likes, heard = listeners
    users = np.arange(N_USERS)
    method = METHODS[name]().fit(likes, heard)
    ids = method.recommend(users, N)
    assert method.recommend(users[::-1], N)[::-1].tolist() == ids.tolist()
    assert [method.recommend(np.array([user]), N)[0].tolist() for user in users] == ids.tolist()
    monkeypatch.setattr(scored, "CELLS", 7 * N_ITEMS)
    monkeypatch.setattr(collaborative, "CELLS", 7 * N_ITEMS)
    assert METHODS[name]().fit(likes, heard).recommend(users, N).tolist() == ids.tolist()


def test_a_shorter_list_is_the_start_of_a_longer_one(name, listeners):
    if name in ("mmr", "multi_interest"):
        pytest.skip("the whole list is made at once")
    method = METHODS[name]().fit(*listeners)
    users = np.arange(N_USERS)
    assert method.recommend(users, 2).tolist() == method.recommend(users, N)[:, :2].tolist()


# --- by likes -------------------------------------------------------------------------------------------------------


def plain_ranking(scores, left_out, n):
    """Items by descending score, then number; none with the score -inf."""
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], item))
    mine = [item for item in order if item not in left_out and scores[item] > -np.inf][:n]
    return mine + [-1] * (n - len(mine))


def test_popularity_is_the_number_of_likes(listeners):
    likes, heard = listeners
    n_likes = likes.toarray().sum(axis=0)
    scores = np.where(n_likes > 0, n_likes, -np.inf)
    known = (likes + heard).toarray() > 0
    ids = Popularity().fit(likes, heard).recommend(np.arange(N_USERS), N)
    expected = [plain_ranking(scores, set(np.flatnonzero(known[user])), N) for user in range(N_USERS)]
    assert ids.tolist() == expected


def test_cosines_of_items_are_those_of_a_dense_matrix(listeners):
    x = listeners[0].toarray().astype(np.float64)
    length = np.sqrt((x * x).sum(axis=0))
    cosine = x.T @ x / np.maximum(1e-12, np.outer(length, length))
    np.fill_diagonal(cosine, 0)
    found = most_similar(listeners[0], 4).toarray()
    for item in range(N_ITEMS):
        kept = sorted(range(N_ITEMS), key=lambda other: (-round(cosine[item, other], 12), other))[:4]
        row = np.where(np.isin(np.arange(N_ITEMS), kept), cosine[item], 0)
        np.testing.assert_allclose(found[item], row, atol=1e-12)


@needs_implicit
@pytest.mark.filterwarnings("ignore:Method expects CSR")
def test_item_knn_is_implicits_cosine_where_all_items_are_neighbours(listeners):
    likes = listeners[0]
    from implicit.nearest_neighbours import CosineRecommender

    theirs = CosineRecommender(K=N_ITEMS)
    theirs.fit(sparse.csr_matrix(likes), show_progress=False)
    ours = ItemKNN(N_ITEMS).fit(likes)
    for user in range(1, NO_LIKES):
        scores = (likes[[user]] @ theirs.similarity).toarray()[0]
        scores[likes[[user]].indices] = 0
        found = [item for item in ours.recommend(np.array([user]), N)[0] if item >= 0]
        best = -np.sort(-scores)[: len(found)]
        np.testing.assert_allclose(scores[found], best, rtol=1e-6)


@needs_implicit
@pytest.mark.parametrize("kind", ["als", "bpr"])
def test_factors_give_the_list_that_implicit_recommends_where_it_fills_nothing(kind, listeners):
    likes = listeners[0][: N_USERS - 1]
    method = METHODS[kind]().fit(likes)
    model = method._model()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(sparse.csr_matrix(likes), show_progress=False)
        if kind == "bpr":  # which draws what is not liked by popularity
            model.item_factors[:, -1] += np.log(np.maximum(np.bincount(likes.indices, minlength=N_ITEMS), 1))
        users = np.arange(1, likes.shape[0])
        theirs, _ = model.recommend(users, sparse.csr_matrix(likes)[users], N=N, filter_already_liked_items=True)
    n_likes = np.bincount(likes.indices, minlength=N_ITEMS)
    same = [
        mine.tolist() == other.tolist()
        for mine, other in zip(method.recommend(users, N), theirs, strict=True)
        if n_likes[other].all()  # it recommends items that nobody likes, too
    ]
    assert len(same) > 10
    assert all(same)


@needs_implicit
def test_bpr_ranks_by_popularity_where_nobody_has_a_taste():
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, 101)
    likes = np.zeros((1500, 100), np.float32)
    for row in likes:
        row[rng.choice(100, 10, replace=False, p=share / share.sum())] = 1
    method = BPR(factors=8, iterations=50).fit(sparse.csr_array(likes))
    scores = method.factors.scores(np.arange(len(likes))).mean(axis=0)
    assert stats.spearmanr(scores, likes.sum(axis=0)).statistic > 0.95


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModuleNotFoundError("implicit"), r"is not installed; run: pip install 'musicrec\[collaborative\]'$"),
        (ImportError("libgomp.so.1: cannot open"), r"cannot be loaded \(libgomp.so.1: .*\); .*: apt install libgomp1$"),
    ],
)
def test_without_implicit_one_line_names_the_remedy(listeners, monkeypatch, error, told):
    def missing(name):
        raise error

    monkeypatch.setattr(collaborative, "import_module", missing)
    for method in (BM25(), ALS(), BPR()):
        with pytest.raises(ConfigError, match=rf"needs the library implicit, which {told}"):
            method.fit(listeners[0])


# --- by content -----------------------------------------------------------------------------------------------------


def unit():
    x = vectors().astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def references():
    cosine, p = unit() @ unit().T, probabilities()
    return {
        "mean": lambda liked: cosine[liked].mean(axis=0),
        "max": lambda liked: cosine[liked].max(axis=0),
        "genre": lambda liked: cosine[liked].mean(axis=0) + p @ p[liked].mean(axis=0),
    }


@pytest.mark.parametrize("kind", ["mean", "max", "genre"])
def test_content_is_ranked_over_the_whole_catalog(kind, listeners):
    likes, heard = listeners
    known = (likes + heard).toarray() > 0
    ids = METHODS[kind]().fit(likes, heard).recommend(np.arange(NO_LIKES), N)
    for user in range(NO_LIKES):
        scores = references()[kind](np.flatnonzero(likes.toarray()[user])).astype(np.float32)
        assert ids[user].tolist() == plain_ranking(scores, set(np.flatnonzero(known[user])), N)


def test_max_is_what_the_published_lists_give(listeners):
    from musicrec.similarity import top_n
    from musicrec.similarity.listeners.nearest_to_likes import Catalog, Listeners, nearest_to_likes
    from musicrec.similarity.songs import CodeSets, as_sets

    likes, heard = listeners
    both = (likes + heard).tocsr()
    both.sort_indices()
    sets = [CodeSets(m.indptr.astype(np.int64), m.indices.astype(np.int32)) for m in (likes, both)]
    catalog = Catalog(np.arange(N_ITEMS, dtype=np.int32), as_sets(np.full(N_ITEMS, -1, np.int32)))
    published = nearest_to_likes(top_n(vectors(), N_ITEMS - 1), Listeners(*sets), catalog, N)
    assert Max(vectors()).fit(likes, heard).recommend(np.arange(N_USERS), N).tolist() == published.ids.tolist()


def test_mmr_takes_the_next_song_by_what_it_adds(listeners):
    likes, heard = listeners
    cosine = unit() @ unit().T
    pools = Mean(vectors()).fit(likes, heard).recommend(np.arange(NO_LIKES), 5 * N)
    ids = MMR(vectors(), 0.4).fit(likes, heard).recommend(np.arange(NO_LIKES), N)
    for user in range(NO_LIKES):
        relevance = cosine[np.flatnonzero(likes.toarray()[user])].mean(axis=0)
        pool, chosen = [item for item in pools[user] if item >= 0], []
        while pool and len(chosen) < N:
            gain = [0.4 * relevance[i] - 0.6 * max((cosine[i, j] for j in chosen), default=0) for i in pool]
            chosen.append(pool.pop(int(np.argmax(gain))))
        assert [item for item in ids[user] if item >= 0] == chosen


def test_interests_of_two_tastes_are_both_served_by_their_share():
    rng = np.random.default_rng(3)
    tastes = np.repeat(np.eye(2, 8), 30, axis=0) + 0.02 * rng.normal(size=(60, 8))
    likes = np.zeros((1, 60), np.float32)
    likes[0, [0, 1, 2, 3, 4, 5, 30, 31, 32]] = 1  # two thirds of the first taste
    ids = MultiInterest(tastes).fit(sparse.csr_array(likes)).recommend(np.array([0]), 9)
    assert (ids[0] < 30).sum() == 6
    mean = Mean(tastes).fit(sparse.csr_array(likes)).recommend(np.array([0]), 9)
    assert (mean[0] < 30).all()  # which serves the larger taste alone


def test_interests_divide_all_likes_and_their_centres_are_likes():
    liked = np.array([2, 5, 9, 11, 20, 21, 33])
    centres, sizes = interests(unit(), liked)
    assert len(centres) == 5
    assert sizes.sum() == len(liked)
    assert set(centres) <= set(liked)
    assert sorted(sizes, reverse=True) == sizes.tolist()


def test_no_item_comes_twice_when_lists_are_interleaved():
    lists = np.array([[7, 8], [7, -1], [5, 6]], np.int32)
    assert interleaved(lists, np.array([1, 1, 4]), np.array([0, 2, 3]), 9).tolist() == [[7, 8], [5, 6]]


def test_of_very_many_likes_some_are_clustered(monkeypatch):
    monkeypatch.setattr(by_content, "MOST_CLUSTERED", 10)
    centres, sizes = interests(unit(), np.arange(50))
    assert (len(centres), sizes.sum()) == (5, 10)


# --- fusion ---------------------------------------------------------------------------------------------------------


def test_fusion_is_the_sum_of_reciprocal_ranks():
    rng = np.random.default_rng(4)
    lists = [np.stack([rng.permutation(20)[:8] for _ in range(5)]).astype(np.int32) for _ in range(3)]
    lists[1][2, 3:] = -1
    weights = np.array([0.5, 0.25, 0.25])
    found = fuse(lists, weights, 6)
    for user in range(5):
        scores = np.full(20, -np.inf)
        for ids, weight in zip(lists, weights, strict=True):
            for rank, item in enumerate(ids[user], 1):
                if item >= 0:
                    scores[item] = max(0, scores[item]) + weight / (60 + rank)
        assert found[user].tolist() == plain_ranking(scores.astype(np.float32), set(), 6)


def test_weights_go_to_the_method_that_finds_what_was_held_out(listeners):
    likes, heard = listeners
    users = np.arange(1, 20)
    best = Max(vectors()).fit(likes, heard).recommend(users, 3)
    held = sparse.csr_array(
        (np.ones(best.size), (np.repeat(np.arange(len(users)), 3), best.ravel())), shape=(len(users), N_ITEMS)
    )
    hybrid = Hybrid({"popularity": Popularity(), "max": Max(vectors())}).fit(likes, heard)
    assert hybrid.fit_weights(users, held, 3).weights.tolist() == [0.0, 1.0]
    assert hybrid.recommend(users, 3).tolist() == best.tolist()
