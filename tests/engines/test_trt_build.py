import pytest

from engines.base import EngineError
from engines.trt import build as trt_build
from engines.trt.api import TensorRt
from tests.engines import trt_models as models
from tests.engines.models import conv
from tests.engines.standin_cuda import StandInDriver
from tests.engines.standin_tensorrt import StandInTensorRt

TARGETS = ("sm75", "sm86", "sm89")


def standin(flavour):
    trt = StandInTensorRt(flavour, StandInDriver())
    return trt, TensorRt("tensorrt_rtx" if flavour == "rtx" else "tensorrt", trt)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("batch", [1, "n"], ids=["fixed", "free"])
def test_a_convolution_is_built_without_a_gpu(precision, batch, target, rtx, tmp_path):
    path = models.conv(tmp_path / "m.onnx", precision=precision, batch=batch)
    built = trt_build.build(rtx, path, target=target, batch=(1, 2, 4))
    assert len(built.data) > 1000
    assert (built.target, built.batch) == (target, None if batch == 1 else (1, 2, 4))
    assert 0 < built.seconds < 60


@pytest.mark.parametrize("target", TARGETS)
def test_an_attention_like_product_in_fp16_is_built_without_a_gpu(target, rtx, tmp_path):
    assert trt_build.build(rtx, models.matmul(tmp_path / "m.onnx", precision="fp16"), target=target).data


def test_sizes_that_the_file_leaves_free_are_those_that_the_node_feeds(rtx, tmp_path):
    path = conv(tmp_path / "m.onnx", size="s")
    assert trt_build.build(rtx, path, target="sm86", inputs={"": (1, 3, 8, 8)}).batch == (1, 1, 4)
    with pytest.raises(EngineError, match=r"^m\.onnx cannot be built for sm86: input 'x' is \(any, 3, any, any\)"):
        trt_build.build(rtx, path, target="sm86")


def test_progress_is_told_step_by_step(rtx, tmp_path):
    told = []
    trt_build.build(rtx, conv(tmp_path / "m.onnx"), target="sm86", on_progress=lambda *step: told.append(step))
    assert len(told) > 5
    assert all(name and 1 <= step <= count for name, step, count in told)


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_an_error_while_progress_is_told_stops_the_build_and_comes_through(error, rtx, tmp_path):
    calls = []

    def stop(*step):
        calls.append(step)
        raise error

    with pytest.raises(error):
        trt_build.build(rtx, conv(tmp_path / "m.onnx"), target="sm86", on_progress=stop)
    assert len(calls) < 5


def test_an_unknown_target_is_refused_with_those_that_there_are(rtx, tmp_path):
    with pytest.raises(EngineError, match=r"builds for sm75, sm80, .*; target is 'sm61'$"):
        trt_build.build(rtx, models.conv(tmp_path / "m.onnx"), target="sm61")


def test_a_file_that_is_no_model_is_refused_by_name(rtx, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_text("no model")
    with pytest.raises(EngineError, match=rf"^{path} cannot be read as an ONNX model: "):
        trt_build.build(rtx, path, target="sm86")


def test_the_workspace_is_limited(rtx, tmp_path):
    assert trt_build.build(rtx, conv(tmp_path / "m.onnx"), target="sm86", workspace_mb=64).data


@pytest.mark.parametrize("flavour", ["10", "11", "rtx"])
def test_types_are_those_of_the_file_and_tf32_is_off_on_every_version(flavour, tmp_path):
    trt, api = standin(flavour)
    trt_build.build(api, conv(tmp_path / "m.onnx"), target="sm86" if flavour == "rtx" else "current", workspace_mb=2)
    network, config = trt.built
    assert network.flags == 2
    assert (config.flags, config.cleared) == ([], ["TF32"])
    assert config.target == ("SM86" if flavour == "rtx" else None)
    assert list(config.pools.values()) == [2 << 20]


def test_on_tensorrt_10_the_builder_may_choose_a_lower_precision(tmp_path):
    trt, api = standin("10")
    trt_build.build(api, conv(tmp_path / "m.onnx"), target="current", precision="bf16")
    network, config = trt.built
    assert (network.flags, config.flags) == (0, ["BF16"])


def test_tensorrt_builds_for_the_gpu_that_is_there_only(tmp_path):
    _, api = standin("11")
    with pytest.raises(EngineError, match=r"^tensorrt 11\.4\.0\.106 builds for the GPU that is there only"):
        trt_build.build(api, conv(tmp_path / "m.onnx"), target="sm75")


def test_a_build_that_answers_none_says_what_the_log_says(tmp_path):
    trt, api = standin("11")
    trt.fail.add("build_serialized_network")
    trt.reason = "IBuilder::buildSerializedNetwork: Error Code 10: no tactic for node_7 (In f at /_src/a.cpp:3)"
    with pytest.raises(EngineError) as e:
        trt_build.build(api, conv(tmp_path / "m.onnx"), target="current")
    assert str(e.value) == "tensorrt 11.4.0.106 cannot build m.onnx for current: no tactic for node_7"
