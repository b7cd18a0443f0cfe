"""The first reference system's convolutional network, which reads a picture of the spectrogram: 256 × 256 × 3."""

from typing import TYPE_CHECKING, Any

from musicrec.settings import TrainSettings

if TYPE_CHECKING:
    import keras

ABOUT = "convolutional network of a picture of the spectrogram, of the first reference system"
READS = "images"
WINDOW_S = 0.0
WINDOWS = 1
EMBEDDING_LAYER = "dense"
PARAMETERS = 1_983_244, 12
DEFAULTS: dict[str, Any] = {"dropout": 0.5}


def build(shape: tuple[int, ...], n_classes: int, settings: TrainSettings) -> "keras.Model":
    """Return the untrained network; its dense layer (64 units) is the embedding.

    Parameters
    ----------
    shape : tuple of int
        [height, width, 3], values in [0, 1].
    n_classes : int
        Genres out.
    settings : TrainSettings
        ``dropout`` and ``output``.
    """
    import keras
    from keras import layers

    from musicrec.models.networks.layers import genre

    return keras.Sequential(
        [
            layers.Input(shape),
            layers.Conv2D(32, 3, activation="relu", name="conv_0"),
            layers.MaxPooling2D(2, name="pool_0"),
            layers.Conv2D(32, 3, activation="relu", name="conv_1"),
            layers.MaxPooling2D(2, padding="same", name="pool_1"),
            layers.Conv2D(32, 2, activation="relu", name="conv_2"),
            layers.MaxPooling2D(2, name="pool_2"),
            layers.Flatten(name="flatten"),
            layers.Dense(64, activation="relu", name=EMBEDDING_LAYER),
            layers.Dropout(settings.dropout, seed=settings.seed, name="dropout"),
            genre(n_classes, settings),
        ],
        name="cnn_image",
    )
