"""A refresh ends with the lists of a full run, bit for bit, night after night."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicrec.similarity import top_n
from musicrec.similarity.search import bounds, by_products, queries, starting_limits
from musicrec.similarity.search import refresh as refreshing
from musicrec.similarity.search.approximate import recall, top_n_approximate
from musicrec.similarity.search.blocks import BLOCK_ROWS, prepare
from musicrec.similarity.search.refresh import full, refresh
from musicrec.similarity.search.score_keys import COSINE
from musicrec.similarity.search.screens import available

METRICS = ["cosine", "euclidean", "inner"]


def clumps(n_songs, rng, d=20):
    """Synthetic vectors in clumps, a few of them copies of others."""
    vectors = rng.normal(size=(12, d))[rng.integers(0, 12, n_songs)] + 0.4 * rng.normal(size=(n_songs, d))
    vectors[rng.integers(0, n_songs, n_songs // 50)] = vectors[0]
    return vectors.astype(np.float32)


def next_night(vectors, rng, changed, added, deleted, fresh):
    """Vectors of the next night, and the row that each song had: songs come and go anywhere in the order."""
    vectors = vectors.copy()
    vectors[rng.choice(len(vectors), changed, replace=False)] = fresh(changed)
    kept = np.sort(rng.choice(len(vectors), len(vectors) - deleted, replace=False))
    order = np.argsort(np.concatenate([kept, rng.uniform(0, len(vectors), added)]), kind="stable")
    before = np.concatenate([kept, np.full(added, -1)])[order]
    return np.concatenate([vectors[kept], fresh(added)])[order], before


def assert_same(lists, expected):
    assert np.array_equal(lists.ids, expected.ids)
    assert lists.scores.tobytes() == expected.scores.tobytes()


@pytest.mark.thorough
@pytest.mark.parametrize("metric", METRICS)
def test_five_nights_of_refreshing_are_five_full_runs(metric):
    rng = np.random.default_rng(0)
    vectors = clumps(1500, rng)
    last = full(vectors, 10, metric)
    assert_same(last.lists, top_n(vectors, 10, metric))
    for _ in range(5):
        vectors, before = next_night(vectors, rng, 15, 8, 7, lambda n: clumps(max(n, 2), rng)[:n])
        last = refresh(last.kept, vectors, before, metric)
        assert_same(last.lists, top_n(vectors, 10, metric))
        assert last.n_changed == 23


@pytest.mark.thorough
@pytest.mark.parametrize("screen", available())
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n_songs", "n"), [(3000, 10), (400, 300)])
@pytest.mark.parametrize(
    ("dear", "way"),
    [("NS_PER_NUMBER_READ", (bounds, "widened")), ("NS_PER_NUMBER_CODED", (by_products, "nearest_to"))],
)
def test_songs_of_another_catalog_come_and_change_and_go(dear, way, n_songs, n, metric, screen, monkeypatch):
    """They lie on axes on which no other song does, and which the codes leave out.

    They meet all songs by products, or by codes of all axes, whichever is expected to take less time. Where lists are
    nearly as long as the catalog, they hold songs of both.
    """
    (module, name), seen = way, []
    called = getattr(module, name)
    monkeypatch.setattr(refreshing, "NS_PER_NUMBER_READ", 0.0)
    monkeypatch.setattr(refreshing, "NS_PER_NUMBER_CODED", 0.0)
    monkeypatch.setattr(refreshing, dear, np.inf)
    monkeypatch.setattr(bounds, "ns_by_codes", lambda _, some, *__: np.full(len(some.values), np.inf))
    monkeypatch.setattr(module, name, lambda *a: (seen.append(1), called(*a))[1])
    rng = np.random.default_rng(1)
    d = 200

    def own(k):
        some = clumps(max(k, 50), rng)[:k]
        return np.hstack([some, 0.01 * rng.normal(size=(k, d - some.shape[1]))]).astype(np.float32)

    def others(k):
        return np.hstack([own(k)[:, :20] * 0.1, rng.normal(size=(k, d - 20)) * 0.3]).astype(np.float32)

    vectors = own(n_songs)
    last = full(vectors, n, metric, screen=screen)
    for night, fresh in enumerate([own, others, lambda k: np.concatenate([own(k - k // 2), others(k // 2)]), own]):
        vectors, before = next_night(vectors, rng, 12, 9, 6, fresh)
        last = refresh(last.kept, vectors, before, metric)
        assert last is not None
        assert_same(last.lists, top_n(vectors, n, metric))
        assert 19 <= last.n_changed <= 21  # one that has changed may be gone the same night
        assert len(seen) == (0, 1, 2, 2)[night]


@pytest.mark.parametrize(("n_others", "way"), [(0, ""), (5, "codes"), (60, "products"), (900, "codes of all axes")])
def test_the_way_that_is_expected_to_take_the_least_time_is_taken(n_others, way):
    rng = np.random.default_rng(1)
    songs, new = clumps(4000, rng), clumps(200, rng)
    others = rng.normal(size=(n_others, 180)).astype(np.float32)
    given, every = (
        prepare(np.concatenate([np.pad(own, ((0, 0), (0, 180))), np.pad(of_others, ((0, 0), (20, 0)))]), "cosine")
        for own, of_others in ((new, others), (songs, others))
    )
    projection = bounds.fit(prepare(np.pad(songs, ((0, 0), (0, 180))), "cosine"), COSINE, 10, "vnni")
    chosen, far = refreshing._sooner_without(projection, given, every, 10)
    assert chosen == way
    assert far.tolist() == (list(range(200, 200 + n_others)) if n_others > 5 else [])


@pytest.mark.parametrize("n", [300, 700])
def test_lists_may_be_longer_than_what_is_looked_at_first(n):
    rng = np.random.default_rng(0)
    last = full(clumps(800, rng), n)
    vectors, before = next_night(clumps(800, np.random.default_rng(0)), rng, 40, 5, 5, lambda k: clumps(k + 2, rng)[:k])
    assert_same(refresh(last.kept, vectors, before).lists, top_n(vectors, n))


@pytest.mark.parametrize("screen", available())
def test_more_songs_may_change_than_meet_others_at_once(screen, monkeypatch):
    monkeypatch.setattr(queries, "ROWS_AT_ONCE", BLOCK_ROWS + 64)
    rng = np.random.default_rng(0)
    vectors = clumps(6000, rng)
    last = full(vectors, 10, screen=screen)
    vectors, before = next_night(vectors, rng, 900, 5, 5, lambda n: clumps(n + 50, rng)[:n])
    assert_same(refresh(last.kept, vectors, before).lists, top_n(vectors, 10))


def test_lists_whose_limit_was_guessed_too_high_are_made_without(monkeypatch):
    rng = np.random.default_rng(5)
    vectors = clumps(3000, rng)
    kept = full(vectors, 10).kept
    vectors, before = next_night(vectors, rng, 20, 10, 10, lambda n: clumps(n + 50, rng)[:n])
    expected, guess = top_n(vectors, 10), starting_limits._limits
    monkeypatch.setattr(
        starting_limits, "_limits", lambda *arguments: guess(*arguments[:-1], 1)
    )  # the best, not the nth
    assert_same(refresh(kept, vectors, before).lists, expected)


@pytest.mark.thorough
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    spares=st.integers(0, 6),
    changes=st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 20)),
    offset=st.sampled_from([0, 100_000]),
)
def test_any_change_is_refreshed_however_few_spares_there_are(seed, spares, changes, offset):
    rng = np.random.default_rng(seed)

    def draw(n):  # many ties, and far out many that float32 alone makes
        return rng.integers(offset - 2, offset + 3, (n, 3)).astype(np.float32)

    vectors = draw(90)
    last = full(vectors, 5, "cosine", spares=spares)
    for _ in range(2):
        vectors, before = next_night(vectors, rng, *changes, draw)
        last = refresh(last.kept, vectors, before) or full(vectors, 5, "cosine", spares=spares)
        assert_same(last.lists, top_n(vectors, 5))


def test_lists_that_lose_too_many_songs_are_made_anew():
    rng = np.random.default_rng(1)
    vectors = clumps(600, rng)
    kept = full(vectors, 10, spares=2).kept
    label = top_n(vectors, 25).ids[3]  # songs that stand together all leave at once
    stay = np.setdiff1d(np.arange(600), label)
    done = refresh(kept, vectors[stay], stay)
    assert done.n_anew > 0
    assert_same(done.lists, top_n(vectors[stay], 10))


def test_without_a_change_nothing_meets():
    vectors = clumps(300, np.random.default_rng(2))
    first = full(vectors, 10)
    again = refresh(first.kept, vectors, np.arange(300))
    assert (again.n_changed, again.n_anew) == (0, 0)
    assert_same(again.lists, first.lists)


@pytest.mark.parametrize(
    "today",
    [
        pytest.param(lambda x: (np.concatenate([x, 50 * x[:1]]), "far out"), id="a song far outside"),
        pytest.param(lambda x: (np.concatenate([x, x[:200] + 1]), "many"), id="more songs than there are places"),
        pytest.param(lambda x: (np.vstack([x[:100] + 1, x[100:]]), "changed"), id="a third of the songs changed"),
        pytest.param(lambda x: (x.astype(np.float64), "kind"), id="vectors of another kind"),
    ],
)
def test_where_a_full_run_is_as_cheap_there_is_no_refresh(today):
    vectors = clumps(300, np.random.default_rng(3))
    now, _ = today(vectors)
    before = np.concatenate([np.arange(300), np.full(len(now) - 300, -1)])
    assert refresh(full(vectors, 5, "euclidean").kept, now, before, "euclidean") is None


# --- approximate ------------------------------------------------------------------------------------------------------


def test_approximate_lists_hold_exact_scores_in_order_and_all_songs_with_all_clusters():
    vectors = clumps(3000, np.random.default_rng(4))
    exact = top_n(vectors, 10)
    assert_same(top_n_approximate(vectors, 10, probes=10_000), exact)
    some = top_n_approximate(vectors, 10, probes=6)
    hits = some.ids[:, :, None] == exact.ids[:, None]
    assert np.array_equal(some.scores[hits.any(axis=2)], np.broadcast_to(exact.scores[:, None], hits.shape)[hits])
    assert (np.diff(some.scores, axis=1) <= 0).all()


def test_recall_is_what_it_is_over_all_songs():
    vectors = clumps(1200, np.random.default_rng(5))
    exact, some = top_n(vectors, 10), top_n_approximate(vectors, 10, probes=2)
    of_all = np.mean([len(set(a) & set(b)) for a, b in zip(exact.ids, some.ids, strict=True)]) / 10
    assert recall(vectors, some.ids, sample=1200) == pytest.approx(of_all)
    assert recall(vectors, exact.ids) == 1.0


def test_clusters_that_hold_too_few_songs_give_short_lists():
    vectors = np.random.default_rng(6).normal(size=(400, 4)).astype(np.float32)
    ids, scores = top_n_approximate(vectors, 200, probes=1)
    short = ids[:, -1] == -1
    assert short.any()
    assert np.isneginf(scores[ids == -1]).all()
