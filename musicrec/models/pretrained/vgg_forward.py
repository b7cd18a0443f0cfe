"""The VGG network in NumPy, step by step as its authors describe it: what a converted file is compared with."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from musicrec.models.pretrained.graph import Weights, normalisation
from musicrec.models.pretrained.musicnn_forward import Outputs
from musicrec.models.pretrained.vgg import Pool

Array = NDArray[np.float32]


def forward(weights: Weights, x: Array, pools: list[Pool]) -> Outputs:
    """Return the outputs for one window.

    Parameters
    ----------
    weights : mapping of str to numpy.ndarray
        The variables of a checkpoint.
    x : numpy.ndarray
        float32 [187, 96], as front end ``musicnn`` gives it.
    pools : list of Pool
        Of which neighbours each layer takes the largest value.
    """
    y = _normalised(weights, 0, x[:, :, None])  # [time, frequency, channel]
    for i, (size, (over_time, over_frequency)) in enumerate(pools):
        kernel, bias = weights[f"{i + 1}CNN/kernel"], weights[f"{i + 1}CNN/bias"]
        places = sliding_window_view(np.pad(y, ((1, 1), (1, 1), (0, 0))), (3, 3), axis=(0, 1))
        y = np.einsum("tfcij,ijco->tfo", places, kernel, optimize=True) + bias
        y = _normalised(weights, i + 1, np.maximum(y, 0))
        y = sliding_window_view(y, size, axis=(0, 1))[::over_time, ::over_frequency].max(axis=(-2, -1))
    embedding = y.ravel()
    logits = embedding @ weights["dense/kernel"] + weights["dense/bias"]
    return Outputs(embedding, 1 / (1 + np.exp(-logits)))


def _normalised(weights: Weights, i: int, x: Array) -> Array:
    scale, shift = normalisation(weights, i)
    return x * scale + shift
