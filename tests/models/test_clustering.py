"""Clusterings: found without genres, with the figures of the reference system, and placing new songs as they should."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import DBSCAN, Birch, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import davies_bouldin_score, silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from musicrec import features
from musicrec.errors import ModelError
from musicrec.evaluate.cluster_quality import agreement, quality, sweep
from musicrec.models import CLUSTERINGS, Classical, load, read_card
from musicrec.models import clustering as clusterings
from musicrec.models.classical import fit
from musicrec.models.clustering import GenreOfCluster, PredictingDBSCAN, TreelessBirch
from musicrec.models.pipelines import build
from musicrec.report import write_report
from musicrec.report.clusters_section import cluster_map
from musicrec.schemas import CLUSTERS, SWEEP
from musicrec.settings import EmbedSettings, TrainSettings
from musicrec.stages.embed import embed
from musicrec.stages.train.stage import train
from musicrec.store.store import Store


def unweighted_clusters(estimator):
    """Checks that expect a song of weight 2 to be as two songs: clusters are found of songs, without their weights."""
    why = "weights count in the shares of genres alone"
    names = "check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"
    return dict.fromkeys(names, why) if isinstance(estimator, GenreOfCluster) else {}


@pytest.mark.thorough
@parametrize_with_checks(
    [
        GenreOfCluster(KMeans(9, random_state=0)),
        GenreOfCluster(GaussianMixture(3, random_state=0)),
        PredictingDBSCAN(),
        TreelessBirch(),
    ],
    expected_failed_checks=unweighted_clusters,
)
def test_steps_keep_the_rules_of_scikit_learn(estimator, check):
    check(estimator)


def blobs(n=240, n_features=41, n_classes=4, spread=0.3, seed=0):
    """Songs of genres that lie far apart, so that clusters can be genres."""
    draw = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    X = spread * draw.normal(size=(n, n_features)) + draw.normal(size=(n_classes, n_features))[y]
    return X.astype(np.float32), y.astype(np.int32)


@pytest.fixture(scope="module")
def table(data: Path):
    """The reference system's table: 960 of its 1 200 songs, 41 features."""
    read = pd.read_csv(data / "tables" / "iiitd_12genre_960x41.csv")
    return read[features.feature_names("iiitd41")].to_numpy(), read["genre"].to_numpy(object)


def plane(X):
    return PCA(2, svd_solver="full").fit_transform(StandardScaler().fit_transform(X))


# --- the reference system -----------------------------------------------------------------------------------------

# Silhouette and Davies-Bouldin index found, and the tolerance of each: two standard deviations over random 80 % of the
# table's songs, as the table itself holds 80 % of the reference's.
REFERENCE = {
    "kmeans": ((0.35, 0.015), (0.835, 0.02)),
    "birch": ((0.32, 0.052), (0.68, 0.094)),
    "gaussian_mixture": ((0.347, 0.028), (0.860, 0.064)),
    "dbscan": ((-0.088, 0.114), None),
}


@pytest.mark.parametrize("name", CLUSTERINGS)
def test_the_reference_figures_come_back_on_the_reference_table(table, name):
    X, y = table
    pipeline = build(name, len(X)).fit(X, y)
    points = pipeline[:-1].transform(X)
    found = quality(points, pipeline[-1].clusters(points))
    for figure, reference in zip((found.silhouette, found.davies_bouldin), REFERENCE[name], strict=True):
        if reference is not None:
            assert figure == pytest.approx(reference[0], abs=reference[1])
    assert found.n_clusters == 9 or name == "dbscan"


@pytest.mark.thorough
@pytest.mark.parametrize("name", CLUSTERINGS)
def test_clusters_are_those_of_scikit_learn(table, name):
    X, y = table
    theirs = {
        "kmeans": KMeans(9, n_init=10, random_state=0),
        "birch": Birch(n_clusters=9, threshold=1.9, branching_factor=20),
        "gaussian_mixture": GaussianMixture(9, covariance_type="spherical", random_state=0),
        "dbscan": DBSCAN(eps=0.6, min_samples=4),
    }[name]
    pipeline = build(name, len(X)).fit(X, y)
    ours = pipeline[-1].clusters(pipeline[:-1].transform(X))
    np.testing.assert_array_equal(ours, theirs.fit_predict(plane(X)))


