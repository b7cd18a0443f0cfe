"""Models of spaces read the vectors of each space side by side, of songs that all have; never those of another."""

import numpy as np
import pyarrow as pa
import pytest

from musicrec import features, schemas
from musicrec.errors import ConfigError, ModelError, SchemaError
from musicrec.files.parquet import read_parquet
from musicrec.models import CLASSICAL_MODELS, with_defaults
from musicrec.models.training import train_model
from musicrec.settings import (
    CatalogSettings,
    EmbedSettings,
    ExtractSettings,
    PretrainedSettings,
    TrainSettings,
    TuneSettings,
)
from musicrec.stages import embed
from musicrec.stages.chain import chain_settings, stages
from musicrec.stages.model_inputs import (
    fingerprints,
    input_of,
    lacking,
    load_training_set,
    require_same_input,
    tables_read,
)
from musicrec.stages.space_inputs import read_vectors
from musicrec.stages.train import cross_validate
from musicrec.store.outcomes import outcomes_table
from musicrec.store.spaces import PublishedSpace, SpaceCard, publish_space, read_space
from musicrec.store.store import Store

IDS = [f"s{i:02d}" for i in range(24)]
TAGS = ["b", "a"]
NAMES = features.feature_names("iiitd41")
RNG = np.random.default_rng(0)
MUSICNN, SCORES = RNG.normal(size=(24, 3)).astype(np.float32), RNG.random((24, 2)).astype(np.float32)
FEATURES = RNG.normal(size=(24, len(NAMES))).astype(np.float32)
ALL = TrainSettings(model="logistic", space=("tags/musicnn", "features", "musicnn"))


def publish(store, name, table, settings, fingerprint="x", **lineage):
    with store.new_version(name, settings, fingerprint, **lineage) as version:
        version.write_part(table)
        store.publish(version)


def space(weights="3f9a", name="musicnn"):
    card = SpaceCard(model=name, weights=weights)
    return PublishedSpace(name, card.space_id(3, ""), 3, card)


def add(store, ids, matrix, **known):
    left_out = outcomes_table([])
    publish_space(store, PretrainedSettings(model="musicnn"), space(**known), pa.array(ids), matrix, left_out=left_out)


@pytest.fixture
def store(tmp_path):
    """An OUT with drawn tables: features lack the first song, vectors the second, and tags the third."""
    store = Store(tmp_path / "out")
    store.create()
    empty = dict.fromkeys(schemas.TRACKS.names)
    tracks = [empty | {"track_id": t, "genre": "ab"[i % 2], "artist_ids": [f"{i % 8}"]} for i, t in enumerate(IDS)]
    publish(store, "tracks", pa.Table.from_pylist(tracks, schemas.TRACKS), CatalogSettings(source="/music"))
    rows = pa.table([IDS[:0:-1], *FEATURES[:0:-1].T], schema=schemas.features_schema(NAMES))  # in another order
    publish(store, "features", rows, ExtractSettings(feature_sets=("iiitd41",)))
    others = [i for i in range(24) if i != 1]
    add(store, [IDS[i] for i in others], MUSICNN[others])
    others = [i for i in range(24) if i != 2]
    rows = pa.table([[IDS[i] for i in others], *SCORES[others].T], schema=schemas.tags_schema(TAGS))
    publish(store, "tags/musicnn", rows, PretrainedSettings(model="musicnn"), space=space().lineage)
    return store


def test_vectors_stand_side_by_side_in_the_order_of_the_spaces(store):
    found = load_training_set(store, ALL)
    assert found.track_ids == IDS[3:]
    assert np.array_equal(found.X, np.hstack([FEATURES, MUSICNN, SCORES])[3:])
    assert [found.classes[label] for label in found.y] == [("ab")[i % 2] for i in range(3, 24)]
    only = load_training_set(store, TrainSettings(model="logistic", space=("musicnn",)))
    assert np.array_equal(only.X, np.delete(MUSICNN, 1, axis=0))


