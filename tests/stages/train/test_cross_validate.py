"""Cross-validation: what is said together and kept from before, and once the whole on Ray."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from musicrec import features, schemas
from musicrec.evaluate.summary import summary
from musicrec.models import with_defaults
from musicrec.schemas import EVALUATION
from musicrec.serve.known_artists import without_artists
from musicrec.settings import CatalogSettings, EvaluateSettings, ExtractSettings, TrainSettings
from musicrec.stages.train import cross_validate
from musicrec.stages.train.cross_validate import _before, _fused, _Shuffled, _units, evaluate
from musicrec.store.store import Store

CLASSES = ["a", "b", "c"]


def answers(model, probabilities, fold=0):
    """Rows of ``evaluation`` of songs s0, s1 and so on."""
    n = len(probabilities)
    return pa.table(
        {
            "model": [model] * n, "split": ["artist"] * n, "seed": [0] * n, "fold": [fold] * n,
            "track_id": [f"s{i}" for i in range(n)], "genre": ["a"] * n,
            "predicted": [CLASSES[int(np.argmax(p))] for p in probabilities],
            "probabilities": [np.float32(p) for p in probabilities],
        },
        schema=EVALUATION,
    )  # fmt: skip


# --- pure ---------------------------------------------------------------------------------------------------------


def test_models_that_are_fused_say_the_mean_of_what_each_says_scaled_to_one():
    one = answers("one", [[0.8, 0.2, 0.0], [0.1, 0.9, 0.0]])
    each = answers("each", [[0.1, 0.4, 0.0], [0.9, 0.9, 0.9]])  # sigmoid: .2, .8, 0 and a third each
    strange = answers("strange", [[0, 0, 1], [0, 0, 1]])
    fused = _fused(pa.concat_tables([one, strange, each]), "one+each", CLASSES)
    assert fused.schema.equals(EVALUATION)
    rows = fused.to_pandas().set_index("track_id")
    assert set(rows["model"]) == {"one+each"}
    np.testing.assert_allclose(rows.loc["s0", "probabilities"], [0.5, 0.5, 0], atol=1e-6)
    np.testing.assert_allclose(rows.loc["s1", "probabilities"], [0.65 / 3, 1.85 / 3, 0.5 / 3], atol=1e-6)
    assert rows.loc["s1", "predicted"] == "b"
    assert rows["genre"].tolist() == ["a", "a"]


def test_fused_probabilities_of_nothing_stay_numbers():
    fused = _fused(pa.concat_tables([answers("x", [[0, 0, 0]]), answers("y", [[0, 0, 1]])]), "x+y", CLASSES)
    np.testing.assert_allclose(fused["probabilities"].to_pylist(), [[0, 0, 0.5]])


def test_frames_are_shuffled_within_a_song_and_for_each_song_in_another_way():
    song = np.arange(60).reshape(20, 3)
    shuffled = _Shuffled([song, song], seed=3)
    assert len(shuffled) == 2
    for i in (0, 1):
        np.testing.assert_array_equal(np.sort(shuffled[i][:, 0]), song[:, 0])
        np.testing.assert_array_equal(shuffled[i][:, 1], shuffled[i][:, 0] + 1)  # frames stay whole
        np.testing.assert_array_equal(shuffled[i], shuffled[i])
        assert not np.array_equal(shuffled[i], song)
    assert not np.array_equal(shuffled[0], shuffled[1])
    assert not np.array_equal(shuffled[0], _Shuffled([song], seed=4)[0])


def test_models_judged_before_stay_where_songs_and_folds_are_the_same(tmp_path):
    store = Store(tmp_path / "out")
    store.create()
    lineage = {"classes": CLASSES, "folds": 3, "songs": "same"}
    fresh = answers("knn", [[1, 0, 0]])
    assert _before(store, "evaluation", lineage, fresh).num_rows == 0
    old = pa.concat_tables([answers("knn", [[0, 1, 0]]), answers("svm", [[0, 0, 1]])])
    version = store.new_version("evaluation", EvaluateSettings(), "x", **lineage)
    version.write_part(old)
    store.publish(version)
    kept = _before(store, "evaluation", lineage, fresh)
    assert kept["model"].to_pylist() == ["svm"]
    assert kept.schema.equals(fresh.schema)
    for other in ({"folds": 4}, {"songs": "others"}, {"classes": ["a", "b"]}):
        assert _before(store, "evaluation", lineage | other, fresh).num_rows == 0


def test_every_model_is_trained_on_every_fold_of_both_splits_with_every_seed():
    asked = [with_defaults(TrainSettings(model=model, seed=5)) for model in ("knn", "mlp")]
    units = _units(asked, EvaluateSettings(models=("knn", "mlp"), folds=3, seeds=2))
    found = {tuple(unit.label.values()) for unit in units}
    assert len(units) == len(found) == 2 * 2 * 2 * 3
    assert {unit.settings.seed for unit in units} == {5, 6}
    assert {(unit.split, unit.fold) for unit in units} == {(s, f) for s in ("random", "artist") for f in range(3)}


def test_a_split_by_artists_of_before_goes_where_artists_are_unknown_now(tmp_path):
    store = Store(tmp_path / "out")
    store.create()
    lineage = {"classes": CLASSES, "folds": 3, "songs": "same"}
    version = store.new_version("evaluation", EvaluateSettings(), "x", **lineage)
    version.write_part(answers("svm", [[0, 0, 1]]))
    store.publish(version)
    assert _before(store, "evaluation", lineage, answers("knn", [[1, 0, 0]]), ["random"]).num_rows == 0


# --- on Ray -------------------------------------------------------------------------------------------------------

N = 61
MODELS = ("knn", "logistic", "mlp")


@pytest.fixture
def store(ray_session, tmp_path):
    """An OUT of drawn features, with two clips of a recording each, and a genre of one artist."""
    store = Store(tmp_path / "out")
    store.create()
    ids = [f"s{i:02d}" for i in range(N)]
    empty = dict.fromkeys(schemas.TRACKS.names)
    tracks = [
        empty | {"track_id": t, "uri": f"/music/{t}.wav", "recording": f"r{i // 2}", "artist_id": f"p{i // 6}",
                 "genre": "alone" if i >= 54 else "abc"[i // 6 % 3]}
        for i, t in enumerate(ids)
    ]  # fmt: skip
    names = features.feature_names("iiitd41")
    X = np.random.default_rng(0).normal(size=(N, len(names))).astype(np.float32)
    X[np.arange(N), ["abcalone".index(row["genre"]) for row in tracks]] += 9
    for name, rows, settings in (
        ("tracks", pa.Table.from_pylist(tracks, schemas.TRACKS), CatalogSettings(source="/music")),
        ("features", pa.table([ids, *X.T], schema=schemas.features_schema(names)), ExtractSettings()),
    ):
        version = store.new_version(name, settings, name)
        version.write_part(rows)
        store.publish(version)
        store.settings.record(settings)
    return store


@pytest.mark.engine
def test_without_artists_there_is_no_figure_for_new_artists(store):
    tracks = store.read("tracks")
    place = tracks.schema.get_field_index("artist_id")
    version = store.new_version("tracks", CatalogSettings(source="/music"), "without artists")
    version.write_part(tracks.set_column(place, tracks.schema.field(place), [pa.nulls(N, pa.string())]))
    store.publish(version)
    found = evaluate(store, EvaluateSettings(models=("knn",), folds=2), TrainSettings())
    assert set(found["split"]) == {"random"}
    assert "no artist on both sides" not in summary(found)
    assert without_artists(store).startswith(f"{N} of the {N} songs have no artist: how well a model does for artists")


@pytest.mark.slow
def test_models_are_judged_on_songs_they_have_not_seen_and_a_stopped_run_goes_on(store, monkeypatch):
    settings = EvaluateSettings(models=MODELS, folds=3, seeds=2, fuse=("knn+mlp",))
    how = TrainSettings(epochs=2)
    trained = []
    run_staged = cross_validate.run_staged

    def counted(store, stage, shards, submit, done):
        return run_staged(store, stage, shards, lambda name, unit: trained.append(name) or submit(name, unit), done)

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cross_validate, "run_staged", counted)
    monkeypatch.setattr(cross_validate, "_publish", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate(store, settings, how)
    assert len(trained) == len(set(trained)) == len(MODELS) * 2 * 3 * 2
    monkeypatch.undo()
    monkeypatch.setattr(cross_validate, "run_staged", counted)
    scores = evaluate(store, settings, how)
    assert len(trained) == len(MODELS) * 2 * 3 * 2  # nothing was trained again

    tracks = store.read("tracks").to_pandas().set_index("track_id")
    answers = pd.read_parquet(store.path("evaluation"))
    assert set(answers["model"]) == {*MODELS, "knn+mlp"}
    for (_, split, _), rows in answers.groupby(["model", "split", "seed"]):
        assert rows["track_id"].is_unique
        untested = set(tracks.index) - set(rows["track_id"])
        assert {tracks.loc[t, "genre"] for t in untested} <= ({"alone"} if split == "artist" else set())
        group = rows["track_id"].map(tracks["recording"] if split == "random" else tracks["artist_id"])
        assert rows["fold"].groupby(group.to_numpy()).nunique().max() == 1
    np.testing.assert_array_equal(answers["genre"], answers["track_id"].map(tracks["genre"]))
    curves = pd.read_parquet(store.path("curves"))
    assert set(curves["model"]) == {"mlp"}
    assert curves.groupby(["split", "seed", "fold"])["epoch"].apply(list).tolist() == [[1, 2]] * 12
    pd.testing.assert_frame_equal(pd.read_parquet(store.path("scores")), scores, check_dtype=False)
    logistic = scores[(scores["model"] == "logistic") & (scores["metric"] == "accuracy") & scores["genre"].isna()]
    hits = answers[answers["model"] == "logistic"].eval("genre == predicted").groupby(answers["split"]).mean()
    for split, value in logistic.set_index("split")["value"].items():
        assert value == pytest.approx(hits[split])
        assert value > 0.6
