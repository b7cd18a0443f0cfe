"""MusiCNN as ONNX: the graph of its publication, from the numbers of its checkpoint.

Convolutions as tall or as wide as music needs them, the largest value over all frequencies, three residual layers over
time, and two dense layers (J. Pons and X. Serra, "musicnn: pre-trained convolutional neural networks for music audio
tagging", 2019). The maximum over frequency is taken right after each convolution, so that bias, ReLU and normalisation
see a thirtieth of the numbers. Rectifying and shifting keep the order of numbers, so the result is the same; where the
normalisation turns the order round, the kernel is negated.
"""

import numpy as np
from numpy.typing import NDArray

from musicrec.models.pretrained.graph import Graph, Weights, normalisation

Array = NDArray[np.float32]

FRAMES, BANDS = 187, 96
CHANNELS_IN_A_BLOCK = 16  # onnxruntime takes maxima of whole blocks only, of 8 or 16 channels, without a copy
N_TIMBRAL, FRONT, MIDDLE = 2, range(5), range(5, 8)  # convolutions of the checkpoint, by number


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
    front = graph.add("Concat", *(_front(graph, weights, i, x) for i in FRONT), axis=1)
    pooled = _pooled(graph, _middle(graph, weights, front))
    _dense(graph, weights, pooled)
    outputs = {"embedding": len(weights["dense/bias"]), "tags": len(weights["dense_1/bias"])}
    return graph.to_bytes("musicnn", (FRAMES, BANDS), outputs)


def convolution(weights: Weights, i: int) -> tuple[Array, Array]:
    """Return kernel [time, width, 1, n] and bias [n] of a convolution, by its number."""
    name = f"conv2d_{i}" if i else "conv2d"
    return weights[f"{name}/kernel"], weights[f"{name}/bias"]


def _column(values: Array) -> Array:
    """Return numbers of channels as they stand beside [n, channel, time]."""
    return values[None, :, None]


def _front(graph: Graph, weights: Weights, i: int, x: str) -> str:
    """Add a convolution over time and frequency, and its maximum over frequency: [n, channel, time]."""
    kernel, bias = convolution(weights, i)
    scale, shift = normalisation(weights, i + 1)
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


def _middle(graph: Graph, weights: Weights, front: str) -> str:
    """Add the layers over time, each beside those before it: [n, channel, time]."""
    layers = [front]
    for i in MIDDLE:
        kernel, bias = convolution(weights, i)
        scale, shift = normalisation(weights, i + 1)
        filters = kernel[:, :, 0].transpose(2, 1, 0)  # [channel, channel before, time]
        y = graph.add(
            "Conv", layers[-1], graph.constant(filters), graph.constant(bias), kernel_shape=[len(kernel)], pads=[3, 3]
        )
        y = graph.affine(graph.add("Relu", y), _column(scale), _column(shift))
        layers.append(y if len(layers) == 1 else graph.add("Add", y, layers[-1]))
    return graph.add("Concat", *layers, axis=1)


def _pooled(graph: Graph, y: str) -> str:
    """Add the maximum and the mean over time: [n, 2 · channels], maxima first."""
    axis = graph.integers(2)
    pools = (graph.add(kind, y, axis, keepdims=0) for kind in ("ReduceMax", "ReduceMean"))
    return graph.add("Concat", *pools, axis=1)


def _dense(graph: Graph, weights: Weights, pooled: str) -> None:
    """Add the embedding and the tags. The checkpoint has maxima and means in turn, here they stand apart."""
    scale, shift = normalisation(weights, 9)
    kernel = scale[:, None] * weights["dense/kernel"]
    bias = weights["dense/bias"] + shift @ weights["dense/kernel"]
    kernel = np.concatenate([kernel[0::2], kernel[1::2]])
    y = graph.add("Gemm", pooled, graph.constant(kernel), graph.constant(bias))
    embedding = graph.affine(graph.add("Relu", y), *normalisation(weights, 10), output="embedding")
    last = [graph.constant(weights[f"dense_1/{part}"]) for part in ("kernel", "bias")]
    graph.add("Sigmoid", graph.add("Gemm", embedding, *last), output="tags")
