"""The classical models: their steps keep scikit-learn's rules, learn from training rows alone, and are saved safely.

What they share with all models stands in test_contract.py, what is the clusterings' alone in test_clustering.py.
"""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import mahalanobis
from scipy.stats import binomtest
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_selection import SelectKBest
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from musicrec import features
from musicrec.errors import ModelError
from musicrec.evaluate.classification import accuracy, predict_folds
from musicrec.models import CLASSICAL_MODELS, CLUSTERINGS, Classical, load, read_card, steps
from musicrec.models.classical import fit
from musicrec.models.pipelines import build
from musicrec.models.weights import song_weights
from musicrec.report import write_report
from musicrec.settings import EmbedSettings, SimilarSettings, TrainSettings
from musicrec.stages.embed import embed
from musicrec.stages.similar.stage import similar
from musicrec.stages.train.stage import train
from musicrec.store.store import Store

STEPS = [
    steps.ClipOutliers(),
    steps.DropSkewed(),
    steps.DropCorrelated(),
    steps.Components(),
    steps.SelectAtMost(k=25),
    steps.Logarithm(),
    steps.WhitenWithinClasses(),
    steps.WeightedKNeighbors(weights="distance"),
    steps.ProbableSVC(break_ties=True, gamma=0.01, tol=1e-10),  # the gamma that SVC finds ignores weights
]


def unweighted_neighbours(estimator):
    """Checks that expect a song of weight 2 to be as two songs, and one of weight 0 as none."""
    why = "songs are neighbours whatever their weights, which count in the votes alone"
    names = "check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"
    return dict.fromkeys(names, why) if isinstance(estimator, steps.WeightedKNeighbors) else {}


@pytest.mark.thorough
@parametrize_with_checks(STEPS, expected_failed_checks=unweighted_neighbours)
def test_steps_keep_the_rules_of_scikit_learn(estimator, check):
    check(estimator)


def songs(n=240, n_features=41, n_classes=4, seed=0):
    """Songs whose classes lie apart in some directions, with positive and skewed columns among them."""
    draw = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    X = draw.normal(size=(n, n_features)) + draw.normal(size=(n_classes, n_features))[y]
    X[:, :5] = np.exp(X[:, :5])
    return X.astype(np.float32), y.astype(np.int32)


# --- steps --------------------------------------------------------------------------------------------------------


def test_outliers_are_clipped_at_the_fences_of_the_training_rows():
    X = np.column_stack([np.arange(101.0), np.zeros(101)])
    clip = steps.ClipOutliers(spread=3).fit(X)
    far = np.array([[1000.0, 7.0], [-1000.0, -7.0], [60.0, 0.0]])
    np.testing.assert_array_equal(clip.transform(far), [[225, 7], [-125, -7], [60, 0]])  # quartiles 25 and 75


def test_the_second_of_two_correlated_columns_goes_and_a_constant_one_stays():
    a, b = np.random.default_rng(0).normal(size=(2, 500))
    X = np.column_stack([a, b, -a + 0.01 * b, np.ones(500)])
    assert steps.DropCorrelated(0.98).fit(X).get_support().tolist() == [True, True, False, True]


def test_only_columns_skewed_beyond_the_limit_go():
    normal, heavy = np.random.default_rng(0).normal(size=500), np.random.default_rng(1).lognormal(sigma=2, size=500)
    assert steps.DropSkewed(5).fit(np.column_stack([normal, heavy])).get_support().tolist() == [True, False]
    assert steps.DropSkewed(0).fit(np.column_stack([normal, heavy])).get_support().sum() == 1  # never none


def test_logarithms_are_taken_of_positive_columns_and_stay_finite_below_them():
    X = np.array([[1.0, -1.0], [np.e, 2.0]])
    log = steps.Logarithm().fit(X)
    np.testing.assert_allclose(log.transform(np.array([[np.e, 5.0], [-3.0, -4.0]])), [[1, 5], [0, -4]])


