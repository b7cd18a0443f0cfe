"""The project's own network: a small residual network for short excerpts, whose mean counts."""

from typing import TYPE_CHECKING, Any

from musicrec.settings import TrainSettings

if TYPE_CHECKING:
    import keras

ABOUT = "residual network of excerpts of a mel-spectrogram, this project's own"
READS = "mel"
WINDOW_S = 3.0
WINDOWS = 10
EMBEDDING_LAYER = "embedding"
PARAMETERS = 767_530, 10
DEFAULTS: dict[str, Any] = {
    "epochs": 60,
    "batch_size": 32,
    "learning_rate": 2e-3,
    "weight_decay": 1e-2,
    "cosine": True,
    "dropout": 0.2,
    "contrastive": 0.5,
    "spec_augment": True,
}

WIDTHS = 32, 64, 128, 160
EMBEDDING_UNITS = 128
SHARPNESS = 10.0  # logits of unit vectors lie within ± this times the norm of a class's weights


def build(shape: tuple[int, ...], n_classes: int, settings: TrainSettings) -> "keras.Model":
    """Return the untrained network; the embedding is a unit vector of 128 numbers.

    Parameters
    ----------
    shape : tuple of int
        [n_frames, n_mels].
    n_classes : int
        Genres out.
    settings : TrainSettings
        ``dropout`` and ``output``.
    """
    import keras
    from keras import layers

    from musicrec.models.networks.layers import MOMENTUM, Tensor, genre, spectrogram

    def convolution(x: Tensor, width: int, name: str, strides: int = 1, size: int = 3) -> Tensor:
        x = layers.Conv2D(width, size, strides, padding="same", use_bias=False, name=name)(x)
        return layers.BatchNormalization(momentum=MOMENTUM, synchronized=True, name=f"{name}_norm")(x)

    def block(x: Tensor, width: int, name: str, strides: int) -> Tensor:
        """Apply two convolutions beside a shortcut (He et al., CVPR 2016)."""
        y = layers.Activation("relu")(convolution(x, width, f"{name}_a", strides))
        y = convolution(y, width, f"{name}_b")
        if strides > 1:
            x = convolution(layers.AveragePooling2D(strides, padding="same")(x), width, f"{name}_short", size=1)
        return layers.Activation("relu", name=name)(layers.Add()([x, y]))

    inputs, x = spectrogram(shape)
    x = layers.Activation("relu")(convolution(x, WIDTHS[0], "stem", strides=2))
    for i, width in enumerate(WIDTHS):
        x = block(x, width, f"block_{i}", strides=1 if i == 0 else 2)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dropout(settings.dropout, seed=settings.seed, name="dropout")(x)
    x = layers.Dense(EMBEDDING_UNITS, use_bias=False, dtype="float32", name="projection")(x)
    x = layers.UnitNormalization(dtype="float32", name=EMBEDDING_LAYER)(x)
    return keras.Model(inputs, genre(n_classes, settings)(layers.Rescaling(SHARPNESS)(x)), name="resnet")
