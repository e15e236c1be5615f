"""Small ONNX models, each with one trait that TensorRT is known to take or to refuse."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

node = helper.make_node
rng = np.random.default_rng(0)
TYPES = {"fp32": np.float32, "fp16": np.float16}
IMAGE, ROWS = [1, 3, 8, 8], [1, 16, 64]


def write(path: Path, nodes, x, y, *, weights, dtype=np.float32, out=None, opset=19) -> Path:
    """A model from "x" to "y"; weights are arrays or TensorProtos."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    ends = [helper.make_tensor_value_info("x", kind, x), helper.make_tensor_value_info("y", out or kind, y)]
    initializers = [w if isinstance(w, onnx.TensorProto) else numpy_helper.from_array(w, n) for n, w in weights.items()]
    graph = helper.make_graph(nodes, "test", ends[:1], ends[1:], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    return path


def matmul(path: Path, *, precision="fp32", op="MatMul") -> Path:
    w = rng.random((64, 32)).astype(TYPES[precision])
    x, more = (ROWS[1:], {}) if op == "Gemm" else (ROWS, {"equation": "bij,jk->bik"} if op == "Einsum" else {})
    return write(path, [node(op, ["x", "w"], ["y"], **more)], x, [*x[:-1], 32], weights={"w": w}, dtype=w.dtype)


def matmul_between_casts(path: Path, *, to: int) -> Path:
    """fp32 at its ends, as models that were exported in half are."""
    nodes = [
        node("Cast", ["x"], ["h"], to=to),
        node("Cast", ["w"], ["wh"], to=to),
        node("MatMul", ["h", "wh"], ["z"]),
        node("Cast", ["z"], ["y"], to=TensorProto.FLOAT),
    ]
    return write(path, nodes, ROWS, [1, 16, 32], weights={"w": rng.random((64, 32)).astype("f4")})


def conv(path: Path, *, precision="fp32", batch: int | str = 1) -> Path:
    w = rng.random((4, 3, 1, 1)).astype(TYPES[precision])
    nodes = [node("Conv", ["x", "w"], ["y"])]
    return write(path, nodes, [batch, 3, 8, 8], [batch, 4, 8, 8], weights={"w": w}, dtype=w.dtype)


def quantised(path: Path, *, op="Conv", kind=np.int8, point=0, bias=False, scale=np.float32) -> Path:
    """Q/DQ around a Conv or MatMul, with what differs between ways to quantise."""
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["dq"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
    ]
    shape = (4, 3, 1, 1) if op == "Conv" else (64, 32)
    weights = {
        "w": rng.integers(-100, 100, shape).astype(np.int8),
        "s": np.array(0.1, scale),
        "z": np.array(point, kind),
        "ws": np.array(0.01, scale),
        "wz": np.array(0, np.int8),
    }
    if bias:
        nodes.append(node("DequantizeLinear", ["b", "bs", "bz"], ["bd"]))
        weights |= {"b": np.arange(4, dtype="i4"), "bs": np.array(0.001, scale), "bz": np.array(0, "i4")}
    nodes.append(node(op, ["dq", "wd", *(["bd"] if bias else [])], ["y"]))
    x, y = (IMAGE, [1, 4, 8, 8]) if op == "Conv" else (ROWS, [1, 16, 32])
    return write(path, nodes, x, y, weights=weights, dtype=scale)


def fp8(path: Path) -> Path:
    zero = helper.make_tensor("z", TensorProto.FLOAT8E4M3FN, [], b"\0", raw=True)
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["dq"]),
        node("QuantizeLinear", ["w", "s", "z"], ["wq"]),
        node("DequantizeLinear", ["wq", "s", "z"], ["wd"]),
        node("MatMul", ["dq", "wd"], ["y"]),
    ]
    weights = {"s": np.array(0.1, "f4"), "z": zero, "w": rng.random((64, 32)).astype("f4")}
    return write(path, nodes, ROWS, [1, 16, 32], weights=weights)


def dynamic_quantised(path: Path) -> Path:
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("ConvInteger", ["q", "w", "z"], ["i"]),
        node("Cast", ["i"], ["c"], to=TensorProto.FLOAT),
        node("Mul", ["c", "s"], ["y"]),
    ]
    return write(path, nodes, IMAGE, [1, 4, 8, 8], weights={"w": rng.integers(-9, 9, (4, 3, 1, 1)).astype("i1")})


def nms(path: Path) -> Path:
    nodes = [
        node("Split", ["x", "parts"], ["boxes", "s"], axis=2),
        node("Transpose", ["s"], ["scores"], perm=[0, 2, 1]),
        node("NonMaxSuppression", ["boxes", "scores", "k", "iou", "least"], ["y"]),
    ]
    weights = {"k": np.array([10]), "iou": np.float32([0.5]), "least": np.float32([0.2]), "parts": np.array([4, 4])}
    return write(path, nodes, [1, 100, 8], [None, 3], weights=weights, out=TensorProto.INT64, opset=17)


def nonzero(path: Path) -> Path:
    return write(path, [node("NonZero", ["x"], ["y"])], [4, 4], [2, None], weights={}, out=TensorProto.INT64)


def uint8_image(path: Path, *, cast_first: bool) -> Path:
    """A picture (1, h, w, 3) as bytes, brought into (1, 3, h, w) float."""
    cast, turn = {"to": TensorProto.FLOAT}, {"perm": [0, 3, 1, 2]}
    steps = [("Cast", cast), ("Transpose", turn)] if cast_first else [("Transpose", turn), ("Cast", cast)]
    nodes = [node(steps[0][0], ["x"], ["t"], **steps[0][1]), node(steps[1][0], ["t"], ["y"], **steps[1][1])]
    return write(path, nodes, [1, 8, 8, 3], IMAGE, weights={}, dtype=np.uint8, out=TensorProto.FLOAT)


def one(op: str, domain: str = "") -> Callable[[Path], Path]:
    """A model of a single step."""

    def make(path: Path) -> Path:
        write(path, [node(op, ["x"], ["y"], domain=domain)], [4], [4], weights={})
        if domain:
            model = onnx.load(path)
            model.opset_import.append(helper.make_opsetid(domain, 1))
            onnx.save(model, path)
        return path

    return make
