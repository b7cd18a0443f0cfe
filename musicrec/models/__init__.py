"""The genre models, and what is common to all (Keras and scikit-learn are imported where they are needed)."""

from pathlib import Path

from musicrec.models.classical import CLASSICAL, CLASSICAL_FILES, CLUSTERING_FILES, CLUSTERINGS, Classical
from musicrec.models.dataset import TrainingSet, held_out, training_set
from musicrec.models.network import MODEL_FILES, NETWORKS, Network, read_card

Model = Network | Classical

__all__ = [
    "CLASSICAL",
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
]


def load(folder: Path) -> Model:
    """Model of a published folder, whatever its kind.

    Raises
    ------
    ModelError
        The folder does not hold a whole model.
    """
    is_classical = read_card(folder).get("model") in CLASSICAL + CLUSTERINGS
    return (Classical if is_classical else Network).load(folder)


def model_files(name: str) -> tuple[str, ...]:
    """Files of the folder of a model with this name."""
    if name in CLUSTERINGS:
        return CLUSTERING_FILES
    return CLASSICAL_FILES if name in CLASSICAL else MODEL_FILES
