"""A model of spaces goes the whole way: trained, judged, embedded, recommended by, and kept from night to night."""

import numpy as np
import pyarrow as pa
import pytest

from musicrec import Recommender
from musicrec.errors import ModelError
from musicrec.features import feature_names
from musicrec.files.parquet import write_parquet
from musicrec.models import load, read_card
from musicrec.report import write_report
from musicrec.schemas import TRACKS, features_schema
from musicrec.settings import CatalogSettings, EvaluateSettings, ExtractSettings, TrainSettings, VectorsSettings
from musicrec.stages.chain import chain_settings, stages
from musicrec.stages.space_inputs import read_vectors
from musicrec.stages.train.cross_validate import evaluate
from musicrec.stages.vectors.stage import add_vectors
from musicrec.store.spaces import read_space
from musicrec.store.store import Store

SONGS = [f"song-{i:02d}" for i in range(48)]
GENRES = {song: ("loud", "soft")[i % 2] for i, song in enumerate(SONGS)}
VALUES = {
    "catalog": {"source": "/music"},
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


@pytest.fixture
def store(tmp_path):
    """An OUT with drawn features, which tell nothing of the genre."""
    store = Store(tmp_path / "out")
    store.create()
    empty, names = dict.fromkeys(TRACKS.names), feature_names("iiitd41")
    tracks = [
        empty
        | {"track_id": song, "uri": f"file:///{song}", "title": song, "genre": GENRES[song], "artist_ids": [f"{i % 8}"]}
        for i, song in enumerate(SONGS)
    ]
    X = np.random.default_rng(1).normal(size=(len(names), len(SONGS))).astype(np.float32)
    settings = CatalogSettings(source="/music")
    for name, rows, how in (
        ("tracks", pa.Table.from_pylist(tracks, TRACKS), settings),
        ("features", pa.table([SONGS, *X], schema=features_schema(names)), ExtractSettings(feature_sets=("iiitd41",))),
    ):
        with store.new_version(name, how, "drawn") as version:
            version.write_part(rows)
            store.publish(version)
    store.settings.record(settings)
    return store


def chain(store, **how):
    """Run the stages of the chain behind extract."""
    for stage in list(stages(store, chain_settings(store, VALUES), **how).values())[2:]:
        stage()


def test_a_model_of_spaces_goes_the_whole_way_and_every_night(ray_session, store, tmp_path):
    file, known = tmp_path / "mert.parquet", {"model": "mert", "weights": "1"}
    matrix = np.random.default_rng(0).normal(size=(len(SONGS), 4)).astype(np.float32)
    matrix += [[8.0 * (GENRES[song] == "loud")] for song in SONGS]
    write(file, SONGS[1:], matrix[1:])
    add_vectors(store, VectorsSettings(name="mert", file=str(file), **known))
    assert list(stages(store, chain_settings(store, VALUES)))[2:] == ["vectors/mert", "train", "embed", "similar"]

    chain(store)
    card = read_card(store.path("models/logistic"))
    assert card["input"]["spaces"]["mert"]["id"] == read_space(store, "mert").space_id
    assert card["metrics"]["test_accuracy"] > 0.7
    assert outcomes(store, SONGS[0]) == {"train": "no_vector", "embed": "no_vector", "similar": "no_embedding"}
    assert_embedded(store)
    assert set(store.footer("embeddings")["lineage"]["made_of"]) == {"models/logistic", "features", "vectors/mert"}
    by_genre = Recommender(store.out).recommend([SONGS[1]], 3, method="genre")
    assert [GENRES[line.song.track_id] for line in by_genre] == [GENRES[SONGS[1]]] * 3
    assert "logistic" in write_report(store).read_text()

    judged = EvaluateSettings(models=("logistic",), folds=2)
    evaluate(store, judged, TrainSettings(space=("mert",)))
    found = evaluate(store, judged, TrainSettings(space=("mert", "features")))
    accuracy = found[found["genre"].isna() & (found["metric"] == "accuracy")].set_index(["model", "split"])["value"]
    assert accuracy["logistic on mert", "artist"] > 0.9
    assert ("logistic on features, mert", "artist") in accuracy.index

    before = store.state()
    chain(store)
    assert store.state() == before
    write(file, SONGS, matrix + 1)  # by the same model
    chain(store, keep_model=True)
    assert read_card(store.path("models/logistic"))["model_id"] == card["model_id"]
    assert len(store.read("embeddings")) == len(SONGS)
    assert_embedded(store)
    kept = store.versions("similar").published
    add_vectors(store, VectorsSettings(name="mert", file=str(file), model="mert", weights="2"))
    with pytest.raises(ModelError, match=r"model logistic was trained on other vectors than .*: mert was .* train it"):
        chain(store, keep_model=True)
    assert store.versions("similar").published == kept
