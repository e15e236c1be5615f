import re
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from engines import nvidia
from engines.base import EngineError, OutOfMemoryError
from engines.trt import api as trt_api
from engines.trt import types as trt_types
from engines.trt.api import TensorRt, open_package
from engines.trt.log import Log, plain
from tests.engines import standin_tensorrt
from tests.engines.standin_cuda import StandInDriver
from tests.engines.standin_tensorrt import StandInTensorRt

CLASSES = {
    "Builder": trt_types.Builder,
    "OnnxParser": trt_types.Parser,
    "INetworkDefinition": trt_types.Network,
    "IOptimizationProfile": trt_types.Profile,
    "IBuilderConfig": trt_types.Config,
    "IExecutionContext": trt_types.Context,
    "ICudaEngine": trt_types.CudaEngine,
    "Runtime": trt_types.Runtime,
}
STAND_INS = {
    "Builder": "Builder",
    "OnnxParser": "Parser",
    "IBuilderConfig": "Config",
    "IOptimizationProfile": "Profile",
    "IExecutionContext": "Context",
    "ICudaEngine": "Engine",
    "Runtime": "Runtime",
    "IRuntimeConfig": "RuntimeConfig",
    "IRuntimeCache": "RuntimeCache",
}
OWN = {"kind", "trt", "engine", "flags", "cleared", "profiles", "pools", "target", "shapes"}


def members(of: type) -> set[str]:
    return {name for name in {*vars(of), *vars(of).get("__annotations__", {})} if not name.startswith("_")}


def standin(flavour="11"):
    return StandInTensorRt(flavour, StandInDriver())


@pytest.mark.parametrize("name", CLASSES)
def test_the_real_classes_have_every_member_that_is_used(name, rtx):
    assert members(CLASSES[name]) <= set(dir(getattr(rtx.module, name)))


@pytest.mark.parametrize("name", STAND_INS)
def test_the_stand_ins_have_no_method_that_the_real_classes_lack(name, rtx):
    stand_in = getattr(standin_tensorrt, STAND_INS[name])
    assert members(stand_in) <= set(dir(getattr(rtx.module, name)))


def test_the_arguments_of_the_protocols_have_the_real_names(rtx):
    checked = 0
    for name, protocol in CLASSES.items():
        for method in members(protocol):
            real = getattr(getattr(rtx.module, name), method).__doc__ or ""
            wanted = getattr(vars(protocol).get(method), "__code__", None)
            if wanted and method != "create_execution_context":
                for argument in wanted.co_varnames[1 : wanted.co_argcount]:
                    assert re.search(rf"\b{argument}: ", real), f"{name}.{method}: {argument}"
                    checked += 1
    assert checked > 25


@pytest.mark.parametrize("flavour", ["10", "11", "rtx"])
def test_the_differences_between_the_packages_are_found(flavour):
    api = TensorRt("tensorrt_rtx" if flavour == "rtx" else "tensorrt", standin(flavour))
    assert api.rtx == (flavour == "rtx")
    assert api.takes_flags == (flavour == "10")
    assert api.targets == (("sm75", "sm86", "sm89", "sm120") if flavour == "rtx" else ())


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0.26", "10.12.0"])
def test_a_tensorrt_that_is_too_old_is_refused_with_the_reason(version):
    trt = standin("10")
    trt.__version__ = version
    with pytest.raises(
        EngineError, match=rf"^tensorrt {version} is installed, but 10.13 is the oldest that .*run: pip"
    ):
        TensorRt("tensorrt", trt)


def test_a_package_that_is_not_installed_is_refused_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(
        EngineError, match=r'^the package tensorrt cannot be used: .*; run: pip install "tensorrt>=10.13"'
    ):
        open_package("tensorrt")