# --- genres stay out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLUSTERINGS)
def test_the_genres_change_no_cluster_and_no_embedding(name):
    X, y = blobs(spread=1.0)
    shuffled = np.random.default_rng(1).permutation(y)
    one, other = (fit(name, (X, genres), 0) for genres in (y, shuffled))
    np.testing.assert_array_equal(one[:-1].transform(X), other[:-1].transform(X))
    points = one[:-1].transform(X)
    np.testing.assert_array_equal(one[-1].clusters(points), other[-1].clusters(points))
    assert not np.allclose(one.predict_proba(X), other.predict_proba(X))  # else the genres would not be read at all


@pytest.mark.parametrize("name", ["kmeans", "birch", "dbscan"])
def test_probabilities_are_the_shares_of_the_genres_in_a_songs_cluster(name):
    X, y = blobs(spread=1.5)
    pipeline = fit(name, (X, y), 0)
    clusters = pipeline[-1].clusters(pipeline[:-1].transform(X))
    shares = pd.crosstab(clusters, y, normalize="index").loc[clusters].to_numpy()
    np.testing.assert_allclose(pipeline.predict_proba(X), shares)


def test_songs_of_a_mixture_count_in_part():
    X, y = blobs(spread=1.5)
    X = X.astype(float)
    pipeline = fit("gaussian_mixture", (X, y), 0)
    points = pipeline[:-1].transform(X)
    parts = GaussianMixture(9, covariance_type="spherical", random_state=0).fit(points).predict_proba(points)
    shares = np.stack([[parts[y == genre, k].sum() / parts[:, k].sum() for genre in range(4)] for k in range(9)])
    np.testing.assert_allclose(pipeline.predict_proba(X), parts @ shares)


# --- placing new songs --------------------------------------------------------------------------------------------


def test_dbscan_places_new_songs_by_brute_force():
    draw = np.random.default_rng(0)
    learn, new = draw.normal(size=(300, 2)), draw.normal(size=(2000, 2)) * 2
    ours, theirs = PredictingDBSCAN(eps=0.3, min_samples=6).fit(learn), DBSCAN(eps=0.3, min_samples=6).fit(learn)
    core = theirs.core_sample_indices_
    distances = np.linalg.norm(new[:, None] - learn[core], axis=2)
    nearest = theirs.labels_[core][distances.argmin(axis=1)]
    expected = np.where(distances.min(axis=1) <= 0.3, nearest, -1)
    assert {-1, 0, 1} <= set(expected)
    np.testing.assert_array_equal(ours.predict(new), expected)


def test_dbscan_takes_a_song_exactly_eps_away_and_not_beyond():
    dbscan = PredictingDBSCAN(eps=0.5, min_samples=2).fit(np.zeros((3, 2)))
    assert dbscan.predict(np.array([[0.5, 0.0], [0.5000001, 0.0]])).tolist() == [0, -1]


def test_dbscan_learns_from_a_draw_of_very_many_songs(monkeypatch):
    monkeypatch.setattr(clusterings, "MOST_IN_DBSCAN", 100)
    X = np.repeat([[0.0, 0.0], [5.0, 5.0]], 1000, axis=0)
    dbscan = PredictingDBSCAN().fit(X)
    assert len(dbscan.labels_) == 100
    clusters = dbscan.predict(X)
    assert len(set(clusters[:1000])) == len(set(clusters[1000:])) == 1
    assert clusters[0] != clusters[-1]


def test_new_noise_where_training_had_none_is_of_all_genres_alike():
    y = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    model = GenreOfCluster(PredictingDBSCAN(eps=1, min_samples=2)).fit(np.zeros((8, 2)), y)
    np.testing.assert_allclose(model.predict_proba(np.array([[9.0, 9.0]])), [[0.75, 0.25]])


