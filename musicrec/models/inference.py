"""Forward passes of a network over songs, in bounded memory."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from musicrec.models.inputs import Reader, Songs, ahead, chunks

if TYPE_CHECKING:
    import keras

MOST_CELLS = 2_000_000  # in the input of a chunk; a forward pass holds some hundred times as many


def compiled(model: "keras.Model") -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return the forward pass of a network, compiled once; several outputs [n, d] stand side by side."""
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def forward(inputs: Any) -> Any:  # noqa: ANN401 - tensors
        return model(inputs, training=False)

    return lambda inputs: np.hstack([np.asarray(y, np.float32) for y in tf.nest.flatten(forward(tf.constant(inputs)))])


def at_once(reader: Reader) -> int:
    """Return how many examples are run through a network together."""
    return max(1, min(4096, MOST_CELLS // int(np.prod(reader.shape))))


def apply(
    forward: Callable[[NDArray[np.float32]], NDArray[np.float32]], reader: Reader, songs: Songs, width: int
) -> NDArray[np.float32]:
    """Return the output of a network for each song, float32 [n, width]: the mean over its examples."""
    means = [np.zeros((0, width), np.float32)]
    for examples, counts in ahead(chunks(reader, songs, at_once(reader))):
        ends = np.cumsum(counts)
        sums = np.add.reduceat(forward(examples), ends - counts, axis=0)
        means.append((sums / counts[:, None]).astype(np.float32))
    return np.concatenate(means)
