"""The second reference system's convolutional network (k2c2 of Choi et al., ICASSP 2017): 96 bands × 1 366 frames."""

from typing import TYPE_CHECKING, Any

from musicrec.settings import TrainSettings

if TYPE_CHECKING:
    import keras

ABOUT = "convolutional network of a mel-spectrogram, of the second reference system"
READS = "mel96"
WINDOW_S = 29.12
WINDOWS = 1
EMBEDDING_LAYER = "embedding"
PARAMETERS = 490_245 + 4 * 96, 7  # the publication does not count the normalisation of the input
DEFAULTS: dict[str, Any] = {"output": "sigmoid", "dropout": 0.1, "batch_size": 16}

WIDTHS = 47, 95, 95, 142, 190
POOLS = (2, 4), (2, 4), (2, 4), (3, 5), (4, 4)  # bands, frames


def build(shape: tuple[int, ...], n_classes: int, settings: TrainSettings) -> "keras.Model":
    """Return the untrained network; the output of the last block (190 numbers) is the embedding.

    Parameters
    ----------
    shape : tuple of int
        [n_frames, n_mels]; at least 96 bands. The pools bring 1 280 frames down to one cell.
    n_classes : int
        Genres out.
    settings : TrainSettings
        ``dropout`` and ``output``.
    """
    import keras

    from musicrec.models.networks.layers import convolutions, genre, spectrogram

    inputs, x = spectrogram(shape)
    x = convolutions(x, WIDTHS, POOLS, settings.dropout or 0.0, settings.seed)
    x = keras.layers.GlobalMaxPooling2D(name=EMBEDDING_LAYER)(x)  # there is one cell, unless the excerpt is longer
    return keras.Model(inputs, genre(n_classes, settings)(x), name="cnn")
