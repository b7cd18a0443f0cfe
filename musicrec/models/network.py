"""A trained network with all it needs to be used again: weights, classes, inputs, settings."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ModelError
from musicrec.models import mlp

if TYPE_CHECKING:
    import keras

Array = NDArray[np.float32]

NETWORKS = {"mlp": mlp}
MODEL_FILES = ("model.json", "network.keras", "history.parquet", "predictions.parquet")
BATCH_ROWS = 4096


def import_keras() -> Any:  # noqa: ANN401 - the module
    """Keras on TensorFlow, quietly."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    return keras


def standardise(X: Array, card: Mapping[str, Any]) -> Array:
    """Features [n, n_features] as the network with this card was trained on them."""
    mean, scale = (np.array(card["standardise"][k]) for k in ("mean", "scale"))
    standardised: Array = ((X - mean) / scale).astype(np.float32)
    return standardised


def read_card(folder: Path) -> dict[str, Any]:
    """What ``model.json`` of a model folder says, without loading the network.

    Raises
    ------
    ModelError
        The folder does not hold a whole model.
    """
    try:
        card: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ModelError(f"model folder {folder} cannot be read ({e}); train the model again") from e
    return card


class Network(NamedTuple):
    """A network and the card that describes it.

    Attributes
    ----------
    network : keras.Model
        Standardised features in, genre probabilities out.
    card : dict
        What ``model.json`` holds: model, model_id, classes, feature_set, feature_names, standardise, settings, …
    """

    network: "keras.Model"
    card: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> "Network":
        """Network that :meth:`save` has written.

        Raises
        ------
        ModelError
            The folder does not hold a whole model.
        """
        card = read_card(folder)
        try:
            return cls(import_keras().models.load_model(folder / "network.keras", compile=False), card)
        except (OSError, ValueError) as e:
            raise ModelError(f"model folder {folder} cannot be loaded ({e}); train the model again") from e

    def save(self, folder: Path) -> None:
        """Write ``network.keras`` and ``model.json``."""
        self.network.save(folder / "network.keras")
        (folder / "model.json").write_text(json.dumps(self.card, indent=2), encoding="utf-8")

    def predict_proba(self, X: Array) -> Array:
        """Genre probabilities, float32 [n, n_classes], of features [n, n_features]."""
        return self._apply(self.network, X)

    def embed(self, X: Array) -> Array:
        """Embeddings, float32 [n, d], of features [n, n_features]: the output of the layer before the classifier."""
        keras = import_keras()
        layer = self.network.get_layer(NETWORKS[self.card["model"]].EMBEDDING_LAYER)
        return self._apply(keras.Model(self.network.inputs, layer.output), X)

    def _apply(self, model: "keras.Model", X: Array) -> Array:
        standardised = standardise(X, self.card)
        blocks = [
            np.asarray(model(standardised[i : i + BATCH_ROWS], training=False), np.float32)
            for i in range(0, len(X), BATCH_ROWS)
        ]
        return np.concatenate(blocks)