def test_distance_after_whitening_is_mahalanobis_by_the_covariance_within_classes():
    X, y = songs(n_features=6)
    X = X.astype(float)
    centred = X - np.stack([X[y == k].mean(axis=0) for k in range(4)])[y]
    inverse = np.linalg.inv(LedoitWolf(assume_centered=True).fit(centred).covariance_)
    Z = steps.WhitenWithinClasses().fit_transform(X, y)
    for i, j in [(0, 1), (2, 30), (100, 239)]:
        assert np.linalg.norm(Z[i] - Z[j]) == pytest.approx(mahalanobis(X[i], X[j], inverse), rel=1e-9)


def test_whitening_stays_finite_with_fewer_songs_than_features_and_with_constant_ones():
    X, y = songs(n=12, n_features=100)
    X[:, 3] = 1
    assert np.isfinite(steps.WhitenWithinClasses().fit_transform(X, y)).all()
    assert not steps.WhitenWithinClasses().fit_transform(np.ones((4, 3)), np.array([0, 1, 0, 1])).any()


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_likeliest_class_is_the_one_the_support_vectors_decide(n_classes):
    X, y = songs(n_classes=n_classes)
    ours = steps.ProbableSVC(break_ties=True).fit(X[:120], y[:120])
    probabilities = ours.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    decided = SVC(break_ties=True).fit(X[:120], y[:120]).predict(X)
    np.testing.assert_array_equal(ours.classes_[probabilities.argmax(axis=1)], decided)


# --- models -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=CLASSICAL_MODELS + CLUSTERINGS)
def model(request):
    X, y = songs()
    card = {"model": request.param, "model_id": "x", "classes": list("abcd"), "input": {"reads": "features"}}
    return Classical(fit(request.param, (X, y), 0), card)


@pytest.mark.thorough
def test_missing_and_infinite_features_are_filled_in(model):
    X, _ = songs(seed=1)
    X[0, 0], X[1, 7], X[2, 40] = np.nan, np.inf, -np.inf
    assert np.isfinite(model.embed(X)).all()
    assert np.isfinite(model.predict_proba(X)).all()


@pytest.mark.thorough
def test_models_learn_from_songs_fewer_than_neighbours_features_or_folds():
    X, y = songs(n=6, n_features=518, n_classes=2)
    for name in CLASSICAL_MODELS + CLUSTERINGS:
        made = Classical(fit(name, (X, y), 0), {"classes": ["a", "b", "never seen"]})
        assert np.isfinite(made.embed(X)).all()
        assert made.predict_proba(X).shape == (6, 3)


def test_the_reduced_models_are_scikit_learns_own_steps_where_nothing_is_missing_or_odd():
    """The reference system's 25 numbers, on features that none of the cleaning steps touches."""
    X, y = songs()
    X[:, :5] = np.log(X[:, :5])
    reduced = fit("knn", (X, y), 0)[:-1].transform(X.astype(float))
    scaled = StandardScaler().fit_transform(X.astype(float))
    rotated = TruncatedSVD(40, random_state=0).fit_transform(scaled)
    np.testing.assert_allclose(reduced, SelectKBest(k=25).fit_transform(rotated, y), atol=1e-6)


class Harm:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize("content", ["code", "rubbish", "nothing"])
def test_a_file_that_is_no_model_is_refused_and_runs_nothing(tmp_path, content):
    (tmp_path / "model.json").write_text('{"model": "svm"}')
    harm = pickle.dumps(Harm(tmp_path / "harm"))
    (tmp_path / "pipeline.pickle").write_bytes({"code": harm, "rubbish": b"rubbish", "nothing": b""}[content])
    with pytest.raises(ModelError, match="train the model again"):
        load(tmp_path)
    assert not (tmp_path / "harm").exists()
    pickle.loads(harm)
    assert (tmp_path / "harm").exists()  # else the refusal would show nothing


