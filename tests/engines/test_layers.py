"""The layer that differs is found."""

from math import inf

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.base import EngineError, ModelSpec, Weights
from engines.layers import compare, first_over, relative_mse
from engines.onnx import Onnx
from engines.weights import fetch
from tests.engines.models import save

X = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
STREET = ModelSpec("s", Weights("shipped:street_depth.onnx"))


def chain(path, *, third=1.0):
    """Four layers, each a convolution with ones; the third times `third`. A shape is computed beside them."""
    ones = np.ones((3, 3, 1, 1), np.float32)
    weights = {"w0": ones, "w1": ones, "w2": third * ones, "w3": ones}
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Identity", ["w3"], ["fixed"]),
        helper.make_node("Conv", ["x", "w0"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Conv", ["d", "w1"], ["y"]),
    ]
    return save(path, nodes, ["n", 3, 8, 8], ["n", 3, 8, 8], weights=weights)


@pytest.mark.parametrize("group", [1, 2, 64])
def test_the_first_layer_with_another_weight_is_found(tmp_path, group):
    path, other = chain(tmp_path / "m.onnx", third=1.1), chain(tmp_path / "other.onnx")
    shares = []
    layers = compare(path, Onnx(), Onnx(), [X], reference_path=other, group=group, progress=shares.append)
    # Neither shapes nor what depends on no input are layers.
    assert [layer.name for layer in layers] == ["a", "b", "c", "d", "y"]
    assert [layer.relative_mse for layer in layers] == pytest.approx([0, 0, 0.01, 0.01, 0.01], rel=1e-3)
    first = first_over(layers, 1e-4)
    assert (first.name, first.op_type, first.index) == ("c", "Conv", 4)
    assert shares[-1] == 1.0


def test_the_same_file_does_not_differ(tmp_path):
    layers = compare(chain(tmp_path / "m.onnx"), Onnx(), Onnx(threads=1), [X])
    assert first_over(layers, 0.0) is None
    assert len(layers) == 5


def test_a_changed_weight_deep_in_a_shipped_network_is_found(tmp_path):
    path = fetch(STREET.weights)
    model = onnx.load(path)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    node = convolutions[5]
    casts = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Cast"}
    name = casts.get(node.input[1], node.input[1])
    weight = next(t for t in model.graph.initializer if t.name == name)
    values = numpy_helper.to_array(weight).copy()
    values[0] += 1
    weight.CopyFrom(numpy_helper.from_array(values, name))
    onnx.save(model, tmp_path / "changed.onnx")
    x = np.random.default_rng(1).random((1, 3, 256, 256), np.float32)
    layers = compare(tmp_path / "changed.onnx", Onnx(), Onnx(), [x], reference_path=path)
    assert first_over(layers, 1e-4).name == node.output[0]


def test_relative_error_by_hand():
    assert relative_mse(np.array([1.0, 2.0]), np.array([1.0, 1.0])) == pytest.approx(0.5)
    assert relative_mse(np.zeros(3), np.zeros(3)) == 0
    assert relative_mse(np.array([np.nan, 1]), np.array([1.0, 1])) == inf
    # A mask of attention.
    assert relative_mse(np.array([-inf, 1.0]), np.array([-inf, 1.0])) == 0
    assert relative_mse(np.ones((2, 1)), np.ones(2)) == inf


def test_a_layer_that_is_not_finite_is_over_every_threshold(tmp_path):
    layers = compare(
        chain(tmp_path / "m.onnx", third=np.inf), Onnx(), Onnx(), [X], reference_path=chain(tmp_path / "o.onnx")
    )
    assert first_over(layers, 1e30).name == "c"


def test_files_that_cannot_be_compared_are_refused(tmp_path):
    (tmp_path / "m.xml").write_text("<net/>")
    with pytest.raises(EngineError, match=r"m\.xml cannot be read as an ONNX model: .*; layers are compared in ONNX"):
        compare(tmp_path / "m.xml", Onnx(), Onnx(), [X])
    other = save(tmp_path / "o.onnx", [helper.make_node("Relu", ["x"], ["y"])], [1, 3, 8, 8], [1, 3, 8, 8])
    path = chain(tmp_path / "m.onnx")
    model = onnx.load(path)
    for node in model.graph.node:
        node.output[:] = [f"other_{name}" if name != "y" else "z" for name in node.output]
        node.input[:] = [f"other_{name}" if len(name) == 1 and name in "abcd" else name for name in node.input]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3, 8, 8]))
    onnx.save(model, tmp_path / "renamed.onnx")
    with pytest.raises(EngineError, match="have no tensor in common"):
        compare(tmp_path / "renamed.onnx", Onnx(), Onnx(), [X], reference_path=other)