def test_auto_takes_the_first_that_works_and_without_any_says_why_for_each(monkeypatch):
    works = {"tensorrt_rtx": TensorRt("tensorrt_rtx", standin("rtx"))}

    def opened(name):
        if name not in works:
            raise EngineError(f"no {name}")
        return works[name]

    monkeypatch.setattr(trt_api, "_opened", opened)
    assert open_package.__wrapped__("auto") is works["tensorrt_rtx"]
    works["tensorrt"] = TensorRt("tensorrt", standin("11"))
    assert open_package.__wrapped__("auto") is works["tensorrt"]
    assert open_package.__wrapped__("tensorrt_rtx") is works["tensorrt_rtx"]
    works.clear()
    with pytest.raises(EngineError, match=r"^no tensorrt; no tensorrt_rtx$"):
        open_package.__wrapped__("auto")


def fail(api, *messages, answer=None):
    """Fail to do something, while TensorRT says these things as errors."""
    with api.failing("do it") as need:
        for message in messages:
            api.log.add("ERROR", message)
        need(answer)


def test_a_none_says_what_the_log_says_without_the_places_in_nvidias_sources():
    messages = (
        "[a.cpp::f::250] Error Code 1: Cuda Runtime (In f at /_src/a.cpp:250 (cudaError 35))",
        "IBuilder::build: Error Code 2: bad (In operator() at /_src/b.cpp:3)",
    )
    with pytest.raises(EngineError) as e:
        fail(TensorRt("tensorrt", standin()), *messages)
    assert str(e.value) == "tensorrt 11.4.0.106 cannot do it: Cuda Runtime (cudaError 35); bad"
    assert type(e.value) is EngineError


def test_warnings_are_no_reason():
    api = TensorRt("tensorrt", standin())
    with api.log.listen() as heard:
        api.log.add("WARNING", "never mind")
        api.log.add("INTERNAL_ERROR", "mind")
    assert heard == ["mind"]


@pytest.mark.parametrize("text", ["Error Code 2: OutOfMemory (no further information)", "CUDA error: out of memory"])
def test_too_little_memory_is_told_apart(text):
    with pytest.raises(OutOfMemoryError):
        fail(TensorRt("tensorrt", standin()), text, answer=False)


def test_a_failure_has_its_own_messages_and_not_those_of_before():
    api = TensorRt("tensorrt", standin())
    api.log.add("ERROR", "old")
    with pytest.raises(EngineError, match=r"cannot do it: it gives no reason$"):
        fail(api)


def test_messages_of_other_threads_are_heard():
    log = Log()
    with log.listen() as heard:
        thread = threading.Thread(target=log.add, args=("ERROR", "from elsewhere"))
        thread.start()
        thread.join()
    assert heard == ["from elsewhere"]


def test_an_exception_of_the_bindings_is_an_engine_error_with_its_text():
    api = TensorRt("tensorrt", standin())
    with pytest.raises(EngineError, match=r"cannot do it: wrong argument$"), api.failing("do it"):
        raise TypeError("wrong argument")


def test_a_message_is_said_once():
    assert plain(["a", "a", "", "b."]) == "a; b"


def test_a_type_that_numpy_lacks_is_refused_by_name():
    api = TensorRt("tensorrt", standin())
    engine = SimpleNamespace(get_tensor_dtype=lambda _: SimpleNamespace(name="BF16"))
    with pytest.raises(EngineError, match=r"^'x' is BF16, which numpy does not have; export the model with float32"):
        api.dtype(engine, "x")


def test_the_real_runtime_answers_none_to_what_is_no_engine_and_the_reason_comes_from_its_log(rtx):
    with pytest.raises(EngineError, match=r"^tensorrt_rtx [\d.]+ cannot load the engine: .*magicTag"):
        rtx.engine(rtx.runtime(), bytes(500))


def test_the_real_runtime_says_that_there_is_no_gpu(rtx, tmp_path):
    if nvidia.load_problem("libcuda.so.1") is None:
        pytest.skip("an NVIDIA driver is installed")
    from engines.trt.build import build
    from tests.engines.trt_models import conv

    data = build(rtx, conv(tmp_path / "m.onnx"), target="sm75").data
    with pytest.raises(EngineError, match=r"cannot load the engine: .*CUDA driver version is insufficient"):
        rtx.engine(rtx.runtime(), data)


def test_importing_the_engine_loads_none_of_nvidias_packages():
    code = (
        "import sys, engines.trt; print([n for n in ('tensorrt', 'tensorrt_rtx', 'cuda', 'onnx') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
