import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from engines import onnx_file
from engines.onnx_file import OnnxFile
from tests.engines.models import conv, save


def weights_of(path, **arrays):
    return save(path, [helper.make_node("Identity", ["x"], ["y"])], [1], [1], weights=arrays)


@pytest.mark.parametrize(
    ("dtype", "precision"), [("f4", "fp32"), ("f2", "fp16"), ("i1", "int8"), ("u1", "int8"), ("i8", None)]
)
def test_the_precision_is_the_type_of_the_weights(tmp_path, dtype, precision):
    path = weights_of(tmp_path / "m.onnx", w=np.zeros((4, 5), dtype))
    assert onnx_file.read(path) == OnnxFile(precision, (), {}, 17)


def test_where_types_are_mixed_most_elements_decide(tmp_path):
    path = weights_of(tmp_path / "m.onnx", a=np.zeros(9, "f4"), b=np.zeros((2, 5), "i1"), c=np.zeros(99, "i8"))
    assert onnx_file.read(path).precision == "int8"


def test_weights_in_constants_count(tmp_path):
    value = numpy_helper.from_array(np.zeros((3, 3), "f2"))
    nodes = [helper.make_node("Constant", [], ["y"], value=value)]
    assert onnx_file.read(save(tmp_path / "m.onnx", nodes, [1], [3, 3])).precision == "fp16"


def test_weights_that_are_only_stored_as_fp16_are_what_they_are_cast_to(tmp_path):
    cast = [helper.make_node("Cast", ["w"], ["wide"], to=1), helper.make_node("Identity", ["x"], ["y"])]
    path = save(tmp_path / "m.onnx", cast, [1], [1], weights={"w": np.zeros((4, 5), "f2")})
    assert onnx_file.read(path).precision == "fp32"


def test_metadata_and_opset_are_read(tmp_path):
    contents = onnx_file.read(conv(tmp_path / "m.onnx"))
    assert (contents.metadata, contents.opset) == ({"names": "{0: 'person'}"}, 17)


def test_files_of_external_weights_are_named_once(tmp_path):
    path = weights_of(tmp_path / "m.onnx", a=np.zeros(9, "f4"), b=np.zeros(9, "f4"))
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="m.bin", size_threshold=0)
    assert onnx_file.read(path) == OnnxFile("fp32", ("m.bin",), {}, 17)


def complaint(path) -> str:
    """The text of the ValueError, or that of one where there is none."""
    try:
        onnx_file.read(path)
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
