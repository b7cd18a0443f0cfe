"""A trained network with all it needs to be used again: weights, classes, inputs, settings."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from musicrec.errors import ConfigError, ModelError
from musicrec.files.paths import AnyPath, read_bytes
from musicrec.models.inference import apply, compiled
from musicrec.models.inputs import Songs, check, reader
from musicrec.models.networks import NETWORKS

if TYPE_CHECKING:
    import keras

Array = NDArray[np.float32]

NETWORKS_REMEDY = "for networks: pip install 'musicrec[networks]'; other models need none, such as --model logistic"
MODEL_FILES = ("model.json", "network.keras", "history.parquet", "predictions.parquet")


def has_tensorflow() -> bool:
    """Return whether TensorFlow is installed, without importing it."""
    try:
        return find_spec("tensorflow") is not None
    except ImportError:
        return False


def require_tensorflow() -> None:
    """Raise ConfigError if TensorFlow is not installed, on which networks run and which reads their checkpoints."""
    if not has_tensorflow():
        raise ConfigError(f"this needs TensorFlow, which is not installed; {NETWORKS_REMEDY}")


def import_keras() -> Any:  # noqa: ANN401 - the module
    """Import Keras on TensorFlow, quietly.

    Raises
    ------
    ConfigError
        TensorFlow is not installed.
    """
    require_tensorflow()
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    return keras


def read_card(folder: AnyPath) -> dict[str, Any]:
    """Read ``model.json`` of a model folder, without loading the network.

    Raises
    ------
    ModelError
        The folder does not hold a whole model.
    """
    try:
        card: dict[str, Any] = json.loads(read_bytes(folder / "model.json"))
    except (OSError, ValueError) as e:
        raise ModelError(f"model folder {folder} cannot be read ({e}); train the model again") from e
    if "input" not in card:
        raise ModelError(f"model folder {folder} does not say what the model reads; train the model again")
    return card


@dataclass(frozen=True, eq=False)
class Network:
    """A network and the card that describes it.

    Attributes
    ----------
    network : keras.Model
        Examples in, genre probabilities out.
    card : dict
        What ``model.json`` holds: model, model_id, classes, input, settings, …
    """

    network: "keras.Model"
    card: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> "Network":
        """Load a network that :meth:`save` has written.

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

    def predict_proba(self, songs: Songs) -> Array:
        """Return genre probabilities, float32 [n, n_classes]; with a sigmoid output, of each genre by itself.

        Parameters
        ----------
        songs : sequence
            What the model reads of each song: see :mod:`musicrec.models.inputs`.

        Raises
        ------
        ModelError
            The songs do not have the shape that the model was trained on.
        """
        return self._apply(self._classify, songs, self.network.outputs[0].shape[-1])

    def embed(self, songs: Songs) -> Array:
        """Return embeddings, float32 [n, d]: the output of the layer before the classifier, the mean over excerpts."""
        return self._apply(self._represent, songs, self._embedding.shape[-1])

    def embed_and_predict(self, songs: Songs) -> tuple[Array, Array]:
        """Return what :meth:`embed` and :meth:`predict_proba` give, from one pass."""
        width = self._embedding.shape[-1]
        both = self._apply(self._do_both, songs, width + self.network.outputs[0].shape[-1])
        return both[:, :width], both[:, width:]

    def _apply(self, forward: Callable[[Array], Array], songs: Songs, width: int) -> Array:
        wanted = reader(self.card)
        check(songs, wanted)
        return apply(forward, wanted, songs, width)

    @property
    def _embedding(self) -> Any:  # noqa: ANN401 - a tensor
        return self.network.get_layer(NETWORKS[self.card["model"]].EMBEDDING_LAYER).output

    @cached_property  # compiled once for a network, not for each call: embed reads 60 songs at a time
    def _classify(self) -> Callable[[Array], Array]:
        return compiled(self.network)

    @cached_property
    def _represent(self) -> Callable[[Array], Array]:
        return compiled(import_keras().Model(self.network.inputs[0], self._embedding))

    @cached_property
    def _do_both(self) -> Callable[[Array], Array]:
        return compiled(import_keras().Model(self.network.inputs[0], [self._embedding, self.network.outputs[0]]))


def one_thread() -> None:
    """Let TensorFlow compute in one thread, in a process that has not used it yet."""
    import_keras()
    import tensorflow as tf

    if tf.config.threading.get_intra_op_parallelism_threads() != 1:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
