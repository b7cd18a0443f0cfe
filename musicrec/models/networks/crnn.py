"""The second reference system's convolutional recurrent network (Choi et al., ICASSP 2017): 96 bands × 1 366 frames."""

from typing import TYPE_CHECKING, Any

from musicrec.settings import TrainSettings

if TYPE_CHECKING:
    import keras

ABOUT = "convolutional recurrent network of a mel-spectrogram, of the second reference system"
READS = "mel96"
WINDOW_S = 29.12
WINDOWS = 1
EMBEDDING_LAYER = "gru_1"
PARAMETERS = 495_556 + 4 * 96, 7  # the publication does not count the normalisation of the input
DEFAULTS: dict[str, Any] = {"output": "sigmoid", "dropout": 0.1, "batch_size": 16}

WIDTHS = 68, 137, 137, 137
POOLS = (2, 2), (3, 3), (4, 4), (4, 4)  # bands, frames
FRAMES_A_STEP = 96  # the pools turn so many frames into one step of the recurrent layers
UNITS = 68
LAST_DROPOUT = 3  # times the dropout of the blocks: .3 where theirs is .1


def build(shape: tuple[int, ...], n_classes: int, settings: TrainSettings) -> "keras.Model":
    """Return the untrained network; the last output of the second recurrent layer (68 numbers) is the embedding.

    Parameters
    ----------
    shape : tuple of int
        [n_frames, n_mels]; zeros on both sides fill up the last step, 1 366 → 1 440 frames.
    n_classes : int
        Genres out.
    settings : TrainSettings
        ``dropout`` and ``output``.
    """
    import keras
    from keras import layers

    from musicrec.models.networks.layers import convolutions, genre, spectrogram

    dropout, seed = settings.dropout or 0.0, settings.seed
    inputs, x = spectrogram(shape)
    missing = max(1, -(-shape[0] // FRAMES_A_STEP)) * FRAMES_A_STEP - shape[0]
    x = layers.ZeroPadding2D(((missing // 2, missing - missing // 2), (0, 0)), name="whole_steps")(x)
    x = convolutions(x, WIDTHS, POOLS, dropout, seed)
    x = layers.Reshape((-1, x.shape[2] * x.shape[3]), name="steps")(x)
    x = layers.GRU(UNITS, return_sequences=True, name="gru")(x)
    x = layers.GRU(UNITS, name=EMBEDDING_LAYER)(x)
    x = layers.Dropout(min(0.9, LAST_DROPOUT * dropout), seed=seed + len(WIDTHS), name="dropout")(x)
    return keras.Model(inputs, genre(n_classes, settings)(x), name="crnn")
