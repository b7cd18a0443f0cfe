"""Losses that are summed over the songs of a step (TensorFlow tensors in, a number out)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Tensor = Any

TEMPERATURE = 0.1
PROBABILITY_FLOOR = 1e-7


def supervised_contrastive(
    anchors: Tensor,
    own: tuple[Tensor, Tensor, Tensor],
    all_embeddings: Tensor,
    others: tuple[Tensor, Tensor, Tensor],
    weights: Tensor,
) -> Tensor:
    """Return the loss that pulls songs of one genre by different artists together (Khosla et al., NeurIPS 2020, eq. 2).

    Parameters
    ----------
    anchors : tensor
        Unit vectors [n, d] of this worker's songs.
    own : (tensor, tensor, tensor)
        Their labels, artists and numbers, [n] each.
    all_embeddings : tensor
        Unit vectors [m, d] of all songs of the step.
    others : (tensor, tensor, tensor)
        Their labels, artists and numbers, [m] each.
    weights : tensor
        How much each anchor counts, [n].

    Returns
    -------
    tensor
        Weighted sum over the anchors of the mean over their positives; an anchor without a positive adds nothing. Songs
        of the same artist and genre are neither drawn nearer nor pushed away.
    """
    import tensorflow as tf

    same_label, same_artist, same_song = (tf.equal(a[:, None], b[None]) for a, b in zip(own, others, strict=True))
    positive = tf.cast(same_label & ~same_artist, tf.float32)
    compared = tf.cast(~same_song & ~(same_artist & same_label), tf.float32)
    similarity = tf.matmul(anchors, all_embeddings, transpose_b=True) / TEMPERATURE
    similarity -= tf.stop_gradient(tf.reduce_max(similarity, axis=1, keepdims=True))
    log_total = tf.math.log(tf.reduce_sum(tf.exp(similarity) * compared, axis=1, keepdims=True) + 1e-12)
    n = tf.reduce_sum(positive, axis=1)
    means = tf.reduce_sum(positive * (similarity - log_total), axis=1) / tf.maximum(n, 1.0)
    return -tf.reduce_sum(weights * means)


def cross_entropy(output: str | None) -> Callable[..., Tensor]:
    """Return the loss of probabilities, summed over songs: the mean binary loss of the genres, or categorical.

    It takes targets, probabilities and, as ``sample_weight``, how much each song counts.
    """
    import keras

    losses = keras.losses
    chosen = losses.BinaryCrossentropy if output == "sigmoid" else losses.CategoricalCrossentropy
    return chosen(reduction="sum")


def losses_and_hits(
    probabilities: NDArray[Any], y: NDArray[np.int32], output: str | None, weights: ArrayLike = 1.0
) -> tuple[float, float]:
    """Return the sum of the losses of songs, as :func:`cross_entropy` counts them, and how many are named right.

    The losses are multiplied by the `weights` of the songs.
    """
    p = np.clip(probabilities.astype(np.float64), PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    target = np.eye(p.shape[1])[y]
    if output == "sigmoid":
        losses = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean(axis=1)
    else:
        losses = -np.log(p[np.arange(len(y)), y])
    return float((weights * losses).sum()), float((probabilities.argmax(axis=1) == y).sum())
