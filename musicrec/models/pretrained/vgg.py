"""The VGG network of the package ``musicnn`` as ONNX, from the numbers of its checkpoint.

Five small convolutions, each followed by the largest value of neighbouring places, and a dense layer. As in
:mod:`musicrec.models.pretrained.musicnn`, the maximum is taken right after a convolution.

The two checkpoints were trained with different neighbourhoods, as the graph beside each shows. The package runs both
with those of MTT: its MSD network finds the tag blues in a blues at 0.12, with its own at 0.63.
"""

import numpy as np
from numpy.typing import NDArray

from musicrec.models.pretrained.graph import Graph, Weights, normalisation

Array = NDArray[np.float32]

FRAMES, BANDS = 187, 96
Pool = tuple[tuple[int, int], tuple[int, int]]  # size and step, over time and frequency
MSD_POOLS: list[Pool] = [((n, m), (n, m)) for n, m in ((4, 1), (1, 4), (2, 2), (2, 2), (4, 4))]
MTT_POOLS: list[Pool] = [((4, 1), (2, 2)), *(((2, 2), (2, 2)),) * 3, ((4, 4), (4, 4))]


def convert(weights: Weights, pools: list[Pool]) -> bytes:
    """Return the ONNX file of a checkpoint.

    Parameters
    ----------
    weights : mapping of str to numpy.ndarray
        The variables of the checkpoint.
    pools : list of Pool
        Of which neighbours each layer takes the largest value.

    Returns
    -------
    bytes
        A network with the input ``x``, float32 [n, 187, 96], and the outputs ``embedding``, float32 [n, 256], which is
        what the dense layer reads, and ``tags``, float32 [n, 50] in [0, 1].
    """
    graph = Graph()
    scale, shift = normalisation(weights, 0)
    y = graph.add("Unsqueeze", graph.affine("x", scale[0], shift[0]), graph.integers(1))
    for i, pool in enumerate(pools):
        y = _layer(graph, weights, i, y, pool)
    places = graph.add("Transpose", y, perm=[0, 2, 3, 1])  # TensorFlow's order: channels last
    embedding = graph.add("Flatten", places, output="embedding")
    last = [graph.constant(weights[f"dense/{part}"]) for part in ("kernel", "bias")]
    graph.add("Sigmoid", graph.add("Gemm", embedding, *last), output="tags")
    n_numbers, n_tags = weights["dense/kernel"].shape
    return graph.to_bytes("vgg", (FRAMES, BANDS), {"embedding": n_numbers, "tags": n_tags})


def _layer(graph: Graph, weights: Weights, i: int, x: str, pool: Pool) -> str:
    """Add a convolution, its maxima, bias, ReLU and normalisation: [n, channel, time, frequency]."""
    kernel, bias = weights[f"{i + 1}CNN/kernel"], weights[f"{i + 1}CNN/bias"]
    scale, shift = (part[None, :, None, None] for part in normalisation(weights, i + 1))
    sign = np.where(scale < 0, -1, 1).astype(np.float32)
    filters = kernel.transpose(3, 2, 0, 1) * sign.reshape(-1, 1, 1, 1)
    y = graph.add("Conv", x, graph.constant(filters), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    y = graph.add("MaxPool", y, kernel_shape=pool[0], strides=pool[1])
    y = graph.add("Relu", graph.affine(y, sign, bias[None, :, None, None]))
    return graph.affine(y, scale, shift)
