import numpy as np
import onnx
import pytest
from onnx import helper

from engines.base import EngineError
from tests.engines.models import conv, save, spec

pytest.importorskip("openvino")

from engines.openvino import OpenVino

X = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)


def knows_bf16() -> bool:
    with open("/proc/cpuinfo") as info:
        return "avx512_bf16" in info.read()


def message(engine, path, **more) -> str:
    with pytest.raises(EngineError) as e:
        engine.load(spec(path, **more))
    return str(e.value)


def test_the_precision_is_read_back_from_the_steps_that_run(tmp_path):
    model = OpenVino().load(spec(conv(tmp_path / "m.onnx")))
    at = model.placement
    assert (at.precision, at.device, at.path) == ("fp32", "cpu", tmp_path / "m.onnx")
    assert at.reason == "as requested; 1 of 1 heavy steps in fp32"
    model.close()


@pytest.mark.skipif(knows_bf16(), reason="this processor knows bf16")
def test_bf16_on_a_processor_without_it_is_an_error_not_something_else_in_silence(tmp_path):
    said = message(OpenVino(precision="bf16"), conv(tmp_path / "m.onnx"))
    assert said.startswith(
        "tiny: precision bf16 is asked for, but openvino runs the model in fp32 on cpu; set precision"
    )


@pytest.mark.skipif(not knows_bf16(), reason="this processor knows no bf16")
def test_bf16_is_computed_in_where_the_processor_knows_it(tmp_path):
    model = OpenVino(precision="bf16").load(spec(conv(tmp_path / "m.onnx")))
    assert model.placement.precision == "bf16"
    model.close()


def test_a_device_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path):
    said = message(OpenVino("npu"), conv(tmp_path / "m.onnx"))
    assert said == "tiny: device npu is asked for, but OpenVINO finds only cpu; install its driver"


def test_fp16_weights_may_be_computed_in_fp32(tmp_path):
    nodes = [helper.make_node("Cast", ["x"], ["h"], to=10), helper.make_node("Conv", ["h", "w"], ["c"]),
             helper.make_node("Cast", ["c"], ["y"], to=1)]  # fmt: skip
    weights = {"w": np.ones((2, 3, 1, 1), np.float16)}
    path = save(tmp_path / "m.onnx", nodes, ["n", 3, 8, 8], ["n", 2, 8, 8], weights=weights)
    model = OpenVino().load(spec(path))
    np.testing.assert_allclose(model(X)[0][:, 0], X.sum(axis=1), rtol=1e-3)
    model.close()


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_calls_beside_each_other_give_their_own_results(hint, tmp_path):
    model = OpenVino(hint=hint).load(spec(conv(tmp_path / "m.onnx")))
    results = [model.submit(X + i) for i in range(7)]
    for i, result in enumerate(results):
        np.testing.assert_allclose(result()[0][:, 0], (X + i).sum(axis=1), rtol=1e-5)
        assert result() is result()
    begun = model.submit(X)
    model.close()
    np.testing.assert_allclose(begun()[0][:, 0], X.sum(axis=1), rtol=1e-5)


def test_a_submitted_array_that_does_not_fit_is_refused_at_once(tmp_path):
    model = OpenVino().load(spec(conv(tmp_path / "m.onnx")))
    with pytest.raises(EngineError, match=r"^tiny: input 'x' is float32 \(1, 3, 8, 4\); expected"):
        model.submit(X[..., :4])
    model.close()


def test_an_operator_that_does_not_exist_is_told_without_source_positions(tmp_path):
    path = conv(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.node[0].op_type = "Convolve"
    onnx.save(model, path)
    said = message(OpenVino(), path)
    assert said.startswith("tiny: OpenVINO cannot load m.onnx: ")
    assert "Convolve" in said
    assert "Exception from" not in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"device": "gpu"}, "device: is 'gpu'; expected 'cpu', 'npu', or 'gpu:N', such as 'gpu:0'"),
        ({"hint": "fast"}, "hint: is 'fast'; expected latency, throughput"),
        ({"precision": None}, "precision: is None; expected fp32, fp16, bf16, int8"),
        ({"float_rest": "int8"}, "float_rest: is 'int8'; expected fp32, fp16, bf16"),
        ({"threads": 0}, "threads: is 0; expected a whole number, 1 or more"),
    ],
)
def test_a_wrong_word_is_found_by_check_and_refused_by_the_constructor(params, problem):
    assert list(OpenVino.check(params)) == [problem]
    with pytest.raises(EngineError) as e:
        OpenVino(**params)
    assert str(e.value) == f"engines.openvino.OpenVino: {problem}"


@pytest.mark.data
def test_the_real_int8_network_is_read_back_as_int8(data):
    folder = data / "models" / "yolo11n_int8_openvino_model"
    path = next(folder.glob("*.xml"))
    model = OpenVino(precision="int8").load(spec(path))
    at = model.placement
    assert at.precision == "int8"
    assert "person" in model.metadata["names"]
    model.close()
    assert message(OpenVino(precision="fp32"), path).startswith("tiny: precision fp32 is asked for, but openvino runs")