@pytest.mark.thorough
def test_importing_the_models_loads_neither_scikit_learn_nor_keras():
    code = "import sys, musicrec.models; print({'sklearn', 'keras', 'tensorflow'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"


# --- weights ------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_equal_weights_change_no_model():
    X, y = songs()
    for name in CLASSICAL_MODELS + CLUSTERINGS:
        plain, weighted = fit(name, (X, y), 0), fit(name, (X, y), 0, weights=np.ones(len(y)))
        np.testing.assert_array_equal(weighted.predict_proba(X.astype(float)), plain.predict_proba(X.astype(float)))


def test_genres_that_weigh_equally_are_scikit_learns_balanced_classes():
    X, y = songs()
    kept = (y > 0) | (np.arange(len(y)) % 3 == 0)
    X, y = X[kept], y[kept]
    ours = fit("logistic", (X, y), 0, weights=song_weights(y, [None] * len(y), "genre"))
    theirs = fit("logistic", (X, y), 0, {"class_weight": "balanced"})
    np.testing.assert_allclose(ours[-1].coef_, theirs[-1].coef_, rtol=1e-3, atol=1e-4)
    assert np.abs(ours[-1].coef_ - fit("logistic", (X, y), 0)[-1].coef_).max() > 0.01


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_neighbours_vote_by_their_weights(weights):
    X, y = songs(n=60)
    counts = np.random.default_rng(1).uniform(0.2, 3, len(y))
    asked = np.concatenate([X[:30], songs(seed=2)[0][:30]]).astype(float)  # the first are at distance 0 from themselves
    ours = steps.WeightedKNeighbors(5, weights=weights).fit(X, y, counts)
    expected = []
    for song in asked:
        distances = np.linalg.norm(X - song, axis=1)
        votes = np.zeros(4)
        for i in np.argsort(distances)[:5]:
            near = float(distances[i] == 0) if distances.min() == 0 else 1 / distances[i]
            votes[y[i]] += counts[i] * (1 if weights == "uniform" else near)
        expected.append(votes / votes.sum())
    # scikit-learn computes distances from products, so one of 0 may come out as 1e-8.
    np.testing.assert_allclose(ours.predict_proba(asked), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(ours.predict(asked), np.argmax(expected, axis=1))
    plain, theirs = (make(5, weights=weights).fit(X, y) for make in (steps.WeightedKNeighbors, KNeighborsClassifier))
    np.testing.assert_allclose(plain.predict_proba(asked), theirs.predict_proba(asked), atol=1e-12)


# --- accuracy -----------------------------------------------------------------------------------------------------


def test_each_fold_is_trained_on_its_own_rows_alone():
    X, y = songs(n=60)
    folds = list(StratifiedKFold(3).split(X, y))
    hits = predict_folds(lambda n: KNeighborsClassifier(1), X, y, folds)
    for hit, (learn, test) in zip(hits, folds, strict=True):
        assert np.isnan(hit[learn]).all()
        nearest = y[learn][((X[test][:, None] - X[learn]) ** 2).sum(axis=2).argmin(axis=1)]
        np.testing.assert_array_equal(hit[test], nearest == y[test])


def test_the_interval_over_songs_is_the_binomial_one():
    hits = np.zeros(240)
    hits[:194] = 1
    interval = accuracy(hits)
    exact = binomtest(194, 240).proportion_ci(method="wilson")
    assert interval.mean == pytest.approx(194 / 240)
    assert interval.low == pytest.approx(exact.low, abs=0.01)
    assert interval.high == pytest.approx(exact.high, abs=0.01)


def test_repeats_do_not_narrow_the_interval_and_artists_widen_it():
    hits = np.random.default_rng(0).integers(0, 2, 20).repeat(12).astype(float)  # all songs of an artist alike
    once, often = accuracy(hits), accuracy(np.tile(hits, (10, 1)))
    assert once == often
    by_artist = accuracy(hits, np.arange(20).repeat(12))
    assert by_artist.high - by_artist.low > 2.5 * (once.high - once.low)  # √12 at twelve songs an artist


def test_songs_that_no_fold_tests_do_not_count():
    assert accuracy([[1, np.nan, np.nan], [0, 1, np.nan]])[::3] == (0.75, 2)
    with pytest.raises(ValueError, match="no song was tested"):
        accuracy([np.nan])


@pytest.mark.thorough
def test_the_reference_figures_come_back_on_the_reference_table(data):
    """CV of the saved models: SVM .700, KNN .616; ours within three points, and the project's own model above .78."""
    table = pd.read_csv(data / "tables" / "iiitd_12genre_960x41.csv")
    X, y = table[features.feature_names("iiitd41")].to_numpy(), table["genre"].to_numpy(object)
    folds = list(StratifiedKFold(5, shuffle=True, random_state=7).split(X, y))
    found = {
        name: accuracy(predict_folds(lambda n, m=name: build(m, n), X, y, folds)).mean
        for name in ("knn", "logistic", "svm")
    }
    assert found == {
        "knn": pytest.approx(0.616, abs=0.03),
        "logistic": pytest.approx(0.71, abs=0.03),
        "svm": pytest.approx(0.70, abs=0.03),
    }
    assert accuracy(predict_folds(lambda n: build("whitened_svm", n), X, y, folds)).mean > 0.78


# --- the stages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["svm", "whitened_svm"])
def test_a_classical_model_goes_through_every_stage_to_the_report(
    undisturbed: Store, tmp_path: Path, name: str
) -> None:
    store = Store(shutil.copytree(undisturbed.out, tmp_path / "out", symlinks=True))
    settings = TrainSettings(model=name)
    assert train(store, settings).fresh > 0
    assert train(store, settings).fresh == 0
    card = read_card(store.path(f"models/{name}"))
    predictions = pd.read_parquet(store.path(f"models/{name}") / "predictions.parquet")
    test = predictions[predictions.split == "test"]
    assert (test.genre == test.predicted).mean() == pytest.approx(card["metrics"]["test_accuracy"])
    assert card["metrics"]["test_accuracy"] > 3 / 12  # chance is 1/12
    embed(store, EmbedSettings(model=name))
    similar(store, SimilarSettings(n=5))
    write_report(store)
    vectors = store.read("embeddings").to_pandas().set_index("track_id")["embedding"]
    table = store.read("features").to_pandas().set_index("track_id")[card["input"]["feature_names"]].loc[vectors.index]
    expected = load(store.path(f"models/{name}")).embed(table.to_numpy("float32"))
    np.testing.assert_allclose(np.stack(vectors), expected, rtol=1e-5, atol=1e-5)
    assert f"<p>{name} on the 41 features" in (store.out / "report.html").read_text(encoding="utf-8")


def test_a_model_trained_on_test_songs_would_be_seen(undisturbed: Store, tmp_path: Path) -> None:
    """The published model is the one that the training rows alone give."""
    store = Store(shutil.copytree(undisturbed.out, tmp_path / "out", symlinks=True))
    train(store, TrainSettings(model="logistic"))
    model = load(store.path("models/logistic"))
    predictions = pd.read_parquet(store.path("models/logistic") / "predictions.parquet").set_index("track_id")
    learned = predictions[predictions.split == "train"]
    artists = store.read("tracks").to_pandas().set_index("track_id")["artist_id"].loc[learned.index]
    table = store.read("features").to_pandas().set_index("track_id")[model.card["input"]["feature_names"]]
    y = learned.genre.map(model.card["classes"].index).to_numpy("int32")
    weights = song_weights(y, artists.tolist())
    again = fit("logistic", (table.loc[learned.index].to_numpy("float32"), y), 0, weights=weights)
    np.testing.assert_allclose(again[-1].coef_, model.pipeline[-1].coef_)
