"""Layers that several networks share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras import layers

from musicrec.settings import TrainSettings

if TYPE_CHECKING:
    import keras

Tensor = Any

MOMENTUM = 0.9  # for batch statistics: at .99 they would lag behind in a training of few steps


def genre(n_classes: int, settings: TrainSettings) -> "keras.Layer":
    """Return the last layer: genre probabilities, in float32 whatever the precision of the layers before it."""
    return layers.Dense(n_classes, activation=settings.output, dtype="float32", name="genre")


def spectrogram(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return the input [n_frames, n_mels] of a spectrogram, and the same normalised by band: [n_frames, n_mels, 1]."""
    inputs = layers.Input(shape)
    return inputs, layers.Reshape((*shape, 1))(
        layers.BatchNormalization(momentum=MOMENTUM, synchronized=True, name="bands")(inputs)
    )


def convolutions(
    x: Tensor, widths: Sequence[int], pools: Sequence[tuple[int, int]], dropout: float, seed: int
) -> Tensor:
    """Apply blocks of convolution 3 × 3, batch norm, ELU, max-pooling and dropout; `pools` are (bands, frames).

    A pool is never longer than the frames that are left of a short excerpt.
    """
    for i, (width, (bands, frames)) in enumerate(zip(widths, pools, strict=True)):
        x = layers.Conv2D(width, 3, padding="same", name=f"conv_{i}")(x)
        x = layers.BatchNormalization(momentum=MOMENTUM, synchronized=True, name=f"norm_{i}")(x)
        x = layers.ELU(name=f"elu_{i}")(x)
        x = layers.MaxPooling2D((min(frames, x.shape[1]), bands), name=f"pool_{i}")(x)
        x = layers.Dropout(dropout, seed=seed + i, name=f"dropout_{i}")(x)
    return x
