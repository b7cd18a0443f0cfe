"""Tuning: scikit-learn's own grid search is the reference; the songs held out for testing have no part in it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.pipeline import Pipeline

from musicrec.cli import cli
from musicrec.errors import ConfigError, ModelError
from musicrec.files.parquet import write_parquet
from musicrec.models import CLASSICAL_MODELS, TrainingSet, held_out, training_set, tuning
from musicrec.models.pipelines import build
from musicrec.models.weights import song_weights
from musicrec.report import write_report
from musicrec.report.tuning_section import validation_points
from musicrec.schemas import TUNING
from musicrec.settings import TrainSettings, TuneSettings
from musicrec.stages.model_inputs import load_training_set
from musicrec.stages.train.tune import tune
from musicrec.store.store import Store

SMALL = {"knn": [{"n_neighbors": [1, 4], "weights": ["uniform", "distance"]}], "logistic": [{"C": [0.1, 1.0]}]}


def catalog(n=120, n_classes=3, per_artist=2, seed=0) -> TrainingSet:
    """Songs of artists who play one genre each."""
    draw = np.random.default_rng(seed)
    genres = [f"g{i % n_classes}" for i in range(n)]
    X = draw.normal(size=(n, 12)) + draw.normal(size=(n_classes, 12))[np.arange(n) % n_classes]
    artists = [[f"{genre}-{i // (n_classes * per_artist)}"] for i, genre in enumerate(genres)]
    return training_set([f"s{i:03d}" for i in range(n)], X.astype(np.float32), genres, artists)


# --- pure ---------------------------------------------------------------------------------------------------------


def test_every_classical_model_has_a_grid_that_its_classifier_knows_and_that_holds_the_reference():
    assert set(tuning.GRIDS) == set(CLASSICAL_MODELS)
    for model in CLASSICAL_MODELS:
        given = build(model, 100)[-1].get_params()
        tried = tuning.candidates(model)
        assert set().union(*tried) <= set(given)
        assert any(candidate.items() <= given.items() for candidate in tried), model


def test_inner_folds_test_each_training_song_once_and_keep_artists_apart():
    songs = catalog()
    learn = ~held_out(songs, 0.2, 0)
    folds = tuning.inner_folds(songs, learn, 4, 0)
    assert len(folds) == 4
    assert sorted(np.concatenate([test for _, test in folds])) == np.flatnonzero(learn).tolist()
    groups = np.array(songs.groups)
    for part, test in folds:
        assert set(part) | set(test) == set(np.flatnonzero(learn))
        assert not set(groups[part]) & set(groups[test])
        assert set(songs.y[test]) == set(songs.y)


@pytest.mark.thorough
def test_scores_and_the_best_are_those_of_scikit_learns_grid_search(monkeypatch):
    monkeypatch.setattr(tuning, "GRIDS", SMALL)
    songs = catalog()
    X = songs.X.astype(float)
    folds = tuning.inner_folds(songs, np.ones(len(X), bool), 3, 0)
    for model, grid in SMALL.items():
        pipeline: Pipeline = build(model, len(X))
        last = pipeline.steps[-1][0]
        search = GridSearchCV(pipeline, [{f"{last}__{k}": v for k, v in grid[0].items()}], cv=folds,
                              return_train_score=True).fit(X, songs.y)  # fmt: skip
        rows = []
        for candidate in tuning.candidates(model):
            for k, fold in enumerate(folds):
                scores = tuning.score(model, candidate, (songs.X, songs.y), fold, 0)
                rows.append([model, tuning.to_text(candidate), k, *scores])
        table = pa.Table.from_pandas(pd.DataFrame(rows, columns=TUNING.names), TUNING, preserve_index=False)
        means = table.to_pandas().groupby("candidate", sort=False)[["accuracy", "train_accuracy"]].mean()
        np.testing.assert_allclose(means["accuracy"], search.cv_results_["mean_test_score"])
        np.testing.assert_allclose(means["train_accuracy"], search.cv_results_["mean_train_score"])
        best = {k.removeprefix(f"{last}__"): v for k, v in search.best_params_.items()}
        assert tuning.best_params(table, model) == best


def rows_of(model, accuracies):
    """Table ``tuning`` of candidates C = 1, 2, …, with the accuracies of each on its folds."""
    rows = [
        (model, tuning.to_text({"C": c + 1}), k, accuracy, 1.0)
        for c, folds in enumerate(accuracies)
        for k, accuracy in enumerate(folds)
    ]
    return pa.Table.from_pandas(pd.DataFrame(rows, columns=TUNING.names), TUNING, preserve_index=False)


def test_the_best_mean_wins_and_of_equals_the_first():
    table = pa.concat_tables(
        [rows_of("svm", [[0.5, 0.5], [0.9, 0.3], [0.4, 0.8]]), rows_of("logistic", [[0, 0], [1, 1]])]
    )
    assert tuning.best_params(table, "svm") == {"C": 2}
    assert tuning.best_params(table, "logistic") == {"C": 2}
    with pytest.raises(ConfigError, match="musicrec tune OUT --model knn"):
        tuning.best_params(table, "knn")


def test_more_neighbours_than_songs_are_as_many_as_there_are():
    assert build("knn", 5, params={"n_neighbors": 64})[-1].n_neighbors == 5
    assert build("knn", 500, params={"n_neighbors": 64})[-1].n_neighbors == 64


def test_songs_that_cannot_be_folded_are_said():
    songs = catalog(n=12, per_artist=100)  # an artist a genre
    with pytest.raises(ModelError, match="cannot be folded"):
        tuning.inner_folds(songs, songs.y == 0, 5, 0)
    with pytest.raises(ConfigError, match="expected one of knn"):
        tuning.candidates("mlp")


def test_validation_points_are_the_candidates_that_differ_in_one_number():
    grid = {"kernel": ["rbf", "poly"], "C": [1, 10], "gamma": [0.1, 0.2]}
    rows = [
        {"candidate": tuning.to_text(c), "accuracy": c["C"] + c["gamma"] + fold, "train_accuracy": 1.0}
        for c in ParameterGrid(grid)
        for fold in (-1, 1)
    ]
    points = validation_points(pd.DataFrame(rows), {"kernel": "rbf", "C": 10, "gamma": 0.2})
    assert list(points) == ["C", "gamma"]
    assert points["C"]["mean", "accuracy"].to_dict() == pytest.approx({1: 1.2, 10: 10.2})
    assert points["gamma"]["mean", "accuracy"].to_dict() == pytest.approx({0.1: 10.1, 0.2: 10.2})
    assert points["gamma"]["std", "accuracy"].tolist() == pytest.approx([1, 1])


# --- the command, on Ray --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def out(ray_session, tmp_path_factory) -> Path:
    """An OUT of drawn features: the stages before need not run. One genre has half as many songs as the others."""
    from musicrec import features, schemas
    from musicrec.settings import CatalogSettings, ExtractSettings

    store = Store(tmp_path_factory.mktemp("tune") / "out")
    store.create()
    songs = catalog()
    names = features.feature_names("iiitd41")
    X = np.random.default_rng(1).normal(size=(len(songs.y), 41)).astype(np.float32)
    X[:, :12] = songs.X
    empty = dict.fromkeys(schemas.TRACKS.names)
    genres = [songs.classes[y] if y or i % 2 else None for i, y in enumerate(songs.y)]
    known = zip(songs.track_ids, genres, songs.groups, strict=True)
    tracks = [empty | {"track_id": t, "genre": g, "artist_id": a} for t, g, a in known]
    table = pa.table([songs.track_ids, *X.T], schema=schemas.features_schema(names))
    for name, rows, settings in (
        ("tracks", pa.Table.from_pylist(tracks, schemas.TRACKS), CatalogSettings(source="/music")),
        ("features", table, ExtractSettings(feature_sets=("iiitd41",))),
    ):
        version = store.new_version(name, settings, name)
        version.write_part(rows)
        store.publish(version)
        store.settings.record(settings)
    return store.out


@pytest.fixture
def store(out, tmp_path, monkeypatch) -> Store:
    monkeypatch.setattr(tuning, "GRIDS", SMALL)
    return Store(shutil.copytree(out, tmp_path / "out", symlinks=True))


def test_the_table_holds_every_candidate_on_every_fold_as_computed_without_ray(store):
    rows = tune(store, TuneSettings(model="logistic", folds=3)).to_pandas()
    songs = load_training_set(store, TrainSettings(model="logistic"))
    folds = tuning.inner_folds(songs, ~held_out(songs, 0.2, 0), 3, 0)
    weights = [song_weights(songs.y[part], [songs.groups[i] for i in part]) for part, _ in folds]
    expected = [
        (
            "logistic",
            tuning.to_text(c),
            k,
            *tuning.score("logistic", c, (songs.X, songs.y), fold, 0, weights=weights[k]),
        )
        for c in tuning.candidates("logistic")
        for k, fold in enumerate(folds)
    ]
    pd.testing.assert_frame_equal(rows, pd.DataFrame(expected, columns=TUNING.names), check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_parquet(store.path("tuning")), rows)


def test_candidates_are_trained_by_the_balance_that_is_asked_for(store, monkeypatch):
    """A penalty so strong that only the weights say which genre is named: the rare one, as soon as it weighs more."""
    monkeypatch.setattr(tuning, "GRIDS", {"logistic": [{"C": [1e-9]}]})
    accuracies = {
        balance: tune(store, TuneSettings(model="logistic", folds=3, balance=balance))["accuracy"].to_pylist()
        for balance in ("none", "genre")
    }
    assert accuracies["none"] != accuracies["genre"]


def test_features_of_the_test_songs_have_no_part_in_it(store):
    rows = tune(store, TuneSettings(model="knn", folds=3))
    songs = load_training_set(store, TrainSettings(model="knn"))
    test = held_out(songs, 0.2, 0)
    file = next((store.out / "features").resolve().glob("*.parquet"))
    table = pa.parquet.read_table(file).to_pandas().set_index("track_id")
    names = np.array(songs.track_ids)

    def with_noise(which):
        changed = table.copy()
        changed.loc[names[which]] = np.random.default_rng(2).normal(size=(which.sum(), 41)).astype("float32")
        write_parquet(file, pa.Table.from_pandas(changed.reset_index(), pa.parquet.read_schema(file)))
        shutil.rmtree(store.out / "_versions" / "tuning")
        (store.out / "tuning").unlink()
        return tune(store, TuneSettings(model="knn", folds=3))

    assert with_noise(test).equals(rows)
    assert not with_noise(~test).equals(rows)  # else the noise would show nothing


def test_models_share_the_table_while_songs_and_folds_are_the_same(store):
    svm = tune(store, TuneSettings(model="logistic", folds=3))
    tune(store, TuneSettings(model="knn", folds=3))
    version = store.path("tuning").resolve()
    assert tune(store, TuneSettings(model="logistic", folds=3)).equals(svm)
    assert store.path("tuning").resolve() == version  # nothing was done again
    assert set(store.read("tuning")["model"].to_pylist()) == {"knn", "logistic"}
    tune(store, TuneSettings(model="knn", folds=4))
    assert set(store.read("tuning")["model"].to_pylist()) == {"knn"}  # other folds: not to be compared


def test_the_command_tells_the_best_and_the_report_shows_it(store):
    assert "Tuning" not in write_report(store).read_text(encoding="utf-8")
    store.settings.record(TrainSettings(seed=3, test_fraction=0.3))
    told = CliRunner().invoke(cli, ["tune", str(store.out), "--model", "knn", "--folds", "3"])
    assert told.exit_code == 0, told.output
    best = tuning.best_params(store.read("tuning"), "knn")
    assert f"best: {json.dumps(best, sort_keys=True)}, accuracy " in told.output
    settings = store.footer("tuning")["settings"]
    assert (settings["seed"], settings["test_fraction"]) == (3, 0.3)  # the split of the last train
    page = write_report(store).read_text(encoding="utf-8")
    assert f"n_neighbors {best['n_neighbors']}, weights {best['weights']}" in page
    assert "Validation curves of knn" in page
