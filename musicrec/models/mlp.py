"""The reference system's multi-layer perceptron: 41 features → 256 → 128 → genres; 46 732 parameters at 12 genres."""

from typing import TYPE_CHECKING

from musicrec.settings import TrainSettings

if TYPE_CHECKING:
    import keras

EMBEDDING_LAYER = "dense_1"


def build(n_inputs: int, n_classes: int, settings: TrainSettings) -> "keras.Model":
    """Untrained network; its layer ``dense_1`` (128 units) is the embedding.

    Parameters
    ----------
    n_inputs, n_classes : int
        Features in, genres out.
    settings : TrainSettings
        ``l1`` and ``dropout``.
    """
    from keras import Input, Sequential
    from keras.layers import BatchNormalization, Dense, Dropout
    from keras.regularizers import L1

    def dense(units: int, name: str) -> list["keras.Layer"]:
        return [
            Dense(units, activation="relu", kernel_regularizer=L1(settings.l1), name=name),
            BatchNormalization(synchronized=True, name=f"{name}_norm"),  # the same statistics on every worker
            Dropout(settings.dropout, seed=settings.seed, name=f"{name}_dropout"),
        ]

    return Sequential(
        [
            Input((n_inputs,)),
            *dense(256, "dense"),
            *dense(128, EMBEDDING_LAYER),
            Dense(n_classes, activation="softmax", name="genre"),
        ],
        name="mlp",
    )
