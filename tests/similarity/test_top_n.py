"""Top-N equals brute force to the bit, however it is split; the gate catches each fault; the figures are right."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from musicrec.errors import ConfigError, PublishError
from musicrec.similarity import METRICS, Lists, check_lists, churn, list_quality, quality, top_n
from musicrec.similarity.list_quality import SCORE_RANGE
from musicrec.similarity.search import within
from musicrec.similarity.search.screens import DEVICE, available

metrics = pytest.mark.parametrize("metric", sorted(METRICS))
SCREENS = (*available(), DEVICE)  # TensorFlow takes the processor where there is no GPU


def cosine(a, b):
    """Cosine from sums that are rounded once: products of float32 numbers are exact in float64."""
    lengths = math.sqrt(math.fsum(a * a)) * math.sqrt(math.fsum(b * b))
    return min(1.0, max(-1.0, math.fsum(a * b) / lengths)) if lengths else 0.0


SCORE = {
    "cosine": cosine,
    "euclidean": lambda a, b: -math.sqrt(math.fsum((b - a) ** 2)),
    "inner": lambda a, b: math.fsum(a * b),
}


def is_settled(metric, a, b):
    """Whether any order of summation in float64 gives the same float32."""
    exact = SCORE[metric](a, b)
    terms = (b - a) ** 2 if metric == "euclidean" else a * b
    size = 1.0 if metric == "cosine" else abs(terms).sum() if metric == "inner" else abs(exact)
    error = 1e-15 * len(a) * size
    return exact == 0 or np.float32(exact - error) == np.float32(exact + error)


def scores_against(metric, a, others):
    """float32, and 0 where a float32 would say -0."""
    return np.array([SCORE[metric](a, other) for other in others], np.float32) + np.float32(0)


def brute_force(vectors, n, metric):
    """All pairs one by one in float64, rounded to float32, each list sorted by score and then by row number."""
    x = np.asarray(vectors, np.float64)
    ids, scores = [], []
    for i, a in enumerate(x):
        others = np.array([j for j in range(len(x)) if j != i], int)
        against = scores_against(metric, a, x[others])
        best = np.lexsort((others, -against))[:n]
        ids.append(others[best])
        scores.append(against[best])
    shape = len(x), min(n, len(x) - 1)
    return np.array(ids, np.int32).reshape(shape), np.array(scores, np.float32).reshape(shape)


def assert_same(one, other):
    for a, b, dtype in zip(one, other, (np.int32, np.float32), strict=True):
        assert a.dtype == b.dtype == dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes(), (a, b)


ELEMENTS = {
    "few values, so many ties and zero vectors": st.integers(-1, 1).map(float),
    "any size": st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=True),
    "denormal or not": st.one_of(st.integers(-9, 9).map(lambda k: k * 2.0**-149), st.integers(-1, 1).map(float)),
    "small on a large offset": st.integers(-3, 3).map(lambda k: 1e6 + k / 16),
    "unit": st.floats(-1, 1, width=32),
}


@st.composite
def matrices(draw):
    """float32 [1…12, 1…20], some rows of which may be exact copies of others."""
    elements = draw(st.sampled_from(sorted(ELEMENTS)).map(ELEMENTS.get))
    different = draw(hnp.arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 20)), elements=elements))
    copies = draw(st.lists(st.integers(0, len(different) - 1), max_size=4))
    return np.concatenate([different, different[copies]])


@pytest.mark.engine
@metrics
@settings(max_examples=60, deadline=None)
@given(vectors=matrices(), n=st.integers(1, 20), windows=st.sampled_from([(64,), (128, 512, 2048)]), data=st.data())
def test_top_n_is_brute_force_for_any_split_and_screen(metric, vectors, n, windows, data):
    expected = brute_force(vectors, n, metric)
    assume((np.abs(expected[1][expected[1] != 0]) > np.finfo(np.float32).tiny).all())  # which float32 cannot tell apart
    assume(all(is_settled(metric, a, b) for a, b in itertools.combinations(vectors.astype(np.float64), 2)))
    cut = data.draw(st.integers(0, len(vectors)))
    for screen in SCREENS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(within, "WINDOWS", windows)
            assert_same(top_n(vectors, n, metric, screen=screen), expected)
        halves = [top_n(vectors, n, metric, rows=rows, screen=screen) for rows in ((0, cut), (cut, len(vectors)))]
        assert_same([np.concatenate(part) for part in zip(*halves, strict=True)], expected)


def clumped(n_songs, d, seed=0):
    """Synthetic vectors in clumps of all sizes, float32, a few of them copies of others."""
    rng = np.random.default_rng(seed)
    clump = rng.zipf(1.5, n_songs) % 40
    spectrum = 1 / np.sqrt(np.arange(1, d + 1))
    vectors = (rng.normal(size=(40, d))[clump] + rng.normal(size=(n_songs, d))) * spectrum
    vectors[rng.integers(0, n_songs, n_songs // 100)] = vectors[rng.integers(0, n_songs, n_songs // 100)]
    return vectors.astype(np.float32)


ADVERSARIES = {
    "clumps": lambda rng, x: x,
    "one song hundreds of times": lambda rng, x: np.concatenate([x[900:], np.repeat(x[:1], 900, axis=0)]),
    "hundreds of songs that hardly differ": lambda rng, x: np.concatenate(
        [x[900:], x[0] + 1e-4 * rng.normal(size=(900, x.shape[1])).astype(np.float32)]
    ),
    "a narrow cone": lambda rng, x: 0.01 * x + 1,
    "so narrow a cone that most scores are ties": lambda rng, x: 1e-5 * x + 1,
    "no structure": lambda rng, x: rng.normal(size=x.shape).astype(np.float32),
    "heavy tails": lambda rng, x: rng.standard_cauchy(size=x.shape).astype(np.float32),
    "a few songs far out": lambda rng, x: np.concatenate([x[3:], 1e4 * x[:3]]),
    "a quarter silent": lambda rng, x: x * (rng.random(len(x)) > 0.25).astype(np.float32)[:, None],
}


@pytest.mark.engine
@metrics
@pytest.mark.parametrize("adversary", ADVERSARIES.values(), ids=ADVERSARIES)
def test_top_n_is_brute_force_on_what_is_hard_to_screen(metric, adversary):
    vectors = adversary(np.random.default_rng(1), clumped(2600, 72))
    rows = np.random.default_rng(2).choice(len(vectors), 30, replace=False)
    x = vectors.astype(np.longdouble)
    if metric == "euclidean":
        against = -np.sqrt(np.square(x[rows, None] - x).sum(axis=2))
    else:
        if metric == "cosine":
            x = np.divide(x, norms := np.sqrt(np.square(x).sum(axis=1, keepdims=True)), out=0 * x, where=norms > 0)
        against = x[rows] @ x.T
    against = against.astype(np.float32) + np.float32(0)
    against[np.arange(len(rows)), rows] = -np.inf
    best = np.argsort(-against, axis=1, kind="stable")[:, :20]
    expected = Lists(best.astype(np.int32), np.take_along_axis(against, best, axis=1))
    for screen in SCREENS:
        ids, scores = top_n(vectors, 20, metric, screen=screen)
        assert_same((ids[rows], scores[rows]), expected)
        assert_same(top_n(vectors, 20, metric, rows=rows, screen=screen), expected)


@pytest.mark.engine
@metrics
@pytest.mark.parametrize(("offset", "spread"), [(0, 1), (1e4, 1e-3)], ids=["spread out", "close together and far out"])
def test_top_n_is_brute_force_over_several_windows(metric, offset, spread):
    vectors = offset + spread * np.random.default_rng(1).normal(size=(700, 24))
    vectors[::7] = vectors[3]
    vectors[100] = 0
    expected = brute_force(vectors, 50, metric)
    for screen in SCREENS:
        assert_same(top_n(vectors, 50, metric, screen=screen), expected)


@pytest.mark.parametrize("rows", [np.r_[0:2500, 7:2600:2], np.arange(100, 2600)], ids=["some twice", "some not"])
def test_many_rows_are_those_of_all_lists(rows):
    vectors = clumped(2600, 24)
    ids, scores = top_n(vectors, 20)
    assert_same(top_n(vectors, 20, rows=rows), (ids[rows], scores[rows]))


def test_a_screen_that_this_machine_has_not_is_refused():
    with pytest.raises(ConfigError, match=r"screen 'abacus': this machine has .*product"):
        top_n(np.eye(3), 1, screen="abacus")


@metrics
@pytest.mark.parametrize("n", [1, 4, 5, 6])
def test_the_smallest_row_numbers_win_a_tie_at_the_cut(metric, n):
    ids, scores = top_n(np.ones((7, 3)), n, metric)
    assert ids.tolist() == [[j for j in range(7) if j != i][:n] for i in range(7)]
    assert np.allclose(scores, {"cosine": 1.0, "euclidean": 0.0, "inner": 3.0}[metric])


@metrics
@pytest.mark.parametrize("n_songs", [0, 1, 2, 3])
def test_fewer_songs_than_asked_for_give_all_of_them(metric, n_songs):
    ids, scores = top_n(np.zeros((n_songs, 4)), 5, metric)
    assert ids.shape == scores.shape == (n_songs, max(0, n_songs - 1))
    assert all(set(row) == set(range(n_songs)) - {i} for i, row in enumerate(ids.tolist()))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_top_n_agrees_with_scikit_learn(metric):
    vectors = np.random.default_rng(2).normal(size=(400, 16)).astype(np.float32)
    ids, scores = top_n(vectors, 10, metric)
    peer = NearestNeighbors(n_neighbors=11, algorithm="brute", metric=metric).fit(vectors.astype(np.float64))
    distances, neighbours = peer.kneighbors()
    assert np.array_equal(ids, neighbours[:, :10])
    assert np.allclose(scores, 1 - distances[:, :10] if metric == "cosine" else -distances[:, :10], atol=1e-6)


def test_zero_vectors_have_cosine_0_with_every_song():
    ids, scores = top_n([[0, 0], [3, 4], [0, 0], [-3, -4]], 3)
    assert ids.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 2, 1]]
    assert scores.tolist() == [[0, 0, 0], [0, 0, -1], [0, 0, 0], [0, 0, -1]]


@pytest.mark.parametrize(
    ("metric", "power"),
    [("cosine", -1000), ("cosine", -700), ("cosine", 700), ("cosine", 1020), ("euclidean", -100), ("euclidean", 100)],
)
def test_the_order_does_not_depend_on_the_scale_of_the_vectors(metric, power):
    vectors = np.random.default_rng(3).normal(size=(9, 4))
    assert np.array_equal(top_n(vectors * 2.0**power, 4, metric)[0], top_n(vectors, 4, metric)[0])


def test_published_ties_are_in_order_of_row_number():
    ids, scores = top_n(np.outer([1, 3, 7, 9, 11], [0.1, 0.7, 0.3]).astype(np.float32), 4)
    tied = scores[:, 1:] == scores[:, :-1]
    assert tied.any()
    assert (ids[:, 1:] > ids[:, :-1])[tied].all()


@pytest.mark.parametrize(
    ("vectors", "n", "metric", "error", "complaint"),
    [
        ([[0.0, np.nan], [1.0, 1.0]], 1, "cosine", ValueError, "finite"),
        ([[0.0, np.inf], [1.0, 1.0]], 1, "euclidean", ValueError, "finite"),
        ([1.0, 2.0], 1, "cosine", ValueError, "shape \\(2,\\).*matrix"),
        (np.zeros((2, 2, 2)), 1, "cosine", ValueError, "matrix"),
        ([[0.0], [1.0]], 0, "cosine", ConfigError, "n = 0"),
        ([[0.0], [1.0]], -3, "cosine", ConfigError, "n = -3"),
        ([[0.0], [1.0]], 1, "manhattan", ConfigError, "'manhattan'; expected one of cosine, euclidean, inner"),
    ],
)
def test_what_cannot_be_ranked_is_refused(vectors, n, metric, error, complaint):
    with pytest.raises(error, match=complaint):
        top_n(vectors, n, metric)


# --- the gate -----------------------------------------------------------------------------------------------------


def put(where, value):
    def mutate(ids, scores):
        (ids if isinstance(value, int) else scores)[where] = value

    return mutate


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    ("mutate", "fault"),
    [
        (put((3, 0), 3), "recommends the song itself"),
        (lambda ids, _: ids.__setitem__((3, 0), ids[3, 4]), "repeats a song"),
        (put((3, 2), 12), "does not exist"),
        (put((3, 2), -2), "does not exist"),
        (put((3, 2), -1), "no song before its last"),
        (put((3, 4), -1), "score out of range"),
        (lambda _, scores: scores[3].sort(), "order of score"),
        (put((3, 0), 1.5), "out of range"),
        (put((3, 4), np.nan), "out of range"),
        (put((3, 0), np.inf), "out of range"),
    ],
    ids=[
        "self",
        "repeat",
        "id too large",
        "id negative",
        "gap",
        "end with a score",
        "order",
        "score too large",
        "score NaN",
        "score infinite",
    ],
)
def test_the_gate_catches(metric, mutate, fault):
    ids, scores = top_n(np.random.default_rng(4).normal(size=(12, 3)), 5, metric)
    check_lists(ids, scores, SCORE_RANGE[metric])
    mutate(ids, scores)
    with pytest.raises(PublishError, match=f"row 3 .*{fault}"):
        check_lists(ids, scores, SCORE_RANGE[metric])


def test_a_cosine_below_minus_one_is_out_of_range_but_a_distance_is_not():
    ids, scores = np.array([[1], [0]], np.int32), np.full((2, 1), -1.5, np.float32)
    check_lists(ids, scores, SCORE_RANGE["euclidean"])
    with pytest.raises(PublishError, match="out of range"):
        check_lists(ids, scores, SCORE_RANGE["cosine"])


def test_the_gate_counts_the_lists_with_a_fault():
    with pytest.raises(PublishError, match=r"row 1 .* \(2 such lists\)"):
        check_lists(np.array([[1], [1], [2]], np.int32), np.zeros((3, 1), np.float32), SCORE_RANGE["cosine"])


@metrics
def test_lists_may_end_before_others_and_are_counted(metric):
    ids, scores = top_n(np.random.default_rng(4).normal(size=(12, 3)), 5, metric)
    assert check_lists(ids, scores, SCORE_RANGE[metric]) == 0
    for row, length in ((2, 4), (3, 1), (7, 0)):
        ids[row, length:], scores[row, length:] = -1, -np.inf
    assert check_lists(ids, scores, SCORE_RANGE[metric]) == 3
    scores[7, 4] = np.nan
    with pytest.raises(PublishError, match="row 7 has a score out of range"):
        check_lists(ids, scores, SCORE_RANGE[metric])


def test_faults_are_counted_over_all_blocks(monkeypatch):
    ids, scores = top_n(np.random.default_rng(4).normal(size=(12, 3)), 5)
    ids[[4, 9, 11], 0] = [4, 9, 11]
    monkeypatch.setattr(list_quality, "BLOCK_ROWS", 3)
    with pytest.raises(PublishError, match=r"row 4 recommends the song itself \(3 such lists\)"):
        check_lists(ids, scores, SCORE_RANGE["cosine"])


@pytest.mark.thorough
@metrics
@settings(max_examples=60, deadline=None)
@given(vectors=matrices(), n=st.integers(1, 20))
def test_what_top_n_gives_passes_the_gate(metric, vectors, n):
    assert check_lists(*top_n(vectors, n, metric), SCORE_RANGE[metric]) == 0


# --- figures ------------------------------------------------------------------------------------------------------


@metrics
def test_hub_skew_is_the_skewness_of_the_occurrences(metric):
    ids, _ = top_n(np.random.default_rng(5).normal(size=(200, 30)), 5, metric)
    occurrences = np.bincount(ids.ravel(), minlength=200)
    figures = quality(ids)
    assert figures.hub_skew == pytest.approx(stats.skew(occurrences))
    assert figures.max_hub_share == occurrences.max() / 200
    assert figures.coverage + figures.antihub_share == 1
    assert figures.antihub_share == pytest.approx(np.mean(occurrences == 0))


@pytest.mark.parametrize("block_rows", [2, 1000])
def test_places_without_a_song_are_no_recommendation(monkeypatch, block_rows):
    monkeypatch.setattr(list_quality, "BLOCK_ROWS", block_rows)
    ids, _ = top_n(np.random.default_rng(6).normal(size=(60, 5)), 9)
    ids[::3, 4:] = -1
    counts = Counter(i for row in ids.tolist() for i in row if i != -1)
    figures = quality(ids)
    assert figures.coverage == len(counts) / 60
    assert figures.max_hub_share == max(counts.values()) / 60
    assert figures.hub_skew == pytest.approx(stats.skew([counts[i] for i in range(60)]))


def churn_of_sets(before, now):
    """Mean share of a song's list that was not in its list before, from lists of names by name."""
    shares = [len(set(now[t]) - set(before[t])) / max(1, len(now[t])) for t in before.keys() & now.keys()]
    return float(np.mean(shares)) if shares else None


