"""MusiCNN as ONNX: the graph of its publication, from the numbers of its checkpoint.

Convolutions as tall or as wide as music needs them, the largest value over all frequencies, three residual layers over
time, and two dense layers (J. Pons and X. Serra, "musicnn: pre-trained convolutional neural networks for music audio
tagging", 2019). The maximum over frequency is taken right after each convolution, so that bias, ReLU and normalisation
see a thirtieth of the numbers. Rectifying and shifting keep the order of numbers, so the result is the same; where the
normalisation turns the order round, the kernel is negated.

Training has shrunk most kernels of the first convolutions to nothing: all but 64 of the 561 channels of the MSD
checkpoint say the same whatever they hear. Only those that vary are computed; what the others say is added to later
layers.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicrec.models.pretrained.graph import Graph, Weights, normalisation

Array = NDArray[np.float32]

FRAMES, BANDS = 187, 96
CHANNELS_IN_A_BLOCK = 16  # onnxruntime takes maxima of whole blocks only, of 8 or 16 channels, without a copy
N_TIMBRAL, FRONT, MIDDLE = 2, range(5), range(5, 8)  # convolutions of the checkpoint, by number
LOUDEST = 12.0  # log10(1 + 10⁴x) of a power that is 10⁴ times that of a full-scale sine
NEGLIGIBLE = 1e-7  # a channel that moves by less is constant in float32


class Channels(NamedTuple):
    """The channels of the first convolutions."""

    vary: NDArray[np.bool_]  # [channel], whether it depends on what is heard
    constants: Array  # [channel], what the others say


def convert(weights: Weights) -> bytes:
    """Return the ONNX file of a checkpoint.

    Parameters
    ----------
    weights : mapping of str to numpy.ndarray
        The variables of the checkpoint.

    Returns
    -------
    bytes
        A network with the input ``x``, float32 [n, 187, 96], and the outputs ``embedding``, float32 [n, 200], and
        ``tags``, float32 [n, 50] in [0, 1].
    """
    graph = Graph()
    scale, shift = normalisation(weights, 0)
    x = graph.add("Unsqueeze", graph.affine("x", scale[0], shift[0]), graph.integers(1))
    channels = [channels_of(weights, i) for i in FRONT]
    parts = [_front(graph, weights, i, x, channels[i].vary) for i in FRONT if channels[i].vary.any()]
    front = Channels(*map(np.concatenate, zip(*channels, strict=True)))
    pooled = _pooled(graph, _middle(graph, weights, graph.add("Concat", *parts, axis=1), front))
    _dense(graph, weights, pooled, front)
    outputs = {"embedding": len(weights["dense/bias"]), "tags": len(weights["dense_1/bias"])}
    return graph.to_bytes("musicnn", (FRAMES, BANDS), outputs)


def convolution(weights: Weights, i: int) -> tuple[Array, Array]:
    """Return kernel [time, width, 1, n] and bias [n] of a convolution, by its number."""
    name = f"conv2d_{i}" if i else "conv2d"
    return weights[f"{name}/kernel"], weights[f"{name}/bias"]


def channels_of(weights: Weights, i: int) -> Channels:
    """Return which channels of one of the first convolutions vary, from the range of what it can hear."""
    kernel, bias = convolution(weights, i)
    scale, shift = normalisation(weights, i + 1)
    factor, summand = (float(part[0]) for part in normalisation(weights, 0))
    heard = (0.0, summand, factor * LOUDEST + summand)  # padding is 0, silence is the summand
    ends = np.stack([kernel.astype(np.float64) * end for end in (min(heard), max(heard))])
    least, most = (np.maximum(end.sum(axis=(0, 1, 2)) + bias, 0) for end in (ends.min(axis=0), ends.max(axis=0)))
    constants = scale * (least + most) / 2 + shift
    return Channels(np.abs(scale) * (most - least) > NEGLIGIBLE, constants.astype(np.float32))


def _column(values: Array) -> Array:
    """Return numbers of channels as they stand beside [n, channel, time]."""
    return values[None, :, None]


def _front(graph: Graph, weights: Weights, i: int, x: str, vary: NDArray[np.bool_]) -> str:
    """Add a convolution over time and frequency, and its maximum over frequency: [n, varying channel, time]."""
    kernel, bias = (values[..., vary] for values in convolution(weights, i))
    scale, shift = (values[vary] for values in normalisation(weights, i + 1))
    sign = np.where(scale < 0, -1, 1).astype(np.float32)
    filters = (kernel[:, :, 0] * sign).transpose(2, 0, 1)[:, None]  # [channel, 1, time, frequency]
    n = len(filters)
    filters = np.pad(filters, ((0, -n % CHANNELS_IN_A_BLOCK), (0, 0), (0, 0), (0, 0)))
    before = 3 if i < N_TIMBRAL else (len(kernel) - 1) // 2  # TensorFlow pads one more after than before
    after = 3 if i < N_TIMBRAL else len(kernel) - 1 - before
    y = graph.add("Conv", x, graph.constant(filters), kernel_shape=list(filters.shape[2:]), pads=[before, 0, after, 0])
    y = graph.add("MaxPool", y, kernel_shape=[1, BANDS - filters.shape[3] + 1])
    y = graph.add("Slice", graph.add("Squeeze", y, graph.integers(3)), *map(graph.integers, (0, n, 1)))
    y = graph.add("Relu", graph.affine(y, _column(sign), _column(bias)))
    return graph.affine(y, _column(scale), _column(shift))


def _middle(graph: Graph, weights: Weights, varying: str, front: Channels) -> str:
    """Add the layers over time, each beside those before it: [n, channel, time]."""
    layers = [varying]
    for i in MIDDLE:
        kernel, bias = convolution(weights, i)
        scale, shift = normalisation(weights, i + 1)
        filters = kernel[:, :, 0].transpose(2, 1, 0)  # [channel, channel before, time]
        added = _column(bias)
        if len(layers) == 1:
            added = added + _of_constants(filters[:, ~front.vary], front.constants[~front.vary])
            filters = filters[:, front.vary]
        y = graph.add("Conv", layers[-1], graph.constant(filters), kernel_shape=[len(kernel)], pads=[3, 3])
        y = graph.add("Add", y, graph.constant(added))
        y = graph.affine(graph.add("Relu", y), _column(scale), _column(shift))
        layers.append(y if len(layers) == 1 else graph.add("Add", y, layers[-1]))
    return graph.add("Concat", *layers, axis=1)


def _of_constants(filters: Array, constants: Array) -> Array:
    """Return what a convolution over time makes of constant channels: [1, channel, time]; padding is 0."""
    taps = np.tensordot(filters, constants, axes=(1, 0))  # [channel, tap]
    before = (filters.shape[2] - 1) // 2
    heard = np.pad(np.ones(FRAMES, np.float32), (before, filters.shape[2] - 1 - before))
    over_time = [np.convolve(heard, tap[::-1], mode="valid") for tap in taps]
    return np.stack(over_time)[None].astype(np.float32)


def _pooled(graph: Graph, y: str) -> str:
    """Add the maximum and the mean over time: [n, 2 · channels], maxima first."""
    axis = graph.integers(2)
    pools = (graph.add(kind, y, axis, keepdims=0) for kind in ("ReduceMax", "ReduceMean"))
    return graph.add("Concat", *pools, axis=1)


def _dense(graph: Graph, weights: Weights, pooled: str, front: Channels) -> None:
    """Add the embedding and the tags. The checkpoint has maxima and means in turn, here they stand apart."""
    scale, shift = normalisation(weights, 9)
    kernel = scale[:, None] * weights["dense/kernel"]
    bias = weights["dense/bias"] + shift @ weights["dense/kernel"]
    maxima, means = kernel[0::2], kernel[1::2]  # [channel, number]
    constant = np.flatnonzero(~front.vary)  # its maximum is its mean
    bias = bias + front.constants[constant] @ (maxima[constant] + means[constant])
    kernel = np.concatenate([np.delete(part, constant, axis=0) for part in (maxima, means)])
    y = graph.add("Gemm", pooled, graph.constant(kernel), graph.constant(bias))
    embedding = graph.affine(graph.add("Relu", y), *normalisation(weights, 10), output="embedding")
    last = [graph.constant(weights[f"dense_1/{part}"]) for part in ("kernel", "bias")]
    graph.add("Sigmoid", graph.add("Gemm", embedding, *last), output="tags")
