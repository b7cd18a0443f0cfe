"""The networks are those of their publications: counts, shapes, what comes out, and what the list of models says."""

from typing import get_args

import numpy as np
import pytest

from musicrec.models import CLASSICAL_MODELS, CLUSTERINGS, NETWORKS, with_defaults
from musicrec.models.about import about, describe
from musicrec.models.network import import_keras
from musicrec.settings import ModelName, TrainSettings

pytestmark = pytest.mark.engine

SHAPES = {
    "mlp": (41,),
    "cnn_image": (256, 256, 3),
    "cnn": (1366, 96),
    "crnn": (1366, 96),
    "resnet": (130, 128),  # 3 s of 22 050 Hz at a hop of 512
}
BAND_NORMALISATION = 4 * 96  # scale, shift, mean and variance of each band: not counted in the publication
PUBLISHED = {
    "mlp": (46_732, 12),
    "cnn_image": (1_983_244, 12),
    "cnn": (490_245 + BAND_NORMALISATION, 7),
    "crnn": (495_556 + BAND_NORMALISATION, 7),
}
EMBEDDING = {"mlp": 128, "cnn_image": 64, "cnn": 190, "crnn": 68, "resnet": 128}


def build(name, shape=None, n_classes=None, **settings):
    import_keras()
    full = with_defaults(TrainSettings(model=name, **settings))
    return NETWORKS[name].build(shape or SHAPES[name], n_classes or NETWORKS[name].PARAMETERS[1], full)


def embedder(name, network):
    return import_keras().Model(network.inputs[0], network.get_layer(NETWORKS[name].EMBEDDING_LAYER).output)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_reference_networks_have_the_parameters_of_their_publication(name):
    parameters, genres = PUBLISHED[name]
    assert build(name, n_classes=genres).count_params() == parameters
    assert (parameters, genres) == NETWORKS[name].PARAMETERS


def test_the_projects_own_network_has_a_million_parameters_at_most_and_as_many_as_it_says():
    parameters, genres = NETWORKS["resnet"].PARAMETERS
    assert build("resnet", n_classes=genres).count_params() == parameters <= 1_000_000


@pytest.mark.parametrize("name", NETWORKS)
def test_the_embedding_has_its_width_and_a_song_has_one_probability_a_genre(name):
    network = build(name)
    assert embedder(name, network).output_shape == (None, EMBEDDING[name])
    assert network.input_shape == (None, *SHAPES[name])
    assert network.output_shape == (None, NETWORKS[name].PARAMETERS[1])


def test_the_recurrent_network_pads_to_fifteen_whole_steps():
    network = build("crnn")
    padded = import_keras().Model(network.inputs[0], network.get_layer("whole_steps").output)
    assert padded.output_shape == (None, 1440, 96, 1)
    assert network.get_layer("steps").output.shape == (None, 15, 137)
    out = np.asarray(padded(np.full((1, 1366, 96), 1.0, np.float32)))[0, :, 0, 0]
    filled = np.flatnonzero(out)
    assert (filled[0], filled[-1], len(filled)) == (37, 37 + 1365, 1366)  # as much before as behind


def test_the_projects_own_embedding_is_a_unit_vector():
    network = build("resnet", (32, 16))
    x = np.random.default_rng(0).normal(size=(5, 32, 16)).astype(np.float32)
    vectors = np.asarray(embedder("resnet", network)(x))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


@pytest.mark.parametrize("frames", [1, 7, 95, 97])
@pytest.mark.parametrize("name", ["cnn", "crnn"])
def test_the_reference_networks_of_spectrograms_take_short_excerpts(name, frames):
    network = build(name, (frames, 96), 3)
    x = np.random.default_rng(0).normal(size=(2, frames, 96)).astype(np.float32)
    assert np.isfinite(np.asarray(network(x))).all()
    assert embedder(name, network).output_shape == (None, EMBEDDING[name])
    assert network.count_params() == build(name, n_classes=3).count_params()


def test_with_softmax_genres_share_one_and_with_sigmoid_each_stands_by_itself():
    x = np.random.default_rng(0).normal(size=(4, 41)).astype(np.float32)
    one_of_all, each = build("mlp", n_classes=5, output="softmax"), build("mlp", n_classes=5, output="sigmoid")
    each.set_weights(one_of_all.get_weights())
    shared, apart = np.asarray(one_of_all(x)), np.asarray(each(x))
    np.testing.assert_allclose(shared.sum(axis=1), 1, rtol=1e-5)
    odds = apart / (1 - apart)  # e to the logit, which softmax scales to sum to 1
    np.testing.assert_allclose(odds / odds.sum(axis=1, keepdims=True), shared, rtol=1e-3)
    kernel, bias = each.layers[-1].get_weights()
    each.layers[-1].set_weights([kernel, bias + np.array([0, 0, 9, 0, 0])])
    others = [0, 1, 3, 4]
    np.testing.assert_allclose(np.asarray(each(x))[:, others], apart[:, others])


@pytest.mark.parametrize(("name", "output"), [("cnn", "sigmoid"), ("crnn", "sigmoid"), ("mlp", "softmax")])
def test_an_output_that_is_left_open_is_the_publications(name, output):
    assert build(name, SHAPES[name], 3).layers[-1].activation.__name__ == output
    assert with_defaults(TrainSettings(model=name)).output == output


@pytest.mark.parametrize("name", get_args(ModelName))
def test_defaults_leave_nothing_open_and_what_is_asked_for_stands(name):
    full = with_defaults(TrainSettings(model=name))
    assert None not in full.model_dump().values()
    assert with_defaults(full) == full
    assert with_defaults(TrainSettings(model=name, epochs=3, dropout=0.25)).dropout == 0.25


def test_the_list_names_every_model_and_says_of_networks_what_they_are():
    listed = about()
    assert [model.name for model in listed] == list(get_args(ModelName))
    assert {model.name for model in listed} == {*NETWORKS, *CLASSICAL_MODELS, *CLUSTERINGS}
    for model in listed:
        architecture = NETWORKS.get(model.name)
        said = architecture.PARAMETERS if architecture else (None, None)
        assert (model.parameters, model.genres) == said
    reads = {model.name: model.reads for model in listed}
    assert [reads[name] for name in NETWORKS] == ["a feature set", "images", "mel96", "mel96", "mel"]
    text = describe(listed)
    assert all(model.name in text and model.what in text for model in listed)
    assert "1 983 244" in text
