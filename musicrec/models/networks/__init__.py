"""The networks, each in a file: what it is, what it reads, how it is built. Keras is imported when one is built."""

from typing import TYPE_CHECKING, Any, Protocol

from musicrec.models.networks import cnn, cnn_image, crnn, mlp, resnet
from musicrec.settings import TrainSettings

if TYPE_CHECKING:
    import keras


class Architecture(Protocol):
    """What the file of a network defines."""

    ABOUT: str  # one line
    READS: str  # table that its input comes from
    WINDOW_S: float  # length of the excerpt it reads, in seconds; 0 where it reads no spectrogram
    WINDOWS: int  # at least so many excerpts of a longer song are tested, and their mean counts
    EMBEDDING_LAYER: str  # layer whose output is the embedding
    PARAMETERS: tuple[int, int]  # how many, and for how many genres: those of the publication
    DEFAULTS: dict[str, Any]  # its own settings of training

    def build(self, shape: tuple[int, ...], n_classes: int, settings: TrainSettings) -> "keras.Model":
        """Return the untrained network: one input of `shape` → genre probabilities [n_classes]."""
        ...


NETWORKS: dict[str, Architecture] = {
    "mlp": mlp,
    "cnn_image": cnn_image,
    "cnn": cnn,
    "crnn": crnn,
    "resnet": resnet,
}

COMMON: dict[str, Any] = {  # where neither the settings nor the network's own file say otherwise
    "epochs": 100,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "output": "softmax",
    "window_s": 0.0,
    "scaling": "standardised",
    "dropout": 0.0,
    "l1": 0.0,
    "weight_decay": 0.0,
    "cosine": False,
    "contrastive": 0.0,
    "mixup": 0.0,
    "cutmix": 0.0,
    "spec_augment": False,
    "ema": 0.0,
}


def with_defaults(settings: TrainSettings) -> TrainSettings:
    """Return the settings with nothing left open. A network of spectrograms or images reads no spaces."""
    own = dict(NETWORKS[settings.model].DEFAULTS) if settings.model in NETWORKS else {}
    if settings.model in NETWORKS:
        own["window_s"] = NETWORKS[settings.model].WINDOW_S
    filled = {name: value for name, value in (COMMON | own).items() if getattr(settings, name) is None}
    if settings.model in NETWORKS and NETWORKS[settings.model].READS != "features":
        filled["space"] = ()
    return settings.model_copy(update=filled)
