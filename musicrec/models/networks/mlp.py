"""The first reference system's multi-layer perceptron: 41 features → 256 → 128 → genres."""

from typing import TYPE_CHECKING, Any

from musicrec.settings import TrainSettings

if TYPE_CHECKING:
    import keras

ABOUT = "multi-layer perceptron of a feature set, of the first reference system"
READS = "features"
WINDOW_S = 0.0
WINDOWS = 1
EMBEDDING_LAYER = "dense_1"
PARAMETERS = 46_732, 12
DEFAULTS: dict[str, Any] = {"dropout": 0.2, "l1": 1e-5, "scaling": "whitened"}  # the publication: standardised


def build(shape: tuple[int, ...], n_classes: int, settings: TrainSettings) -> "keras.Model":
    """Return the untrained network; its layer ``dense_1`` (128 units) is the embedding.

    Parameters
    ----------
    shape : tuple of int
        [n_features].
    n_classes : int
        Genres out.
    settings : TrainSettings
        ``l1``, ``dropout`` and ``output``.
    """
    from keras import Input, Sequential
    from keras.layers import BatchNormalization, Dense, Dropout
    from keras.regularizers import L1

    from musicrec.models.networks.layers import genre

    def dense(units: int, name: str) -> list["keras.Layer"]:
        return [
            Dense(units, activation="relu", kernel_regularizer=L1(settings.l1), name=name),
            BatchNormalization(synchronized=True, name=f"{name}_norm"),  # the same statistics on every worker
            Dropout(settings.dropout, seed=settings.seed, name=f"{name}_dropout"),
        ]

    return Sequential(
        [
            Input(shape),
            *dense(256, "dense"),
            *dense(128, EMBEDDING_LAYER),
            genre(n_classes, settings),
        ],
        name="mlp",
    )
