"""The genre networks, and what is common to training and using any of them (Keras is imported where it is needed)."""

from musicrec.models.dataset import TrainingSet, training_set
from musicrec.models.network import MODEL_FILES, NETWORKS, Network, read_card

__all__ = ["MODEL_FILES", "NETWORKS", "Network", "TrainingSet", "read_card", "training_set"]
