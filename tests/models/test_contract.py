"""One contract for every model: trained on songs that anybody can tell apart, it learns, answers, is saved and refuses.

The songs are drawn by a seeded generator: rows of features, spectrograms of unequal lengths, or pictures, in which each
genre is strong in a place of its own. What is a kind's alone stands in the tests of that kind.
"""

from typing import get_args

import numpy as np
import pytest

from musicrec.errors import ModelError
from musicrec.models import (
    CLASSICAL_MODELS,
    CLUSTERINGS,
    NETWORKS,
    TrainingSet,
    load,
    model_files,
    read_card,
    with_defaults,
)
from musicrec.models.about import ABOUT_ESTIMATORS
from musicrec.models.pipelines import _MODELS
from musicrec.models.training import train_model
from musicrec.models.tuning import GRIDS
from musicrec.settings import ModelName, TrainSettings

N, CLASSES = 36, 3
QUICK = {"epochs": 4, "batch_size": 6, "learning_rate": 0.01, "dropout": 0.0}
SHAPES = {"features": [8], "images": [24, 24, 3], "mel96": [16, 96], "mel": [16, 12]}
EMBEDDING = {"mlp": 128, "cnn_image": 64, "cnn": 190, "crnn": 68, "resnet": 128}
MODELS = get_args(ModelName)


def reads(name):
    return NETWORKS[name].READS if name in NETWORKS else "features"


def marked(names, slow=()):
    """Each name as a parameter; a test of a network starts TensorFlow, and the slow ones prove what others do too."""
    marks = {name: [pytest.mark.engine] for name in NETWORKS} | {name: [pytest.mark.slow] for name in slow}
    return [pytest.param(name, marks=marks.get(name, ())) for name in names]


def songs(table, seed=0) -> TrainingSet:
    draw = np.random.default_rng(seed)
    y = (np.arange(N) % CLASSES).astype(np.int32)
    shape = SHAPES[table]
    if table == "features":
        X = (draw.normal(size=(N, 8)) + 9 * np.eye(CLASSES, 8)[y]).astype(np.float32)
    elif table == "images":
        X = [draw.integers(0, 80, shape).astype(np.uint8) for _ in y]
        for picture, label in zip(X, y, strict=True):
            picture[:, 8 * label : 8 * label + 8] += 150
    else:
        X = [draw.uniform(-80, -50, (int(draw.integers(10, 40)), shape[1])).astype(np.float16) for _ in y]
        for spectrogram, label in zip(X, y, strict=True):
            third = shape[1] // CLASSES
            spectrogram[:, label * third : (label + 1) * third] += 50
    ids = [f"s{i:02d}" for i in range(N)]
    return TrainingSet(ids, X, y, list("abc"), [f"artist {i // 6}" for i in range(N)], ids, {})


def train(name, of, learn=None, **settings):
    full = with_defaults(TrainSettings(model=name, **(QUICK | settings)))
    table = reads(name)
    card = {
        "model": name,
        "model_id": "x",
        "classes": of.classes,
        "input": {"reads": table, "shape": SHAPES[table]} | ({"windows": 2} if table.startswith("mel") else {}),
        "settings": full.model_dump(mode="json"),
    }
    everyone = np.ones(N, bool)
    return train_model(of, everyone if learn is None else learn, everyone, full, card)


@pytest.fixture(scope="module", params=marked(MODELS))
def trained(request):
    return train(request.param, songs(reads(request.param)))


@pytest.fixture
def name(trained):
    return trained.card["model"]


@pytest.fixture
def of(name):
    return songs(reads(name))


def test_it_learns_what_anybody_can_tell_apart_and_gives_probabilities(trained, name, of):
    probabilities = trained.predict_proba(of.X)
    assert probabilities.shape == (N, CLASSES)
    assert probabilities.dtype == np.float32
    assert np.isfinite(probabilities).all()
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1 + 1e-6
    if trained.card["settings"]["output"] == "softmax":
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    new = songs(reads(name), seed=1)
    for some in (of, new):
        hits = trained.predict_proba(some.X).argmax(axis=1) == some.y
        assert hits.mean() > (0.6 if name in CLUSTERINGS else 0.85)  # chance is 1/3


def test_its_embedding_is_a_finite_vector_of_each_song(trained, name, of):
    vectors = trained.embed(of.X)
    assert vectors.ndim == 2
    assert len(vectors) == N
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert vectors.shape[1] == EMBEDDING.get(name, vectors.shape[1])
    assert vectors.std(axis=0).max() > 0


