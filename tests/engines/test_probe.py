import subprocess
import sys

from onnx import TensorProto, helper

from engines import nvidia
from engines.base import EngineError
from engines.probe import TINY_MODEL, Finding, probe
from engines.trt import api as trt_api


def test_the_tiny_model_is_what_its_comment_says():
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "t", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert model.SerializeToString(deterministic=True) == TINY_MODEL


def test_a_session_on_the_cpu_works():
    found = {(f.area, f.name): f for f in probe()}
    cpu = found["onnxruntime", "cpu"]
    assert cpu == Finding("onnxruntime", "cpu", "works", "a session runs on CPUExecutionProvider")


def test_everything_is_named_once_and_what_does_not_work_has_a_remedy():
    findings = probe()
    assert [(f.area, f.name) for f in findings if f.name != "packages"] == [
        ("onnxruntime", "onnxruntime"),
        ("onnxruntime", "cpu"),
        ("onnxruntime", "cuda"),
        ("onnxruntime", "tensorrt"),
        ("packages", "openvino"),
        ("packages", "torch"),
        ("packages", "tensorrt"),
        ("packages", "tensorrt_rtx"),
        ("packages", "cuda-bindings"),
        ("gpu", "nvidia"),
    ]
    assert all(bool(f.remedy) == (f.status != "works") for f in findings)
    assert all(f.detail for f in findings)


def test_a_library_that_is_not_there_is_told_in_the_words_of_the_linker():
    problem = nvidia.first_problem(["libc.so.6", "libnothing.so.1"])
    assert problem is not None
    assert problem.startswith("libnothing.so.1: ")


def test_tensorrt_for_rtx_is_really_tried(rtx):
    (found,) = (f for f in probe() if f.name == "tensorrt_rtx")
    assert found.status == "works"
    assert found.detail == f"{rtx.version} makes a builder; builds for {', '.join(rtx.targets)}"


def test_a_package_that_is_installed_but_cannot_be_imported_is_broken(rtx, monkeypatch):
    def fail(name):
        raise EngineError(f"the package {name} cannot be used: no libnvinfer")

    monkeypatch.setattr(trt_api, "open_package", fail)
    (found,) = (f for f in probe() if f.name == "tensorrt_rtx")
    assert (found.status, found.remedy) == ("broken", "run: pip install tensorrt-rtx-cu13")
    assert found.detail == "the package tensorrt_rtx cannot be used: no libnvinfer"


def test_importing_the_engines_loads_no_runtime():
    code = "import sys, engines.onnx, engines.probe; print('onnxruntime' in sys.modules, 'rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
