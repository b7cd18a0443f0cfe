"""Hubness figures and rankings against hubs equal their published definitions, written out pair by pair."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from musicrec.errors import ConfigError
from musicrec.similarity import METHODS, quality, rerank, statistics, top_n
from musicrec.similarity.hubness import NEIGHBOURS, _nines, moments, rescored
from musicrec.similarity.list_quality import occurrences
from musicrec.similarity.ranking import ranked

METRICS = "cosine", "euclidean", "inner"
metrics = pytest.mark.parametrize("metric", METRICS)
ways = pytest.mark.parametrize(
    ("method", "metric"), [(a, b) for a in METHODS for b in METRICS if (a, b) != ("local_scaling", "inner")]
)


def hubby(n=120, d=40, seed=0):
    """Songs around a few centres of unequal density, off the origin: some are hubs."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, d))
    return (0.3 + centres[rng.integers(0, 6, n)] + rng.gamma(1, 0.5, (n, 1)) * rng.normal(size=(n, d))).astype(
        np.float32
    )


def pairs(vectors, metric):
    """float64 [N, N]: cosine, minus the distance, or inner product."""
    x = np.asarray(vectors, np.float64)
    if metric == "inner":
        return x @ x.T
    if metric == "cosine":
        norm = np.array([math.sqrt(sum(v * v)) or 1.0 for v in x])
        return (x / norm[:, None]) @ (x / norm[:, None]).T
    return -np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=2))


# --- order --------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**16), n=st.integers(1, 12))
def test_ranked_sorts_by_score_and_then_by_row_number(seed, n):
    rng = np.random.default_rng(seed)
    values = np.array([-np.inf, -3e38, -1, -1e-45, -0.0, 0.0, 1e-45, 1, 3e38, np.inf], np.float32)
    ids = np.array([rng.permutation(20)[:9] for _ in range(4)], np.int32)
    ids[rng.random(ids.shape) < 0.2] = -1
    scores = rng.choice(values, ids.shape)
    lists = ranked(ids, scores, n)
    for row, score, got_ids, got_scores in zip(ids, scores, *lists, strict=True):
        order = sorted((-s + 0.0, int(i)) for i, s in zip(row, score, strict=True) if i >= 0)[:n]
        missing = min(n, len(row)) - len(order)
        assert got_ids.tolist() == [i for _, i in order] + [-1] * missing
        assert got_scores.tolist() == [-s for s, _ in order] + [-np.inf] * missing


# --- figures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        # N_1 = 3 1 0 0; Robin Hood (2 + 0 + 1 + 1) / (2·1·3)
        ([[1], [0], [0], [0]], (0.5, 0.5, 0.75, 1.5**-0.5, 4 / 6)),
        ([[1], [2], [3], [0]], (1.0, 0.0, 0.25, 0.0, 0.0)),
        ([[1, 2], [2, 0], [0, 1]], (1.0, 0.0, 2 / 3, 0.0, 0.0)),
        # a short list: N = 1 2 1 with 4 entries in 3 lists; Robin Hood (1/3 + 2/3 + 1/3) / (2·4/3·2)
        ([[1, 2], [0, -1], [1, -1]], (1.0, 0.0, 2 / 3, 0.5**0.5, (4 / 3) / (16 / 3))),
        ([[-1], [-1]], (0.0, 1.0, 0.0, 0.0, 0.0)),
    ],
)
def test_hubs_of_lists_counted_by_hand(ids, expected):
    assert quality(np.array(ids, np.int32)) == pytest.approx(expected)


@metrics
def test_figures_follow_their_definitions(metric):
    ids, _ = top_n(hubby(), 5, metric)
    counts = np.array([sum(j in row for row in ids.tolist()) for j in range(120)])
    assert occurrences(ids).tolist() == counts.tolist()
    figures = quality(ids)
    assert figures.hub_skew == pytest.approx(stats.skew(counts))
    assert figures.robin_hood == pytest.approx(np.abs(counts - 5).sum() / (2 * 5 * 119))


