"""Weights are stored as halves, and the file computes in float32 as before."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.base import ModelSpec, Weights
from engines.onnx import Onnx
from nodes.training.export import WORTH_IT, halve


def model_of(weights: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    """y = x @ w + b."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"])]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, side])
        for name, side in zip("xy", weights.shape, strict=True)
    ]
    initializers = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")]
    graph = helper.make_graph(nodes, "test", ends[:1], ends[1:], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    return rng.normal(0, 0.1, (64, 48)).astype(np.float32), rng.normal(0, 0.1, 48).astype(np.float32)


def run(path, x):
    model = Onnx(precision=None).load(ModelSpec("test", Weights(str(path))))
    (y,) = model(x)
    model.close()
    return y


def test_large_weights_are_halved_and_small_ones_are_not(weights):
    model = model_of(*weights)
    halve(model)
    onnx.checker.check_model(model)
    assert {w.name: w.data_type for w in model.graph.initializer} == {
        "w_fp16": TensorProto.FLOAT16,
        "b": TensorProto.FLOAT,
    }
    assert weights[0].size >= WORTH_IT > weights[1].size


def test_the_file_gives_what_the_rounded_weights_give_in_float32(weights, tmp_path):
    model, x = model_of(*weights), np.random.default_rng(1).normal(size=(1, 64)).astype(np.float32)
    halve(model)
    onnx.save(model, tmp_path / "m.onnx")
    rounded = weights[0].astype(np.float16).astype(np.float32)
    assert run(tmp_path / "m.onnx", x) == pytest.approx(x @ rounded + weights[1], abs=1e-5)


def test_a_weight_that_float16_cannot_hold_stays(weights):
    model = model_of(weights[0] * np.float32(1e6), weights[1])
    halve(model)
    assert {w.data_type for w in model.graph.initializer} == {TensorProto.FLOAT}
