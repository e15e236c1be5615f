"""The check before the build: what it refuses, the builder refuses as well, and what it lets through is built."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from engines import onnx_graph
from engines.base import EngineError
from engines.trt import build as trt_build
from engines.trt import check as trt_check
from tests.engines import trt_models as models
from tests.engines.models import conv as free_conv

KNOWN = {"Conv", "MatMul", "Cast", "QuantizeLinear", "DequantizeLinear", "Transpose", "NonZero", "NonMaxSuppression"}

TURING_ONLY = {"sm75"}
ALL = {"sm75", "sm86", "sm89"}
REFUSED = [
    pytest.param(models.matmul, TURING_ONLY, "FP32 GEMM is not supported on Turing", id="matmul-fp32"),
    pytest.param(partial(models.matmul, op="Gemm"), TURING_ONLY, "such as Gemm that gives 'y'", id="gemm-fp32"),
    pytest.param(partial(models.matmul, op="Einsum"), TURING_ONLY, "set precision to fp16", id="einsum-fp32"),
    pytest.param(partial(models.quantised, op="MatMul"), TURING_ONLY, "FP32 GEMM", id="int8-matmul-fp32-scale"),
    pytest.param(
        partial(models.matmul_between_casts, to=TensorProto.BFLOAT16), TURING_ONLY, "bf16 needs sm80", id="bf16"
    ),
    pytest.param(models.fp8, {"sm75", "sm86"}, "fp8 ('z') needs sm89 or newer", id="fp8"),
    pytest.param(models.nms, ALL, "(NonMaxSuppression), for which TensorRT for RTX has no kernel", id="nms"),
    pytest.param(models.nonzero, ALL, "export the model without NMS", id="nonzero"),
    pytest.param(partial(models.quantised, bias=True), ALL, "the bias 'b' is INT32", id="int32-bias"),
    pytest.param(partial(models.quantised, point=5), ALL, "the zero point 'z' is not 0", id="int8-shifted"),
    pytest.param(partial(models.quantised, kind=np.uint8, point=128), ALL, "the zero point 'z'", id="uint8-shifted"),
    pytest.param(models.dynamic_quantised, ALL, "quantised with ConvInteger, Dynamic", id="dynamic-quantisation"),
    pytest.param(models.one("Unique"), ALL, "TensorRT does not know Unique", id="unknown-operator"),
    pytest.param(models.one("Foo", "ai.acme"), ALL, "ai.acme.Foo is no standard operator", id="foreign-operator"),
    pytest.param(partial(models.uint8_image, cast_first=False), ALL, "cast it to float first", id="uint8-transposed"),
]
TAKEN = [
    pytest.param(partial(models.matmul, precision="fp16"), id="matmul-fp16"),
    pytest.param(partial(models.matmul, precision="fp16", op="Gemm"), id="gemm-fp16"),
    pytest.param(partial(models.matmul_between_casts, to=TensorProto.FLOAT16), id="fp16-between-casts"),
    pytest.param(models.conv, id="conv-fp32"),
    pytest.param(partial(models.conv, precision="fp16"), id="conv-fp16"),
    pytest.param(models.quantised, id="int8-conv"),
    pytest.param(partial(models.quantised, op="MatMul", scale=np.float16), id="int8-matmul-fp16-scale"),
    pytest.param(partial(models.quantised, kind=np.uint8), id="uint8-symmetric"),
    pytest.param(partial(models.uint8_image, cast_first=True), id="uint8-cast-first"),
]


def unsupported(ops: set[str]) -> list[str]:
    """What the parser of TensorRT for RTX 1.7.1 says of the operators of these tests."""
    return sorted(ops & {"ConvInteger", "DynamicQuantizeLinear", "Unique"})


def found(path: Path, target: str, *, rtx=True) -> list[str]:
    graph = onnx_graph.read(path)
    return trt_check.problems(graph, target=target, rtx=rtx, free=graph.inputs, unsupported=unsupported)


@pytest.mark.parametrize("target", sorted(ALL))
@pytest.mark.parametrize(("make", "targets", "says"), REFUSED)
def test_what_tensorrt_refuses_is_found_for_the_targets_that_it_is_refused_for(make, targets, says, target, tmp_path):
    problems = found(make(tmp_path / "m.onnx"), target)
    assert bool(problems) == (target in targets)
    assert any(says in problem for problem in problems) == (target in targets)
    assert all(": " in problem for problem in problems)


@pytest.mark.parametrize("target", sorted(ALL))
@pytest.mark.parametrize("make", TAKEN)
def test_nothing_is_found_in_what_tensorrt_takes(make, target, tmp_path):
    assert found(make(tmp_path / "m.onnx"), target) == []


@pytest.mark.parametrize("target", sorted(ALL))
@pytest.mark.parametrize(("make", "targets", "says"), REFUSED)
def test_the_builder_itself_refuses_it_for_the_same_targets(make, targets, says, target, rtx, monkeypatch, tmp_path):
    monkeypatch.setattr(trt_check, "problems", lambda *_, **__: [])
    path = make(tmp_path / "m.onnx")
    if target in targets:
        with pytest.raises(EngineError, match=r"^tensorrt_rtx [\d.]+ cannot (read|build) m\.onnx"):
            trt_build.build(rtx, path, target=target)
    else:
        assert trt_build.build(rtx, path, target=target).data


@pytest.mark.parametrize("target", sorted(ALL))
@pytest.mark.parametrize("make", TAKEN)
def test_the_builder_takes_what_the_check_lets_through(make, target, rtx, tmp_path):
    assert trt_build.build(rtx, make(tmp_path / "m.onnx"), target=target).data


def test_the_parser_says_of_operators_what_these_tests_say(rtx):
    asked = {"ConvInteger", "DynamicQuantizeLinear", "Unique", *KNOWN}
    assert rtx.unsupported(asked) == unsupported(asked)


def test_what_only_tensorrt_for_rtx_refuses_is_left_to_tensorrt(tmp_path):
    assert found(models.matmul(tmp_path / "m.onnx"), "sm75", rtx=False) == []
    assert found(models.nms(tmp_path / "n.onnx"), "sm86", rtx=False) == []


def test_a_data_centre_gpu_is_refused_for_tensorrt_for_rtx_only(rtx, tmp_path):
    path = models.conv(tmp_path / "m.onnx")
    (problem,) = found(path, "sm90")
    assert problem.startswith("TensorRT for RTX does not build for sm90, a GPU of the data centre; install tensorrt")
    assert found(path, "sm90", rtx=False) == []
    assert "sm90" not in rtx.targets


def test_a_size_that_stays_free_is_refused_and_the_batch_is_not(tmp_path):
    (problem,) = found(free_conv(tmp_path / "m.onnx", batch="n", size="s"), "sm86")
    assert problem.startswith("input 'x' is (any, 3, any, any): only the first size, the batch, may stay free")
    assert found(free_conv(tmp_path / "n.onnx", batch="n"), "sm86") == []


def test_everything_that_is_wrong_is_said_at_once(tmp_path):
    problems = found(models.quantised(tmp_path / "m.onnx", op="MatMul", point=3), "sm75")
    assert [problem.split()[0] for problem in problems] == ["the", "FP32"]