def test_robin_hood_is_1_next_to_when_all_lists_hold_the_same_songs():
    ids = np.array([[1 if i == 0 else 0] for i in range(1000)], np.int32)
    assert quality(ids).robin_hood == pytest.approx(1, abs=2e-3)


def test_songs_that_may_be_listed_can_be_more_than_the_lists():
    assert quality(np.array([[5], [5]], np.int32), 10)[:3] == pytest.approx((0.1, 0.9, 1.0))


# --- statistics ---------------------------------------------------------------------------------------------------


@metrics
@pytest.mark.parametrize("offset", [0, 1e3])
def test_closed_form_moments_are_those_of_all_pairs(metric, offset, monkeypatch):
    monkeypatch.setattr("musicrec.similarity.hubness.BLOCK_ROWS", 50)
    vectors = hubby().astype(np.float64) + offset
    vectors[7] = 0
    similarity = pairs(vectors, metric)
    if metric == "euclidean":
        similarity = -(similarity**2)
    others = [np.delete(row, i) for i, row in enumerate(similarity)]
    mean, std = moments(vectors, metric)
    assert mean == pytest.approx([row.mean() for row in others], rel=1e-9, abs=1e-12)
    assert std == pytest.approx(
        [row.std() for row in others], rel=1e-5 if offset else 1e-9, abs=1e-12 + 1e-6 * (metric == "cosine")
    )


@pytest.mark.parametrize("n", [0, 1, 2, 3])
@ways
def test_songs_without_spread_are_ranked_all_the_same(method, metric, n):
    vectors = np.ones((n, 3))
    lists = top_n(vectors, 2, metric)
    ids, scores = rerank(lists, 2, method, statistics(method, vectors, lists[1], metric=metric), metric=metric)
    assert np.isfinite(scores).all()
    assert np.array_equal(ids, lists[0])


@ways
@pytest.mark.parametrize("power", [-50, 50])
def test_the_scale_of_the_vectors_changes_no_order(method, metric, power):
    vectors = hubby(60).astype(np.float64)
    plain, scaled = (
        rerank(lists, 9, method, statistics(method, x, lists[1], metric=metric), metric=metric)
        for x, lists in ((x, top_n(x, 30, metric)) for x in (vectors, vectors * 2.0**power))
    )
    assert np.array_equal(scaled.ids, plain.ids)


def test_no_order_of_summation_shows(monkeypatch):
    vectors = hubby(500)
    whole = statistics("mutual_proximity", vectors, np.empty((500, 0), np.float32))
    monkeypatch.setattr("musicrec.similarity.hubness.BLOCK_ROWS", 7)
    for of_blocks, of_all in zip(
        statistics("mutual_proximity", vectors, np.empty((500, 0), np.float32)), whole, strict=True
    ):
        assert np.array_equal(of_blocks, of_all)
        assert np.array_equal(of_all, of_all.astype(np.float32))


# --- scores -------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_nines_are_exact_wherever_the_probability_is():
    z = np.concatenate([np.linspace(-30, 60, 181), [36.4, 36.5, 36.6]])
    a, b = np.meshgrid(z, z)
    closer = special.log_ndtr(a) + special.log_ndtr(b)
    further = np.logaddexp(special.log_ndtr(-a), special.log_ndtr(-b) + special.log_ndtr(a))
    with np.errstate(divide="ignore"):
        expected = np.where(closer < math.log(0.5), -np.log1p(-np.exp(closer)), -further) / math.log(10)
    assert _nines(a, b) == pytest.approx(expected, rel=1e-9)
    assert np.array_equal(_nines(a, b), _nines(b, a))
    assert (_nines(2.0, 2.0), _nines(0.0, 0.0)) == pytest.approx(
        (-math.log10(1 - stats.norm.cdf(2) ** 2), -math.log10(0.75))
    )


def mutual_proximity(s, i, j):
    """Schnitzer et al. 2012, section 3.2, for similarities, independent normal distributions; counted in nines."""
    cdf = [stats.norm.cdf(s[i, j], np.delete(s[k], k).mean(), np.delete(s[k], k).std()) for k in (i, j)]
    return -math.log10(1 - cdf[0] * cdf[1])