def as_rows(lists, n):
    """Names in order, and row numbers int32 [N, n], of lists of names by name."""
    names = sorted(lists)
    ids = np.full((len(names), n), -1, np.int32)
    for row, name in enumerate(names):
        ids[row, : len(lists[name])] = [names.index(other) for other in lists[name]]
    return names, ids


def churn_of_lists(before, now, n_before=4, n=4):
    names_before, ids_before = as_rows(before, n_before)
    names, ids = as_rows(now, n)
    rows = np.array([names_before.index(t) if t in names_before else -1 for t in names], np.int64)
    return churn(ids_before, ids, rows)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({}, {"a": "b", "b": "a"}, None),
        ({"x": "y", "y": "x"}, {"a": "b", "b": "a"}, None),
        ({"a": "bc", "b": "", "c": ""}, {"a": "cb", "b": "", "c": ""}, 0.0),
        ({"a": "b", "b": "a"}, {"a": "c", "b": "d", "c": "", "d": ""}, 1.0),
        ({"a": "bc", "b": "a", "c": "a"}, {"a": "bd", "b": "a", "c": "a", "d": "a"}, 0.5 / 3),
        ({"a": "bcde"} | dict.fromkeys("bcde", ""), {"a": "b"} | dict.fromkeys("bcde", ""), 0.0),
        ({"a": "b", "b": "a"}, {"a": "bcde", "b": "a"} | dict.fromkeys("cde", "a"), 0.375),
    ],
)
def test_churn_is_the_share_of_new_songs_in_the_lists_of_songs_that_stayed(before, now, expected):
    assert churn_of_sets(before, now) == pytest.approx(expected)
    assert churn_of_lists(before, now) == pytest.approx(expected)


@st.composite
def tables(draw):
    """Lists of up to four other songs, of some of ten songs."""
    songs = draw(st.lists(st.sampled_from("abcdefghij"), unique=True))
    return {t: draw(st.permutations([s for s in songs if s != t]))[: draw(st.integers(0, 4))] for t in songs}


@pytest.mark.thorough
@settings(max_examples=200, deadline=None)
@given(before=tables(), now=tables(), block_rows=st.integers(1, 6), more=st.integers(0, 2))
def test_churn_of_arrays_is_churn_of_sets(before, now, block_rows, more):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_quality, "BLOCK_ROWS", block_rows)
        assert churn_of_lists(before, now, 4 + more, 4) == pytest.approx(churn_of_sets(before, now))
