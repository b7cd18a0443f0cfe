"""Without TensorFlow, a new OUT is trained with a model that needs none, and networks say what is missing."""

import pytest

from musicrec.errors import ConfigError
from musicrec.models import network
from musicrec.models.pretrained.musicnn_wheel import read_checkpoint
from musicrec.stages.chain import chain_settings
from musicrec.stages.default_model import tell_default_model

GIVEN = {"catalog": {"source": "/music"}}


@pytest.fixture
def no_tensorflow(monkeypatch):
    monkeypatch.setattr(network, "find_spec", lambda name: None)


def models(settings):
    return settings.train.model, settings.embed.model


def test_the_default_model_is_one_that_can_be_trained(store, no_tensorflow, capsys):
    settings = chain_settings(store, GIVEN)
    assert models(settings) == ("logistic", "logistic")
    tell_default_model(store, settings.train)
    assert "TensorFlow is not installed, so the model is logistic; for networks: pip install" in capsys.readouterr().err


def test_where_tensorflow_is_nothing_changes(store, capsys):
    settings = chain_settings(store, GIVEN)
    assert models(settings) == ("mlp", "mlp")
    tell_default_model(store, settings.train)
    assert not capsys.readouterr().err


def test_a_model_that_is_asked_for_stays(store, no_tensorflow):
    given = GIVEN | {"train": {"model": "mlp"}, "embed": {"model": "mlp"}}
    assert models(chain_settings(store, given)) == ("mlp", "mlp")


@pytest.mark.parametrize("use", [network.import_keras, lambda: read_checkpoint("x")], ids=["a network", "MusiCNN"])
def test_what_needs_tensorflow_says_so_and_what_to_do(no_tensorflow, use):
    with pytest.raises(ConfigError, match=r"TensorFlow, which is not installed; .*pip install 'musicrec\[networks\]'"):
        use()