def local_scaling(s, i, j):
    """NICDM, Schnitzer et al. 2012, section 3.1: over the geometric mean of mean distances to neighbours."""
    distance = -s if s.max() <= 0 else np.sqrt(np.maximum(0, 2 - 2 * s))
    near = [np.sort(np.delete(distance[k], k))[:NEIGHBOURS].mean() for k in (i, j)]
    return -distance[i, j] / math.sqrt(near[0] * near[1])


def csls(s, i, j):
    """Conneau et al. 2018, equation 4."""
    near = [np.sort(np.delete(s[k], k))[-NEIGHBOURS:].mean() for k in (i, j)]
    return 2 * s[i, j] - near[0] - near[1]


@pytest.mark.thorough
@ways
def test_scores_are_those_of_the_publications(method, metric):
    definition = {f.__name__: f for f in (mutual_proximity, local_scaling, csls)}[method]
    vectors = hubby(60)
    lists = top_n(vectors, 59, metric)
    of_songs = statistics(method, vectors, lists[1], metric=metric)
    ids, scores = rerank(lists, 20, method, of_songs, metric=metric)
    s = pairs(vectors, metric)
    if definition is mutual_proximity and metric == "euclidean":
        s = -(s**2)
    expected = np.array([[definition(s, i, j) if i != j else -np.inf for j in range(60)] for i in range(60)])
    assert scores == pytest.approx(np.take_along_axis(expected, ids, axis=1), rel=1e-4, abs=1e-5)
    assert scores == pytest.approx(-np.sort(-expected, axis=1)[:, :20], rel=1e-4, abs=1e-5)
    assert np.array_equal(ids[:, 0], expected.argmax(axis=1))


@ways
def test_pairs_have_one_score_and_each_row_its_own(method, metric):
    vectors = hubby(40)
    lists = top_n(vectors, 39, metric)
    of_songs = statistics(method, vectors, lists[1], metric=metric)
    scores = rescored(lists, method, of_songs, metric=metric)
    matrix = np.zeros((40, 40), np.float32)
    np.put_along_axis(matrix, lists[0], scores, axis=1)
    assert np.array_equal(matrix, matrix.T)
    rows = np.array([3, 17])
    some = rescored((lists[0][rows], lists[1][rows]), method, of_songs, metric=metric, rows=rows)
    assert np.array_equal(some, scores[rows])


@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_candidate_is_ranked_last(method):
    vectors = hubby(30)
    ids, scores = top_n(vectors, 12)
    of_songs = statistics(method, vectors, scores)
    whole = rerank((ids, scores), 12, method, of_songs)
    ids, scores = ids.copy(), scores.copy()
    gone = np.zeros(ids.shape, bool)
    gone[:, [0, 5]] = True
    again = rerank((np.where(gone, -1, ids), np.where(gone, -np.inf, scores)), 12, method, of_songs)
    for left, row, dropped in zip(again.ids, whole.ids, ids[:, [0, 5]], strict=True):
        assert left.tolist() == [j for j in row.tolist() if j not in dropped] + [-1, -1]
    assert np.isneginf(again.scores[:, 10:]).all()


@pytest.mark.parametrize("method", METHODS)
def test_there_are_fewer_hubs_after_than_before(method):
    vectors = hubby(600)
    lists = top_n(vectors, 80)
    before = quality(lists[0][:, :10])
    after = quality(rerank(lists, 10, method, statistics(method, vectors, lists[1])).ids)
    assert after.hub_skew < before.hub_skew
    assert after.robin_hood < 0.9 * before.robin_hood
    assert after.antihub_share < 0.5 * before.antihub_share


def test_unknown_methods_and_metrics_are_named():
    with pytest.raises(ConfigError, match="'ls'; expected one of mutual_proximity, local_scaling, csls"):
        statistics("ls", np.eye(2), np.eye(2, dtype=np.float32))
    with pytest.raises(ConfigError, match="'manhattan'; expected one of cosine, euclidean, inner"):
        moments(np.eye(2), "manhattan")
    with pytest.raises(ConfigError, match="local scaling needs a distance"):
        statistics("local_scaling", np.eye(2), np.eye(2, dtype=np.float32), metric="inner")