def test_the_card_names_each_space_and_what_is_read_by_it_is_the_same(store):
    card = input_of(store, ALL)
    assert {name: about["dimension"] for name, about in card["spaces"].items()} == {
        "features": len(NAMES),
        "musicnn": 3,
        "tags/musicnn": 2,
    }
    assert [card["spaces"][name]["id"] for name in ("musicnn", "tags/musicnn")] == [
        read_space(store, name).space_id for name in ("musicnn", "tags/musicnn")
    ]
    assert (card["shape"], card["feature_names"]) == ([len(NAMES) + 5], NAMES)
    assert tables_read(card) == ["features", "vectors/musicnn", "tags/musicnn"]
    ids, vectors = read_vectors(store, card, IDS[::-1])
    assert ids == IDS[3:]
    assert np.array_equal(vectors, load_training_set(store, ALL).X)
    assert read_vectors(store, card, IDS[:2])[1].shape == (0, len(NAMES) + 5)
    assert read_vectors(store, card, [])[0] == []


def test_songs_without_a_vector_have_a_reason(store):
    assert {
        song: (reason.value, detail) for song, (reason, detail) in lacking(store, input_of(store, ALL)).items()
    } == {
        "s00": ("no_features", "it has no vector in the space features"),
        "s01": ("no_vector", "it has no vector in the space musicnn"),
        "s02": ("no_vector", "it has no vector in the space tags/musicnn"),
    }


def test_a_model_refuses_vectors_of_another_space(store):
    card = {"model": "logistic", "input": input_of(store, ALL)}
    require_same_input(store, card)
    add(store, IDS, MUSICNN, weights="other")
    with pytest.raises(
        ModelError, match=r"^model logistic was trained on other vectors .*: musicnn was \w{16}, now \w"
    ):
        require_same_input(store, card)
    features_now = store.read("features").cast(schemas.features_schema(NAMES))
    publish(store, "features", features_now, ExtractSettings(sample_rate=16_000), "y")
    with pytest.raises(ModelError, match=r"features was \w{16}, now .*; musicnn was"):
        require_same_input(store, card)


def test_vectors_that_do_not_fit_their_footer_are_refused(store):
    table = pa.table([IDS[:2], [[1.0, 2.0], [3.0, 4.0]]], schema=schemas.VECTORS)
    publish(store, "vectors/musicnn", table, PretrainedSettings(model="musicnn"), "y", space=space().lineage)
    with pytest.raises(SchemaError, match="vectors/musicnn holds vectors of other lengths than 3"):
        load_training_set(store, TrainSettings(model="logistic", space=("musicnn",)))


def test_a_space_that_is_missing_is_said(store):
    with pytest.raises(ConfigError, match="has no space 'clap'"):
        load_training_set(store, TrainSettings(model="logistic", space=("clap",)))
    with pytest.raises(ConfigError, match="has the feature sets iiitd41; model svm reads gtzan57"):
        load_training_set(store, TrainSettings(model="svm", feature_set="gtzan57", space=("features", "musicnn")))


@pytest.mark.parametrize("given", [("embeddings",), ("a", "a"), ("a b",), ("musicnn=0.5",)])
def test_what_is_no_space_to_read_is_refused(given):
    with pytest.raises(ValueError, match="expected each space once, by its name, and not embeddings"):
        TrainSettings(space=given)


def test_without_spaces_settings_have_the_fingerprint_of_before_there_were_any():
    assert TrainSettings(space=("features",)) == TrainSettings()
    assert TrainSettings(model="logistic").fingerprint("x") == "de72025cdaf212a5"
    assert TuneSettings(model="logistic").fingerprint("x") == "33c8044d47dca00d"
    assert ALL.fingerprint("x") != TrainSettings(model="logistic").fingerprint("x")
    assert with_defaults(TrainSettings(model="resnet", space=("musicnn",))).space == ()
    assert with_defaults(TrainSettings(model="mlp", space=("musicnn",))).space == ("musicnn",)


