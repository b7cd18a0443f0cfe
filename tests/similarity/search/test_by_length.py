"""Lists by inner product where lengths differ by orders of magnitude are those of a ranking of all songs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from musicrec.similarity import top_n
from musicrec.similarity.search import by_length, by_products
from musicrec.similarity.search import refresh as refreshing
from musicrec.similarity.search.blocks import METRICS as METRIC_NUMBERS
from musicrec.similarity.search.blocks import prepare
from musicrec.similarity.search.refresh import full, refresh
from musicrec.similarity.search.screens import available

WHOLE = st.integers(-9, 9).map(float)
METRICS = pytest.mark.parametrize("metric", ["inner", "euclidean"])


def ranked(songs, n, metric):
    """Rows and scores by a plain ranking in long doubles."""
    x = np.asarray(songs, np.longdouble)
    exact = x @ x.T if metric == "inner" else -np.sqrt(np.square(x[:, None] - x).sum(axis=-1))
    scores = exact.astype(np.float32) + np.float32(0)
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


@METRICS
@settings(max_examples=60, deadline=None)
@given(
    songs=arrays.arrays(
        np.float64, st.tuples(st.integers(6, 40), st.integers(1, 7)), elements=st.integers(-9, 9).map(float)
    ),
    data=st.data(),
    n=st.integers(1, 45),
    few=st.integers(1, 5),
)
def test_lists_are_those_of_a_plain_ranking_whatever_the_levels(metric, songs, data, n, few):
    powers = data.draw(arrays.arrays(np.int64, len(songs), elements=st.integers(-9, 9)))
    songs = np.ldexp(songs, powers[:, None])  # sums of products are exact, so ties are ties
    rows = data.draw(st.lists(st.integers(0, len(songs) - 1), unique=True, min_size=1).map(np.array))
    ids, scores = ranked(songs, n, metric)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_length, "FEW", few)
        patch.setattr(by_length, "APART", 0.0)
        for screen in available():
            found = top_n(songs, n, metric, screen=screen)
            assert found.ids.tolist() == ids[:, : found.ids.shape[1]].tolist()
            np.testing.assert_array_equal(found.scores, scores[:, : found.ids.shape[1]])
            assert top_n(songs, n, metric, rows=rows, screen=screen).ids.tolist() == found.ids[rows].tolist()


@METRICS
@pytest.mark.parametrize("screen", available())
def test_songs_of_all_lengths_are_put_into_levels_and_compared_once_each(metric, screen, monkeypatch):
    songs = heavy(900, np.random.default_rng(0))
    of = prepare(songs, metric)
    centre, levels = by_length.levels_of(of, np.arange(900), 20, METRIC_NUMBERS[metric], screen)
    assert sorted(np.concatenate([level.coded().songs.songs for level in levels])) == list(range(900))
    lengths = np.linalg.norm(songs - centre[:24], axis=1)
    for level in levels[1:]:
        within = lengths[level.coded().songs.songs]
        assert len(within) <= by_length.FEW or within.min() >= within.max() / by_length.RATIO * (1 - 1e-6)
        assert (level.shortest, level.longest) == (pytest.approx(within.min()), pytest.approx(within.max()))
    seen, fill_all = [], by_length.fill_all
    monkeypatch.setattr(by_length, "fill_all", lambda *a: (seen.append(1), fill_all(*a)))
    ids, scores = top_n(songs, 20, metric, screen=screen)
    assert seen
    expected = ranked(songs, 20, metric)
    assert (ids == expected[0]).mean() > 0.999  # others are ties of float32 that sums in another order break
    np.testing.assert_allclose(scores, expected[1], rtol=1e-5, atol=1e-6 * np.abs(scores).max())


@METRICS
def test_lengths_that_hardly_differ_make_no_levels(metric):
    songs = heavy(3000, np.random.default_rng(0))
    lengths = np.linalg.norm(songs, axis=1, keepdims=True)
    assert by_length.differ_much(prepare(songs, metric), METRIC_NUMBERS[metric])
    same = songs / np.where(lengths > 0, lengths, 1)
    assert not by_length.differ_much(prepare(same[lengths[:, 0] > 0], metric), METRIC_NUMBERS[metric])


@METRICS
@pytest.mark.parametrize(("few", "way"), [(0, (by_length, "fill")), (4096, (by_products, "nearest_to"))])
def test_nights_after_a_run_by_levels_are_full_runs(few, way, metric, monkeypatch):
    (module, name), seen, rng = way, [], np.random.default_rng(3)
    called = getattr(module, name)
    monkeypatch.setattr(refreshing, "FEW_OF_ALL_LENGTHS", few)
    songs = heavy(3000, rng)
    last = full(songs, 10, metric)
    monkeypatch.setattr(module, name, lambda *a: (seen.append(1), called(*a))[1])
    for night in range(4):
        songs, before = songs.copy(), np.arange(3000)
        songs[rng.choice(3000, 20, replace=False)] = heavy(200, rng)[rng.choice(200, 20)].clip(-5, 5)
        if night == 1:
            songs[[5, 70]] = songs[[70, 5]]  # one of a long song and a short one
        gone = rng.choice(3000, 15, replace=False)  # and as many are new
        songs = np.concatenate([np.delete(songs, gone, axis=0), heavy(200, rng)[:15].clip(-5, 5)])
        before = np.concatenate([np.delete(before, gone), np.full(15, -1)])
        last = refresh(last.kept, songs, before, metric)
        assert seen
        seen.clear()
        expected = top_n(songs, 10, metric)
        assert last.lists.ids.tolist() == expected.ids.tolist()
        assert last.lists.scores.tobytes() == expected.scores.tobytes()


@pytest.mark.parametrize(("share", "pays"), [(0.01, False), (0.1, True), (0.4, True)])
def test_levels_pay_where_some_songs_are_short_too(share, pays):
    songs = np.random.default_rng(0).normal(size=(1000, 8))
    songs /= np.linalg.norm(songs, axis=1, keepdims=True)
    songs[: round(share * len(songs))] /= 1000
    assert by_length.differ_much(prepare(songs, "inner"), METRIC_NUMBERS["inner"]) is pays


@METRICS
@pytest.mark.parametrize(
    "songs",
    [
        np.zeros((300, 5)),
        np.concatenate([np.zeros((200, 5)), np.full((100, 5), 1e3)]),
        np.concatenate([np.full((299, 5), 7.0), np.full((1, 5), 1e12)]),
        1e6 + np.random.default_rng(0).normal(size=(300, 5)) * np.logspace(-4, 3, 300)[:, None],
        np.ldexp(np.random.default_rng(1).normal(size=(300, 5)), np.repeat([-60, 0, 60], 100)[:, None]),
    ],
    ids=["zeros", "two points", "one far away", "far from the origin", "apart by powers"],
)
def test_odd_spreads_of_lengths_give_the_lists_of_a_plain_ranking(metric, songs, monkeypatch):
    monkeypatch.setattr(by_length, "APART", 0.0)
    for given_as in (np.float64, np.float32):
        x = songs.astype(given_as)
        ids, scores = top_n(x, 9, metric)
        expected = ranked(x, 9, metric)
        np.testing.assert_allclose(scores, expected[1], rtol=1e-6)
        ties = scores != expected[1]  # rounded the other way, from sums in another order
        assert (ids == expected[0])[~ties.any(axis=1)].all()
        assert ties.mean() < 0.01


@pytest.mark.parametrize(
    "lengths",
    [
        np.repeat([1.0, 1e-20], [5, 395]),  # few long ones, so lists hold short ones
        np.repeat([1.0, 1e-30], [5, 395]),
        np.repeat([1.0, 1e-40], [200, 200]),  # float32 has fewer digits there
        np.logspace(-40, 0, 400),
        np.logspace(0, 30, 400),  # products are infinite as float32
        np.logspace(0, 100, 400),
    ],
    ids=["short", "very short", "denormal", "down to denormal", "up to infinite", "float64 alone"],
)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("screen", available())
def test_levels_change_no_list_by_inner_product_however_far_apart_lengths_are(lengths, kind, screen, monkeypatch):
    if lengths.max() > np.finfo(kind).max:
        pytest.skip("float32 holds no such number")
    songs = (np.random.default_rng(5).normal(size=(400, 16)) * lengths[:, None]).astype(kind)
    found = top_n(songs, 20, "inner", screen=screen)
    monkeypatch.setattr(by_length, "APART", np.inf)
    expected = top_n(songs, 20, "inner", screen=screen)
    assert found.ids.tolist() == expected.ids.tolist()
    assert found.scores.tobytes() == expected.scores.tobytes()


def test_songs_of_no_length_are_one_level():
    songs = heavy(900, np.random.default_rng(0))
    songs[300:] = 0
    levels = by_length.levels_of(prepare(songs, "inner"), np.arange(900), 5, METRIC_NUMBERS["inner"], "product").levels
    assert [level.n_songs for level in levels if not level.longest] == [levels[-1].n_songs]