@pytest.mark.parametrize("name", CLUSTERINGS)
def test_alike_songs_and_two_songs_do_not_crash(name):
    for X in (np.ones((30, 41)), np.ones((2, 41)), np.vstack([np.zeros(41), np.ones(41)])):
        y = np.arange(len(X), dtype=np.int32) % 2
        model = Classical(fit(name, (X.astype(np.float32), y), 0), {"classes": ["a", "b"]})
        np.testing.assert_allclose(model.predict_proba(X.astype(np.float32)).sum(axis=1), 1, rtol=1e-6)
        assert np.isfinite(model.embed(X.astype(np.float32))).all()


def test_all_noise_is_of_all_genres_alike():
    X = np.arange(8.0).reshape(-1, 1) * [100, 0]
    model = GenreOfCluster(PredictingDBSCAN()).fit(X, np.arange(8) % 2)
    assert set(model.clusters(X)) == {-1}
    np.testing.assert_allclose(model.predict_proba(X), 0.5)


# --- measures -----------------------------------------------------------------------------------------------------


def test_noise_counts_as_a_cluster_of_its_own():
    draw = np.random.default_rng(0)
    X, clusters = draw.normal(size=(50, 2)), np.arange(50) % 4 - 1
    found = quality(X, clusters)
    assert found[:2] == (3, 13)
    assert found.silhouette == pytest.approx(silhouette_score(X, clusters))
    assert found.davies_bouldin == pytest.approx(davies_bouldin_score(X, clusters))


@pytest.mark.parametrize("clusters", [[0, 0, 0], [-1, -1, -1], [0, 1, 2], [0, 1, -1]])
def test_where_the_measures_are_not_defined_they_are_none(clusters):
    assert quality(np.eye(3), clusters)[2:] == (None, None)


def test_very_many_songs_are_judged_by_a_draw(monkeypatch):
    monkeypatch.setattr("musicrec.evaluate.cluster_quality.MOST_COMPARED", 1000)
    X = np.random.default_rng(0).normal(size=(3000, 2)) + np.repeat([[0, 0], [4, 4]], 1500, axis=0)
    clusters = np.repeat([0, 1], 1500)
    drawn, of_all = quality(X, clusters).silhouette, silhouette_score(X, clusters)
    assert drawn == pytest.approx(of_all, abs=0.02)
    assert drawn != of_all


def test_agreement_knows_the_same_clusters_by_other_names_and_none_by_chance():
    genres = np.repeat(["a", "b", "c"], 200)
    assert agreement(np.repeat([2, 0, 1], 200), genres) == pytest.approx((1, 1))
    assert agreement(np.tile([0, 1], 300), genres) == pytest.approx((0, 0), abs=0.01)


def test_a_sweep_is_scikit_learn_step_by_step():
    X = StandardScaler().fit_transform(blobs(n=90, n_features=8, spread=1.0)[0])

    def cluster(points, n):
        return KMeans(n, n_init=2, random_state=0).fit_predict(points)

    swept = sweep(X, {"kmeans": cluster}, (2, 3, 9), (2, 5, 90))
    assert list(swept.columns) == SWEEP.names
    assert list(zip(swept.components, swept.asked, strict=True)) == [(2, 2), (2, 5), (3, 2), (3, 5)]
    for row in swept.itertuples():
        points = PCA(row.components, svd_solver="full").fit_transform(X)
        clusters = KMeans(row.asked, n_init=2, random_state=0).fit_predict(points)
        assert row.clusters == row.asked
        assert row.silhouette == pytest.approx(silhouette_score(points, clusters))
        assert row.davies_bouldin == pytest.approx(davies_bouldin_score(points, clusters))


def test_a_sweep_without_a_number_to_ask_for_says_what_was_found():
    X, _ = blobs(n=50, n_features=3)
    swept = sweep(X, {"none": lambda points, n: np.full(len(points), -1)}, (2,), (None,))
    assert swept.asked.isna().all()
    assert swept.clusters.tolist() == [0]
    assert swept.silhouette.isna().all()


