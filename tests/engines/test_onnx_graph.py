import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from engines import onnx_graph
from engines.onnx_graph import BFLOAT16, BOOL, FLOAT, FLOAT16, INT8, INT64, UINT8
from tests.engines.models import conv, save

node = helper.make_node


def read(path, nodes, *, weights=(), **more):
    return onnx_graph.read(save(path, nodes, ["n", 3, 8, 8], ["n", 3, 8, 8], weights=weights, **more))


def test_steps_have_their_operators_and_the_names_of_what_goes_in_and_out(tmp_path):
    graph = onnx_graph.read(conv(tmp_path / "m.onnx"))
    (step,) = graph.steps
    assert (step.op, step.domain, step.inputs, step.outputs) == ("Conv", "", ("x", "w"), ("y",))


def test_inputs_are_what_is_fed_with_none_for_what_is_free(tmp_path):
    assert onnx_graph.read(conv(tmp_path / "m.onnx")).inputs == {"x": (None, 3, 8, 8)}
    assert onnx_graph.read(conv(tmp_path / "m.onnx", batch=1)).inputs == {"x": (1, 3, 8, 8)}


def test_a_weight_that_is_also_listed_as_input_is_not_fed(tmp_path):
    path = conv(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2, 3, 1, 1]))
    onnx.save(model, path)
    assert list(onnx_graph.read(path).inputs) == ["x"]


@pytest.mark.parametrize(
    ("nodes", "kind"),
    [
        ([node("Relu", ["x"], ["v"])], FLOAT),
        ([node("Cast", ["x"], ["v"], to=FLOAT16)], FLOAT16),
        ([node("Cast", ["x"], ["h"], to=BFLOAT16), node("Relu", ["h"], ["v"])], BFLOAT16),
        ([node("Shape", ["x"], ["v"])], INT64),
        ([node("Greater", ["x", "x"], ["v"])], BOOL),
        ([node("Greater", ["x", "x"], ["b"]), node("Where", ["b", "x", "x"], ["v"])], FLOAT),
        ([node("TopK", ["x", "k"], ["values", "v"])], INT64),
        ([node("QuantizeLinear", ["x", "s", "z"], ["v"])], INT8),
        ([node("QuantizeLinear", ["x", "s"], ["v"])], UINT8),
        ([node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["v"])], FLOAT),
        ([node("Constant", [], ["v"], value=numpy_helper.from_array(np.zeros(2, "f2")))], FLOAT16),
        ([node("Constant", [], ["v"], value_ints=[1, 2])], INT64),
        ([node("Shape", ["x"], ["s1"]), node("ConstantOfShape", ["s1"], ["v"])], FLOAT),
        ([node("DynamicQuantizeLinear", ["x"], ["v", "scale", "point"])], None),
        ([node("Foo", ["x"], ["v"], domain="ai.acme")], None),
    ],
)
def test_types_follow_from_the_operators(nodes, kind, tmp_path):
    weights = {"k": np.array([1]), "s": np.float32([0.1]).reshape(()), "z": np.zeros((), "i1")}
    graph = read(tmp_path / "m.onnx", [*nodes, node("Identity", ["x"], ["y"])], weights=weights)
    assert graph.type_of("v") == kind


def test_types_are_found_in_a_file_whose_steps_are_not_in_order(tmp_path):
    late = [node("Relu", ["h"], ["v"]), node("Relu", ["g"], ["h"]), node("Cast", ["x"], ["g"], to=FLOAT16)]
    graph = read(tmp_path / "m.onnx", [*late, node("Identity", ["x"], ["y"])])
    assert graph.type_of("v") == FLOAT16


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "numbers"])
def test_zero_points_that_are_not_zero_are_named(raw, tmp_path):
    def tensor(value):
        array = np.full(3, value, np.int8)
        return helper.make_tensor("z", TensorProto.INT8, [3], array.tobytes() if raw else array, raw=raw)

    for value, nonzero in ((0, set()), (5, {"z"}), (-5, {"z"})):
        path = conv(tmp_path / "m.onnx")
        model = onnx.load(path)
        model.graph.initializer.append(tensor(value))
        onnx.save(model, path)
        assert onnx_graph.read(path).nonzero == nonzero


def complaint(path) -> str:
    try:
        onnx_graph.read(path)
    except ValueError as e:
        return str(e)
    return "it can be read"


def test_every_cut_of_a_file_is_refused_or_read_and_nothing_else_is_raised(tmp_path):
    whole = conv(tmp_path / "m.onnx").read_bytes()
    cut = tmp_path / "cut.onnx"
    for n in range(1, len(whole)):
        cut.write_bytes(whole[:n])
        assert complaint(cut).startswith("it ")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(min_size=1))
def test_any_bytes_are_refused_or_read_and_nothing_else_is_raised(tmp_path, content):
    path = tmp_path / "any.onnx"
    path.write_bytes(content)
    assert complaint(path).startswith("it ")