def test_saved_and_loaded_it_gives_the_same_answers_and_its_card_says_what_it_is(trained, name, of, tmp_path):
    trained.save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} <= set(model_files(name))
    again = load(tmp_path)
    np.testing.assert_allclose(again.predict_proba(of.X), trained.predict_proba(of.X), atol=1e-5)
    np.testing.assert_allclose(again.embed(of.X), trained.embed(of.X), rtol=1e-4, atol=1e-5)
    card = read_card(tmp_path)
    assert card == again.card == trained.card
    assert card["classes"] == of.classes
    assert TrainSettings(**card["settings"]) == with_defaults(TrainSettings(model=name, **QUICK))
    assert (card["input"]["reads"], card["input"]["shape"]) == (reads(name), SHAPES[reads(name)])
    assert card["parameters"] > 0
    if name in NETWORKS:
        assert card["parameters"] == trained.network.count_params()
        assert ("scaling" in card["input"]) == (name == "mlp")


def test_a_song_gets_the_same_answer_alone_and_among_others(trained, of):
    few = list(of.X[:3])
    together = trained.predict_proba(of.X)[:3]
    alone = np.concatenate([trained.predict_proba([song]) for song in few])
    np.testing.assert_allclose(alone, together, rtol=1e-3, atol=1e-4)


def test_songs_of_another_shape_are_refused_in_one_line(trained, name):
    shape = list(SHAPES[reads(name)])
    shape[-2 if reads(name) == "images" else -1] += 1
    strange = np.zeros((2, *shape), np.float32)
    for answer in (trained.predict_proba, trained.embed):
        with pytest.raises(ModelError) as refusal:
            answer(strange)
        assert "\n" not in str(refusal.value)
        assert str(tuple(shape)) in str(refusal.value)


def test_no_songs_get_no_answers(trained, of):
    assert trained.predict_proba(of.X[:0]).shape == (0, CLASSES)


@pytest.mark.thorough
def test_training_again_gives_the_same_model(trained, name, of):
    again = train(name, of)
    np.testing.assert_allclose(again.predict_proba(of.X), trained.predict_proba(of.X), atol=1e-4)


@pytest.mark.parametrize(
    ("file", "table"),
    [("models/pipelines.py: _MODELS", _MODELS), ("models/about.py: ABOUT_ESTIMATORS", ABOUT_ESTIMATORS)],
    ids=["pipelines", "about"],
)
def test_a_model_that_is_no_network_stands_in_every_table_of_the_guide(file, table):
    assert table.keys() == {*CLASSICAL_MODELS, *CLUSTERINGS}, file
    assert GRIDS.keys() == {*CLASSICAL_MODELS}, "models/tuning.py: GRIDS"


@pytest.mark.thorough
@pytest.mark.parametrize("name", marked(name for name in MODELS if reads(name) == "features"))
def test_a_genre_that_is_not_learned_from_keeps_its_column(name):
    of = songs("features")
    probabilities = train(name, of, of.y != 1).predict_proba(of.X)
    assert probabilities.shape == (N, CLASSES)
    assert (probabilities[of.y != 1].argmax(axis=1) != 1).all()
    assert np.isfinite(probabilities).all()


@pytest.mark.thorough
@pytest.mark.parametrize("name", marked(MODELS, slow=("cnn", "cnn_image", "crnn", "resnet")))
def test_it_expects_a_rare_genre_as_often_as_it_weighs(name):
    """Nothing tells the genres, so a model can only learn how frequent they are: 1 in 4, or as good as 1 in 2."""
    of, new = (songs(reads(name), seed) for seed in (0, 1))
    of = of._replace(y=(np.arange(N) % 4 == 0).astype(np.int32))
    rare, balanced = (train(name, of, balance=b).predict_proba(new.X)[:, 1].mean() for b in ("none", "genre+artist"))
    assert balanced > rare + 0.05


def test_one_pass_gives_both_its_embedding_and_its_probabilities(trained, of):
    vectors, probabilities = trained.embed_and_predict(of.X)
    np.testing.assert_array_equal(vectors, trained.embed(of.X))
    np.testing.assert_allclose(probabilities, trained.predict_proba(of.X), rtol=1e-5, atol=1e-6)