# --- saved --------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_birch_of_many_subclusters_is_saved_without_its_tree():
    """Its leaves are a linked list, which pickle would descend into past Python's limit."""
    X = np.random.default_rng(0).uniform(0, 400, size=(10_000, 2))
    y = np.arange(len(X), dtype=np.int32) % 2
    model = GenreOfCluster(TreelessBirch(n_clusters=None, threshold=1.9, branching_factor=20)).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.clusters(X), model.clusters(X))


class Harm:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("name", CLUSTERINGS)
def test_a_clustering_with_a_stranger_in_it_is_refused(tmp_path, name):
    pipeline = fit(name, blobs(), 0)
    Classical(pipeline, {"model": name, "classes": list("abcd"), "input": {"reads": "features"}}).save(tmp_path)
    assert load(tmp_path).pipeline[-1].n_clusters_ == pipeline[-1].n_clusters_
    pipeline[-1].stranger = Harm()
    Classical(pipeline, {"model": name}).save(tmp_path)
    with pytest.raises(ModelError, match="train the model again"):
        load(tmp_path)


# --- the stages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kmeans", "dbscan"])
def test_a_clustering_is_trained_embedded_and_reported(undisturbed: Store, tmp_path: Path, name: str) -> None:
    store = Store(shutil.copytree(undisturbed.out, tmp_path / "out", symlinks=True))
    assert train(store, TrainSettings(model=name)).fresh > 0
    assert train(store, TrainSettings(model=name)).fresh == 0
    embed(store, EmbedSettings(model=name))
    write_report(store)
    folder = store.path(f"models/{name}")
    clusters, swept = (pd.read_parquet(folder / file) for file in ("clusters.parquet", "sweep.parquet"))
    assert [list(clusters), list(swept)] == [CLUSTERS.names, SWEEP.names]
    vectors = store.read("embeddings").to_pandas().set_index("track_id")["embedding"]
    points = np.stack(clusters.point)
    np.testing.assert_allclose(np.stack(vectors[clusters.track_id]), points, rtol=1e-5, atol=1e-5)

    predictions = pd.read_parquet(folder / "predictions.parquet")
    assert predictions.track_id.tolist() == clusters.track_id.tolist()
    learned = (predictions.split == "train").to_numpy()
    card = read_card(folder)["clustering"]
    expected = quality(points[learned], clusters.cluster[learned])._asdict()
    expected |= agreement(clusters.cluster[learned], predictions.genre[learned])._asdict()
    assert pd.Series(card, dtype=float).to_dict() == pytest.approx(
        pd.Series(expected, dtype=float).to_dict(), rel=1e-4, nan_ok=True
    )
    assert json.loads((folder / "model.json").read_text(), parse_constant=pytest.fail)  # no NaN, which JSON lacks
    page = (store.out / "report.html").read_text(encoding="utf-8")
    assert "<h3>Clusters</h3>" in page
    assert 'alt="Map of the songs by cluster of ' in page
    assert ('alt="Silhouette against the number of clusters' in page) == bool(swept.silhouette.notna().any())


def test_more_clusters_than_colours_are_one_colour_more():
    found = pd.Series(np.repeat(np.arange(-1, 40), 3))
    points = np.random.default_rng(0).normal(size=(len(found), 2)).astype(np.float32)
    named = [text.get_text() for text in cluster_map(points, found).axes[0].get_legend().get_texts()]
    assert len(named) <= 20
    assert "other clusters" in named
    assert "other genres" not in named


def test_genres_count_by_weight_in_the_shares_of_a_cluster():
    """Without weights, every cluster would be of the commoner genre."""
    X, y = np.repeat([[0.0, 0.0], [9.0, 9.0]], 8, axis=0), np.tile([0, 0, 0, 1], 4)
    model = GenreOfCluster(KMeans(2, random_state=0)).fit(X, y, np.where(y, 9.0, 1.0))
    np.testing.assert_allclose(model.predict_proba(X), np.tile([3 / 12, 9 / 12], (16, 1)))
    np.testing.assert_array_equal(model.clusterer_.cluster_centers_[model.clusterer_.predict(X)], X)
