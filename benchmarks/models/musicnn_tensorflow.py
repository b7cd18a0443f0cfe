"""MusiCNN by TensorFlow's own operations, in the order in which its authors give them, to compare others with."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Tensor = Any  # TensorFlow comes without types
Network = Callable[[Array], tuple[Array, Array]]  # [n, 187, 96] to embedding [n, 200] and tags [n, 50]


def network(weights: Mapping[str, Array]) -> Network:
    """Return the network of a checkpoint's variables, compiled once."""
    import tensorflow as tf

    def name_of(kind: str, i: int) -> str:
        return f"{kind}_{i}" if i else kind

    def norm(i: int, y: Tensor) -> Tensor:
        name, parts = name_of("batch_normalization", i), ("moving_mean", "moving_variance", "beta", "gamma")
        return tf.nn.batch_normalization(y, *(weights[f"{name}/{part}"] for part in parts), 1e-3)

    def conv(i: int, y: Tensor, padding: str) -> Tensor:
        name = name_of("conv2d", i)
        return norm(i + 1, tf.nn.relu(tf.nn.conv2d(y, weights[f"{name}/kernel"], 1, padding) + weights[f"{name}/bias"]))

    def padded(y: Tensor) -> Tensor:
        return tf.pad(y, [[0, 0], [3, 3], [0, 0], [0, 0]])

    @tf.function(input_signature=[tf.TensorSpec([None, 187, 96])])
    def run(x: Tensor) -> Tensor:
        y = norm(0, x[..., None])
        front = [conv(i, padded(y), "VALID") if i < 2 else conv(i, y, "SAME") for i in range(5)]
        layers = [tf.concat([tf.reduce_max(one, 2) for one in front], 2)]
        for i in (5, 6, 7):
            y = conv(i, padded(layers[-1][..., None]), "VALID")[:, :, 0]
            layers.append(y + layers[-1] if i > 5 else y)
        y = tf.concat(layers, 2)
        pooled = tf.stack([tf.reduce_max(y, 1), tf.reduce_mean(y, 1)], 2)
        y = norm(9, tf.reshape(pooled, [tf.shape(x)[0], -1])) @ weights["dense/kernel"] + weights["dense/bias"]
        y = norm(10, tf.nn.relu(y))
        return y, tf.sigmoid(y @ weights["dense_1/kernel"] + weights["dense_1/bias"])

    return lambda x: tuple(output.numpy() for output in run(x))
