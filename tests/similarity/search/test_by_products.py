"""A few songs compared with many by plain products: lists in both directions are those of a plain ranking."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicrec.similarity.search import bounds, by_products, queries
from musicrec.similarity.search.blocks import METRICS, as_lists, new_lists, prepare
from musicrec.similarity.search.candidates import closed, put_in_order
from musicrec.similarity.search.screens import available

EXPONENTS = {"as one": (0, 0), "apart": (-30, 30), "far apart": (-300, 300), "tiny": (-480, -440), "huge": (480, 500)}


def ranked(few, many, n, metric):
    """Rows and scores of the nearest of `many` to each of `few`, in long doubles."""
    x, y = np.asarray(few, np.longdouble), np.asarray(many, np.longdouble)
    exact = x @ y.T if metric != "euclidean" else -np.sqrt(np.square(x[:, None] - y).sum(axis=-1))
    with np.errstate(over="ignore", under="ignore"):
        scores = exact.astype(np.float64).astype(np.float32) + np.float32(0)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    return best, np.take_along_axis(scores, best, axis=1)


def met(few, many, n, metric, screen, vacant=(), way=by_products):
    """Lists of `few` among `many`, and of `many` among `few`, where some places of `many` are free.

    The lists of `many` first meet half of `few` by codes. So they hold songs by then, and do not take any other.
    """
    of = prepare(np.concatenate([many, few]), metric)
    songs, projection = of.rows(slice(0, len(many))), bounds.fit(of, METRICS[metric], n, screen)
    numbers = np.arange(len(many))
    numbers[list(vacant)] = -1
    others = new_lists(projection, songs, numbers, n)

    def looked_for(start, stop, among, way):
        rows = np.arange(len(many) + start, len(many) + stop)
        found = way.nearest_to(projection, among, of.rows(rows), rows, n)
        return as_lists(found._replace(songs=np.arange(len(rows))), len(rows), n)

    ours = looked_for(0, len(few), closed(others), way)
    for half, its_way in ((0, len(few) // 2), queries), ((len(few) // 2, len(few)), way):
        looked_for(*half, others, its_way)
        put_in_order(projection.scale, others)
    theirs = as_lists(others, len(many), n)
    return ours, theirs._replace(ids=theirs.ids - len(many))


@settings(max_examples=60, deadline=None)
@given(
    n_songs=st.integers(2, 400),
    d=st.integers(1, 7),
    seed=st.integers(0, 999),
    apart=st.sampled_from(list(EXPONENTS)),
    metric=st.sampled_from(["inner", "euclidean"]),
    n=st.integers(1, 30),
)
def test_both_lists_are_those_of_a_plain_ranking_however_long_songs_are(n_songs, d, seed, apart, metric, n):
    rng = np.random.default_rng(seed)
    exponents = rng.integers(*np.add(EXPONENTS[apart], (0, 1)), (n_songs, 1))
    songs = np.ldexp(rng.integers(-9, 10, (n_songs, d)).astype(float), exponents)
    n_few = int(rng.integers(1, len(songs)))
    few, many = songs[:n_few], songs[n_few:]
    for screen in available():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(by_products, "FIRST_COLUMNS", 64)  # of the next, only some may enter a list
            ours, theirs = met(few, many, n, metric, screen)
        for found, (ids, scores) in (ours, ranked(few, many, n, metric)), (theirs, ranked(many, few, n, metric)):
            k = ids.shape[1]
            np.testing.assert_array_equal(found.scores[:, :k], scores)
            np.testing.assert_array_equal(found.ids[:, :k], ids)
            assert (found.ids[:, k:] < 0).all()


def clumps(rng, n, apart, d=33):
    """Synthetic vectors in clumps, which lie so far apart that sums of products lose what differs within a clump."""
    return apart * rng.normal(size=(40, d))[rng.integers(0, 40, n)] + 0.3 * rng.normal(size=(n, d))


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("screen", available())
@pytest.mark.parametrize(
    ("metric", "n", "apart", "offset"),
    [(metric, 20, 1, offset) for metric in METRICS for offset in (0, 3000)]
    + [("euclidean", 20, 3000, 0), ("inner", 1500, 3000, 0)],
)
def test_lists_are_those_by_codes_wherever_songs_lie(metric, n, apart, offset, kind, screen):
    songs = (clumps(np.random.default_rng(1), 5200, apart) + offset).astype(kind)
    by_codes = met(songs[:700], songs[700:], n, metric, screen, way=queries)
    for found, expected in zip(met(songs[:700], songs[700:], n, metric, screen), by_codes, strict=True):
        assert found.ids.tolist() == expected.ids.tolist()
        assert found.scores.tobytes() == expected.scores.tobytes()


def of_equal_coordinates(rng, n, d=384):
    """Synthetic vectors that differ in the last bits of their coordinates: the sums of their products err one way."""
    bits = np.float32(0.71561337).view(np.int32) + (16 * rng.random(n) ** 4).astype(np.int32)
    return np.repeat(bits.view(np.float32)[:, None], d, axis=1), np.full((4, d), 0.5, np.float32)


def beside_short_songs(rng, n, d=384):
    """Synthetic vectors nearly alike, and short ones: the squares of their lengths are no float32."""
    alike = 3 + rng.normal(size=d) + 1e-6 * rng.normal(size=(n, d))
    return alike.astype(np.float32), (1e-28 * (3 + rng.normal(size=(24, d)))).astype(np.float32)


@pytest.mark.parametrize("songs", [of_equal_coordinates, beside_short_songs])
def test_rounding_of_products_hides_no_song(songs):
    many, few = songs(np.random.default_rng(2), 1600)
    ours, _ = met(few, many, 40, "inner", "product")
    ids, scores = ranked(few, many, 40, "inner")
    np.testing.assert_array_equal(ours.ids, ids)
    np.testing.assert_array_equal(ours.scores, scores)


def test_products_too_small_for_float32_hide_no_song():
    rng = np.random.default_rng(0)
    long, short, few = rng.integers(-9, 10, (300, 8)), rng.integers(-9, 10, (300, 8)), rng.integers(-9, 10, (40, 8))
    tiny = 2.0**-78
    many = np.concatenate([short * tiny, -short * tiny, long, -long])  # about zero, so that they are about their centre
    ours, _ = met(few * tiny, many, 10, "euclidean", "product")
    ids, _ = ranked(few, np.concatenate([short, -short]), 10, "euclidean")
    np.testing.assert_array_equal(ours.ids, ids)


@pytest.mark.parametrize("screen", available())
def test_free_places_take_nothing_and_enter_no_list(screen):
    rng = np.random.default_rng(2)
    songs = rng.integers(-9, 10, (320, 6)).astype(float)
    vacant = rng.choice(300, 40, replace=False)
    ours, theirs = met(songs[300:], songs[:300], 290, "inner", screen, vacant)
    assert (np.delete(theirs.ids, vacant, axis=0)[:, :20] >= 0).all()
    assert not np.isin(ours.ids, vacant).any()
    assert (np.sort(ours.ids[:, :260], axis=1) == np.setdiff1d(np.arange(300), vacant)).all()
    assert (ours.ids[:, 260:] == -1).all()
