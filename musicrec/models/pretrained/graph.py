"""Write a network as ONNX, node by node, from the variables of a checkpoint of TensorFlow."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

Array = NDArray[np.float32]
Weights = Mapping[str, Array]  # of a checkpoint, by the names of TensorFlow

EPSILON = 1e-3  # of TensorFlow's batch normalisation
OPSET, IR_VERSION = 18, 9


def normalisation(weights: Weights, i: int) -> tuple[Array, Array]:
    """Return factor and summand of a batch normalisation, by its number."""
    name = f"batch_normalization_{i}" if i else "batch_normalization"
    scale = weights[f"{name}/gamma"] / np.sqrt(weights[f"{name}/moving_variance"] + np.float32(EPSILON))
    return scale, weights[f"{name}/beta"] - weights[f"{name}/moving_mean"] * scale


class Graph:
    """Nodes and constants of a graph in the making."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:  # noqa: ANN401 - as ONNX
        """Add a node; return the name of its output."""
        from onnx import helper

        output = output or f"{kind}-{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def constant(self, values: NDArray[Any]) -> str:
        """Add a constant; return its name."""
        from onnx import numpy_helper

        name = f"constant-{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def integers(self, *values: int) -> str:
        """Add a constant of whole numbers, such as axes."""
        return self.constant(np.array(values, np.int64))

    def affine(self, x: str, scale: Any, shift: Any, output: str = "") -> str:  # noqa: ANN401 - number or array
        """Multiply and add."""
        product = self.add("Mul", x, self.constant(np.asarray(scale, np.float32)))
        return self.add("Add", product, self.constant(np.asarray(shift, np.float32)), output=output)

    def to_bytes(self, name: str, window: tuple[int, ...], outputs: Mapping[str, int]) -> bytes:
        """Return the ONNX file: input ``x``, float32 [n, *window], and outputs of some numbers for each window."""
        from onnx import TensorProto, helper

        made = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *window])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", n]) for output, n in outputs.items()],
            self.constants,
        )
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        content: bytes = model.SerializeToString()
        return content
