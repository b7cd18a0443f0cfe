"""A model of spaces goes the whole way: trained, judged, embedded, recommended by, and kept from night to night."""

import numpy as np
import pyarrow as pa
import pytest

from musicrec import Recommender
from musicrec.errors import ModelError
from musicrec.files.parquet import write_parquet
from musicrec.models import load, read_card
from musicrec.settings import EvaluateSettings, TrainSettings, VectorsSettings
from musicrec.stages.chain import chain_settings, refresh, run
from musicrec.stages.space_inputs import read_vectors
from musicrec.stages.train.cross_validate import evaluate
from musicrec.stages.vectors.stage import add_vectors
from musicrec.store.spaces import read_space

VALUES = {
    "train": {"model": "logistic", "space": ["mert", "features"]},
    "embed": {"model": "logistic"},
    "similar": {"n": 3, "max_hub_share": 1.0},
}


def write(file, songs, matrix):
    write_parquet(file, pa.table({"track_id": songs, "embedding": list(matrix)}))


def outcomes(store, song):
    rows = store.read("outcomes").to_pandas().query("track_id == @song").set_index("stage")
    return {stage: rows["reason"][stage] for stage in ("train", "embed", "similar")}


def assert_embedded(store):
    """Every song that has both has the embedding that the published model gives its vectors."""
    trained = load(store.path("models/logistic"))
    ids, vectors = read_vectors(store, trained.card["input"], store.track_ids())
    rows = store.read("embeddings").to_pandas()
    assert rows["track_id"].tolist() == ids
    np.testing.assert_allclose(np.stack(rows["embedding"]), trained.embed(vectors), rtol=1e-6)
    np.testing.assert_allclose(np.stack(rows["probabilities"]), trained.predict_proba(vectors), rtol=1e-6)


def test_a_model_of_spaces_goes_the_whole_way_and_every_night(ray_session, copy, tmp_path):
    store, file, known = copy, tmp_path / "mert.parquet", {"model": "mert", "weights": "1"}
    songs = sorted(store.read("features", ["track_id"])["track_id"].to_pylist())
    genres = dict(zip(*store.read("tracks", ["track_id", "genre"]).to_pydict().values(), strict=True))
    _, genre = np.unique([genres[song] for song in songs], return_inverse=True)
    matrix = (3 * np.eye(genre.max() + 1)[genre] + np.random.default_rng(0).normal(size=(len(songs), 1))).astype("f4")
    write(file, songs[1:], matrix[1:])
    add_vectors(store, VectorsSettings(name="mert", file=str(file), **known))

    settings = chain_settings(store, VALUES)
    page = run(store, settings, show=lambda counts: None)
    card = read_card(store.path("models/logistic"))
    assert card["input"]["spaces"]["mert"]["id"] == read_space(store, "mert").space_id
    assert card["metrics"]["test_accuracy"] > 0.9
    assert outcomes(store, songs[0]) == {"train": "no_vector", "embed": "no_vector", "similar": "no_embedding"}
    assert_embedded(store)
    assert set(store.footer("embeddings")["lineage"]["made_of"]) == {"models/logistic", "features", "vectors/mert"}
    lists = store.read("similar").to_pandas()
    assert (lists["track_id"].map(genres) == lists["similar_track_id"].map(genres)).mean() > 0.9
    assert "logistic" in page.read_text()
    by_genre = Recommender(store.out).recommend([songs[1]], 2, method="genre")
    assert [genres[line.song.track_id] for line in by_genre] == [genres[songs[1]]] * 2

    judged = evaluate(store, EvaluateSettings(models=("logistic",), folds=2), TrainSettings(space=("mert",)))
    evaluate(store, EvaluateSettings(models=("logistic",), folds=2), TrainSettings(space=("mert", "features")))
    accuracy = judged[judged["genre"].isna() & (judged["metric"] == "accuracy")].set_index(["model", "split"])["value"]
    assert accuracy["logistic on mert", "random"] > 0.9
    assert {"logistic on mert", "logistic on features, mert"} <= set(store.read("scores")["model"].to_pylist())

    before = store.state()
    run(store, settings, show=lambda counts: None)
    assert store.state() == before
    write(file, songs, matrix[:, ::-1])  # by the same model
    refresh(store, settings.of_a_night(), show=lambda line: None)
    assert read_card(store.path("models/logistic"))["model_id"] == card["model_id"]
    assert len(store.read("embeddings")) == len(songs)
    assert_embedded(store)
    kept = store.versions("similar").published
    add_vectors(store, VectorsSettings(name="mert", file=str(file), model="mert", weights="2"))
    with pytest.raises(
        ModelError, match=r"model logistic was trained on other vectors than .*: mert was .* train it again"
    ):
        refresh(store, settings.of_a_night(), show=lambda line: None)
    assert store.versions("similar").published == kept
