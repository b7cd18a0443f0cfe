"""MusiCNN in NumPy, step by step as its authors describe it: what a converted file is compared with."""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from musicrec.models.pretrained.graph import Weights, normalisation
from musicrec.models.pretrained.musicnn import FRONT, MIDDLE, N_TIMBRAL, convolution

Array = NDArray[np.float32]


class Outputs(NamedTuple):
    """What the network gives for one window."""

    embedding: Array  # [200]
    tags: Array  # [50] in [0, 1]


def forward(weights: Weights, x: Array) -> Outputs:
    """Return the outputs for one window.

    Parameters
    ----------
    weights : mapping of str to numpy.ndarray
        The variables of a checkpoint.
    x : numpy.ndarray
        float32 [187, 96], as front end ``musicnn`` gives it.
    """
    x = _normalised(weights, 0, x)
    layers = [np.concatenate([_front(weights, i, x) for i in FRONT], axis=1)]
    for i in MIDDLE:
        y = _convolved(weights, i, np.pad(layers[-1], ((3, 3), (0, 0))))[:, 0]
        layers.append(y if len(layers) == 1 else y + layers[-1])
    over_time = np.concatenate(layers, axis=1)
    in_turn = np.stack([over_time.max(axis=0), over_time.mean(axis=0)], axis=1).ravel()
    dense = _normalised(weights, 9, in_turn) @ weights["dense/kernel"] + weights["dense/bias"]
    embedding = _normalised(weights, 10, np.maximum(dense, 0))
    logits = embedding @ weights["dense_1/kernel"] + weights["dense_1/bias"]
    return Outputs(embedding, 1 / (1 + np.exp(-logits)))


def _front(weights: Weights, i: int, x: Array) -> Array:
    kernel, _ = convolution(weights, i)
    before = 3 if i < N_TIMBRAL else (len(kernel) - 1) // 2
    after = 3 if i < N_TIMBRAL else len(kernel) - 1 - before
    largest: Array = _convolved(weights, i, np.pad(x, ((before, after), (0, 0)))).max(axis=1)
    return largest


def _convolved(weights: Weights, i: int, x: Array) -> Array:
    """Return a convolution, rectified and normalised: [time, frequency, channel]."""
    kernel, bias = convolution(weights, i)
    places = sliding_window_view(x, kernel.shape[:2])
    return _normalised(weights, i + 1, np.maximum(np.tensordot(places, kernel[:, :, 0]) + bias, 0))


def _normalised(weights: Weights, i: int, x: Array) -> Array:
    scale, shift = normalisation(weights, i)
    return x * scale + shift
