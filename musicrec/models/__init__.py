"""The genre networks, and what is common to training and using any of them (Keras is imported where it is needed)."""

from musicrec.models.dataset import TrainingSet, held_out, training_set
from musicrec.models.network import MODEL_FILES, NETWORKS, Network, read_card

__all__ = ["MODEL_FILES", "NETWORKS", "Network", "TrainingSet", "held_out", "read_card", "training_set"]
