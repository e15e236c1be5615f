"""Small ONNX files that the tests of the engines write."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.base import ModelSpec, Weights


def save(
    path: Path, nodes: list[onnx.NodeProto], x: list, y: list, *, weights=(), dtype=TensorProto.FLOAT, metadata=None
) -> Path:
    """A model from input "x" to output "y", with dimensions as numbers or names, and initializers by name."""
    initializers = [numpy_helper.from_array(array, name) for name, array in dict(weights).items()]
    ends = [helper.make_tensor_value_info(name, dtype, shape) for name, shape in (("x", x), ("y", y))]
    graph = helper.make_graph(nodes, "test", ends[:1], ends[1:], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


def conv(path: Path, *, batch: int | str = "n", size: int = 8, dtype=np.float32) -> Path:
    """y[0], y[1] = the sum of the three channels, and twice that: (batch, 3, size, size) -> (batch, 2, size, size)."""
    weights = np.ones((2, 3, 1, 1), dtype) * np.array([1, 2], dtype).reshape(2, 1, 1, 1)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    shapes = [batch, 3, size, size], [batch, 2, size, size]
    return save(path, nodes, *shapes, weights={"w": weights}, dtype=kind, metadata={"names": "{0: 'person'}"})


def spec(path: Path, *shape: int | None, **more) -> ModelSpec:
    """A spec for the file at `path`; `shape`, if given, is that of the sole input."""
    return ModelSpec("tiny", Weights(str(path)), {"": shape} if shape else {}, **more)
