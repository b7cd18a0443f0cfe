"""The genre models, and methods of recommendation; Keras and scikit-learn are imported where they are needed."""

from pathlib import Path

from musicrec.models.classical import CLASSICAL_FILES, CLASSICAL_MODELS, CLUSTERING_FILES, CLUSTERINGS, Classical
from musicrec.models.dataset import TrainingSet, held_out, training_set
from musicrec.models.network import MODEL_FILES, Network, read_card
from musicrec.models.networks import NETWORKS, with_defaults

Model = Network | Classical

__all__ = [
    "CLASSICAL_MODELS",
    "CLUSTERINGS",
    "NETWORKS",
    "Classical",
    "Model",
    "Network",
    "TrainingSet",
    "held_out",
    "load",
    "model_files",
    "read_card",
    "training_set",
    "with_defaults",
]


def load(folder: Path) -> Model:
    """Load the model of a published folder, whatever its kind.

    Raises
    ------
    ModelError
        The folder does not hold a whole model.
    """
    return (Network if read_card(folder).get("model") in NETWORKS else Classical).load(folder)


def model_files(name: str) -> tuple[str, ...]:
    """Return the names of the files that a model of this name consists of."""
    if name in NETWORKS:
        return MODEL_FILES
    return CLUSTERING_FILES if name in CLUSTERINGS else CLASSICAL_FILES
