"""Small networks as ONNX files, and cards that fit them."""

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from musicrec.models.pretrained.card import Card
from musicrec.settings import resolve

BANDS, FRAMES, SIZE = 96, 50, 6  # 0.8 s of front end musicnn


def card(**changed) -> Card:
    """A card of :func:`network`."""
    return resolve(
        Card,
        {
            "name": "small",
            "licence": "CC0-1.0",
            "source": "made by a test",
            "sample_rate": 16_000,
            "front_end": "musicnn",
            "window_s": 0.8,
            "hop_s": 0.8,
            "output": "vector",
            **changed,
        },
    )


def node(kind: str, inputs: Sequence[str], output: str, **attributes) -> NodeProto:
    return helper.make_node(kind, inputs, [output], output, **attributes)


def network(
    *nodes: NodeProto,
    shape: Sequence[int | str | None] = ("n", FRAMES, BANDS),
    outputs: Sequence[str] = ("vector",),
    **constants: np.ndarray,
) -> ModelProto:
    """A network of some nodes from ``x`` to its outputs; by default a dense layer of the mean over time, rectified."""
    if not nodes:
        nodes = (
            node("ReduceMean", ["x", "axis"], "mean", keepdims=0),
            node("MatMul", ["mean", "kernel"], "dense"),
            node("Relu", ["dense"], "vector"),
        )
    kernel = np.random.default_rng(0).normal(size=(BANDS, SIZE)).astype(np.float32)
    constants = {"axis": np.array([1]), "zero": np.array([0]), "kernel": kernel, **constants}
    used = {name for one in nodes for name in one.input}
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", None]) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in constants.items() if name in used],
    )
    domains = {one.domain for one in nodes} - {""}
    opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def by_numpy(frames: np.ndarray) -> np.ndarray:
    """What :func:`network` gives for a window."""
    kernel = np.random.default_rng(0).normal(size=(BANDS, SIZE)).astype(np.float32)
    return np.maximum(frames.mean(axis=0) @ kernel, 0)
