"""Songs by the songs one likes: brute force, scikit-learn and SciPy are the references."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import StandardScaler

from musicrec.errors import ConfigError
from musicrec.similarity import Space, Taste, best, medoid, score, top_n
from musicrec.similarity.feature_spaces import moments

N, D, GENRES = 300, 24, 5


@pytest.fixture
def draw():
    return np.random.default_rng(3)


@pytest.fixture
def vectors(draw):
    """Songs in clusters, some of them the same, one of them nothing."""
    centres = draw.normal(size=(6, D))
    vectors = (centres[draw.integers(6, size=N)] + draw.normal(size=(N, D))).astype(np.float32)
    vectors[7] = vectors[40] = vectors[250]
    vectors[99] = 0
    return vectors


@pytest.fixture
def probabilities(draw):
    return draw.dirichlet(np.ones(GENRES), size=N).astype(np.float32)


# --- scores -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_scores_are_the_mean_or_the_largest_similarity_to_the_liked_songs(vectors, metric, pool):
    likes = [3, 7, 99, 120]
    expected = cosine_similarity(vectors, vectors[likes]) if metric == "cosine" else -cdist(vectors, vectors[likes])
    scores, because = score(vectors, Taste(vectors[likes], metric=metric, pool=pool))
    np.testing.assert_allclose(scores, getattr(expected, pool)(axis=1), atol=1e-5)
    others = np.setdiff1d(np.arange(N), likes)
    assert because[others].tolist() == expected[others].argmax(axis=1).tolist()
    assert set(because) == {0, 1, 2, 3}


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 50.0])
def test_method_2_adds_the_agreement_of_genres(vectors, probabilities, weight):
    likes = [3, 7, 120]
    taste = Taste(vectors[likes], probabilities[likes], weight=weight)
    scores, because = score(vectors, taste, probabilities)
    cosine = cosine_similarity(vectors, vectors[likes])
    expected = [
        cosine[i].mean() + weight * np.mean([np.dot(probabilities[i], probabilities[like]) for like in likes])
        for i in range(N)
    ]
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    assert because.tolist() == score(vectors, Taste(vectors[likes]))[1].tolist()


def test_one_liked_song_scores_bit_for_bit_as_the_table_of_similar_songs(vectors):
    for metric in ("cosine", "euclidean"):
        ids, scores = top_n(vectors, N, metric, rows=(7, 8))
        ours, _ = score(vectors, Taste(vectors[[7]], metric=metric))
        assert ours[ids[0]].tobytes() == scores[0].tobytes()
        assert best(ours, N, [7]).tolist() == ids[0].tolist()


def test_no_score_depends_on_how_many_songs_are_scored_at_once(vectors, probabilities, monkeypatch):
    for metric in ("cosine", "euclidean"):
        taste = Taste(vectors[:3], probabilities[:3], metric)
        together, because = score(vectors, taste, probabilities)
        alone = [score(vectors[[i]], taste, probabilities[[i]]) for i in range(N)]
        assert together.tobytes() == np.concatenate([scores for scores, _ in alone]).tobytes()
        monkeypatch.setattr("musicrec.similarity.taste.BLOCK_ROWS", 7)
        in_blocks, because_in_blocks = score(vectors, taste, probabilities)
        assert together.tobytes() == in_blocks.tobytes()
        assert because.tolist() == because_in_blocks.tolist()


def test_of_equally_similar_liked_songs_the_first_is_the_reason(vectors):
    _, because = score(vectors[[250]], Taste(vectors[[5, 40, 7]]))
    assert because.tolist() == [1]


@pytest.mark.parametrize(
    ("taste", "error"),
    [
        (Taste(np.ones((1, 2)), metric="manhattan"), "unknown metric 'manhattan'; expected one of cosine, euclidean"),
        (Taste(np.ones((1, 2)), pool="median"), "unknown pool 'median'; expected one of mean, max"),
        (Taste(np.ones((0, 2))), "at least one liked song"),
        (Taste(np.ones((1, 2)), np.ones((1, 3))), "those of the other songs too"),
    ],
)
def test_what_cannot_be_scored_is_refused(taste, error):
    with pytest.raises((ConfigError, ValueError), match=error):
        score(np.ones((4, 2), np.float32), taste)


# --- the best -----------------------------------------------------------------------------------------------------


def chosen_by_hand(scores, n, likes, recordings):
    """One after the other: the best song that is new and of no recording that is listed or liked."""
    seen, rows = {recordings[i] for i in likes}, []
    for row in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if recordings[row] not in seen and scores[row] > -np.inf and len(rows) < n:
            rows.append(row)
            seen.add(recordings[row])
    return rows


@pytest.mark.parametrize("n", [1, 5, 40, 10_000])
def test_the_best_are_new_songs_and_one_clip_of_each_recording(draw, n):
    for _ in range(20):
        scores = draw.integers(8, size=60).astype(np.float32)  # many are equal
        scores[draw.integers(60, size=5)] = -np.inf
        recordings = draw.integers(30, size=60)
        likes = draw.choice(60, 3, replace=False)
        assert best(scores, n, likes, recordings).tolist() == chosen_by_hand(scores, n, likes, recordings)
        assert best(scores, n, likes).tolist() == chosen_by_hand(scores, n, likes, np.arange(60))


def test_who_likes_everything_gets_nothing():
    assert best(np.ones(3, np.float32), 5, [0, 1, 2]).tolist() == []
    assert best(np.ones(3, np.float32), 5, [1], [4, 4, 4]).tolist() == []


# --- centre songs -------------------------------------------------------------------------------------------------


def test_the_medoid_has_the_least_mean_cosine_distance_to_the_others(vectors):
    for rows in (range(50), range(50, 90), [5], [12, 13]):
        some = vectors[list(rows)]
        distances = cdist(some, some, "cosine").mean(axis=1)
        assert distances[medoid(some)] == pytest.approx(distances.min(), abs=1e-6)


def test_of_equal_centres_the_first_is_taken(vectors):
    assert medoid(vectors[[7, 40, 250]]) == 0
    assert medoid(np.zeros((3, 4))) == 0
    assert medoid([[1, 0], [0, 1], [1, 1], [0, 1], [1, 0]]) == 2


# --- spaces -------------------------------------------------------------------------------------------------------


@pytest.fixture
def features(draw):
    """Features of very different size that go together, one of them constant, as float32."""
    mixed = draw.normal(size=(N, D)) @ draw.normal(size=(D, D))
    features = (mixed * 10.0 ** draw.integers(-4, 7, size=D) + 1000).astype(np.float32)
    features[:, 4] = 0.1
    return features


def in_blocks(x, size):
    return (x[i : i + size] for i in range(0, len(x), size))


@pytest.mark.parametrize("size", [1, 37, N])
def test_moments_are_those_of_numpy(features, size):
    mean, covariance = moments(in_blocks(features, size))
    x = features.astype(np.float64)
    spread = np.outer(x.std(axis=0), x.std(axis=0)) + 1e-12
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(covariance / spread, np.cov(x.T, bias=True) / spread, atol=1e-9)


def test_standardised_features_are_those_of_scikit_learn(features):
    placed = Space.standardised(in_blocks(features, 64)).place(features)
    expected = StandardScaler().fit_transform(features.astype(np.float64))
    np.testing.assert_allclose(np.delete(placed, 4, axis=1), np.delete(expected, 4, axis=1), rtol=1e-4, atol=1e-5)
    assert np.abs(placed[:, 4]).max() < 1e-6


def test_distances_in_the_principal_plane_are_those_of_scikit_learn(features):
    placed = Space.principal(in_blocks(features, 64), 2).place(features)
    expected = PCA(2).fit_transform(StandardScaler().fit_transform(features.astype(np.float64)))
    assert placed.shape == (N, 2)
    np.testing.assert_allclose(cdist(placed, placed), cdist(expected, expected), atol=1e-4)


def test_moments_of_nothing_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        moments([np.zeros((0, 3))])