def test_a_trained_model_answers_for_its_spaces_and_names_them_in_an_evaluation(store):
    songs = load_training_set(store, ALL)
    learn = np.arange(len(songs.track_ids)) % 4 > 0
    for model in (*CLASSICAL_MODELS, "kmeans"):
        settings = with_defaults(ALL.model_copy(update={"model": model}))
        card = {"model": model, "classes": songs.classes, "input": input_of(store, settings)}
        trained = train_model(songs, learn, ~learn, settings, card)
        assert trained.predict_proba(songs.X).sum(axis=1) == pytest.approx(np.ones(len(songs.X)), abs=1e-5)
        with pytest.raises(ModelError, match="shape"):
            trained.predict_proba(FEATURES)
    assert cross_validate.name_of(settings) == "kmeans on features, musicnn, tags/musicnn"
    assert cross_validate.name_of(TrainSettings(model="svm")) == "svm"


# --- the stages that read them --------------------------------------------------------------------------------------


def test_what_a_song_was_embedded_from_are_its_rows_in_every_space(store):
    card = {"model": "logistic", "model_id": "m", "classes": ["a", "b"], "input": input_of(store, ALL)}
    made_of = dict(zip(tables_read(card["input"]), fingerprints(store, ALL), strict=True))
    run = embed._Run(store, EmbedSettings(model="logistic"), "name", card, made_of, None, False)
    before = dict(embed._places(run))
    assert [song for song, _ in before] == IDS[3:]
    assert set(before.values()) == {0}
    add(store, IDS, MUSICNN + 1)
    after = dict(embed._places(run._replace(made_of=made_of)))
    assert [song for song, _ in after] == [IDS[1], *IDS[3:]]
    assert not before.keys() & after.keys()


def test_the_chain_brings_the_spaces_of_the_model_up_to_date_before_it_trains(store):
    values = {"catalog": {"source": "/music"}, "train": {"model": "logistic"}, "embed": {"model": "logistic"}}
    plain = chain_settings(store, values)
    assert list(stages(store, plain)) == ["catalog", "extract", "train", "embed", "similar"]
    values["train"]["space"] = ["features", "tags/musicnn", "musicnn"]
    order = ["catalog", "extract", "vectors/musicnn", "train", "embed", "similar"]
    assert list(stages(store, chain_settings(store, values))) == order
    values["similar"] = {"space": ["musicnn"]}
    assert list(stages(store, chain_settings(store, values))) == order
    values["train"]["model"] = values["embed"]["model"] = "resnet"
    assert list(stages(store, chain_settings(store, values)))[2:] == ["train", "embed", "vectors/musicnn", "similar"]


def test_the_songs_of_a_shard_get_the_vectors_of_the_model(store, tmp_path, monkeypatch):
    monkeypatch.setattr(embed.prometheus, "count_tracks", lambda *what, **how: None)  # which belongs to a cluster
    songs = load_training_set(store, ALL)
    card = {"model": "logistic", "model_id": "m", "classes": songs.classes, "input": input_of(store, ALL)}
    learn = np.ones(len(songs.track_ids), bool)
    trained = train_model(songs, learn, learn, with_defaults(ALL), card)
    (tmp_path / "model").mkdir()
    trained.save(tmp_path / "model")
    embed._embed_shard.__wrapped__(store.out, "shard", tmp_path / "model", 0, IDS)
    rows = read_parquet(store.work.folder("embed") / "shard.parquet").to_pydict()
    assert rows["track_id"] == IDS[3:]
    assert rows["model_id"] == ["m"] * len(songs.X)
    np.testing.assert_allclose(rows["embedding"], trained.embed(songs.X), rtol=1e-6)
    np.testing.assert_allclose(rows["probabilities"], trained.predict_proba(songs.X), rtol=1e-6)
