"""What every engine must do. A new engine joins with one line in ENGINES."""

import gc
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from engines import nvidia
from engines.base import Engine, EngineError, ModelSpec, Weights
from engines.onnx import Onnx
from engines.trt import Trt
from tests.engines.models import conv, spec
from tests.engines.trt_on_standin import TrtOnStandIn

NO_CUDA = next(iter(Onnx.check({"device": "cuda:0"})), None) or nvidia.load_problem("libcuda.so.1")
GPU = [pytest.mark.gpu, pytest.mark.skipif(bool(NO_CUDA), reason=str(NO_CUDA))]
NO_TENSORRT = next(iter(Trt.check({})), None) or nvidia.load_problem("libcuda.so.1")
TENSORRT = [pytest.mark.gpu, pytest.mark.skipif(bool(NO_TENSORRT), reason=str(NO_TENSORRT))]


def needs(package: str) -> list[pytest.MarkDecorator]:
    """Skips where `package` is not installed: the light tests do without the heavy ones."""
    return [pytest.mark.skipif(find_spec(package) is None, reason=f"the package {package} is not installed")]


def openvino() -> Engine:
    from engines.openvino import OpenVino

    return OpenVino()


def torch(device: str = "cpu", mode: Literal["eager", "graph"] = "eager") -> Engine:
    from engines.torch import Torch

    return Torch(device, mode=mode)


def torch_gpu() -> list[pytest.MarkDecorator]:
    """PyTorch and a GPU that it works on; asked of the driver, so that nothing heavy is imported to find out."""
    missing = "the package torch is not installed" if find_spec("torch") is None else None
    problem = missing or nvidia.load_problem("libcuda.so.1")
    return [pytest.mark.gpu, pytest.mark.skipif(bool(problem), reason=str(problem))]


ENGINES = [
    pytest.param(Onnx, "cpu", id="onnx-cpu"),
    pytest.param(openvino, "cpu", id="openvino-cpu", marks=needs("openvino")),
    pytest.param(torch, "cpu", id="torch-cpu", marks=needs("torch")),
    pytest.param(lambda: Onnx("cuda:0"), "cuda:0", id="onnx-cuda", marks=GPU),
    pytest.param(lambda: torch("cuda:0"), "cuda:0", id="torch-cuda", marks=torch_gpu()),
    pytest.param(lambda: torch("cuda:0", "graph"), "cuda:0", id="torch-cuda-graph", marks=torch_gpu()),
    pytest.param(lambda: Trt("cuda:0", "fp32", batch=(1, 1, 8)), "cuda:0", id="trt", marks=TENSORRT),
    *(
        pytest.param(partial(TrtOnStandIn, flavour, batch=(1, 1, 8)), "cuda:0", id=f"trt-{flavour}-standin")
        for flavour in ("10", "11", "rtx")
    ),
]
engines = pytest.mark.parametrize(("make", "device"), ENGINES)
Make = Callable[[], Engine]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """What is built in a test is not kept for the next."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@engines
def test_gives_the_right_outputs_for_every_batch_size(make: Make, device, tmp_path):
    model = make().load(spec(conv(tmp_path / "m.onnx")))
    for batch in (1, 2, 5):
        x = np.random.default_rng(batch).random((batch, 3, 8, 8), np.float32)
        (y,) = model(x)
        expected = x.sum(axis=1)
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, np.stack([expected, 2 * expected], axis=1), rtol=1e-4)
    model.close()


@engines
def test_an_array_that_is_not_contiguous_gives_the_same_result(make: Make, device, tmp_path):
    model = make().load(spec(conv(tmp_path / "m.onnx")))
    x = np.random.default_rng(0).random((1, 8, 8, 3), np.float32).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(model(x)[0], model(np.ascontiguousarray(x))[0], rtol=1e-5)
    model.close()


@engines
def test_does_not_write_into_its_input(make: Make, device, tmp_path):
    model = make().load(spec(conv(tmp_path / "m.onnx")))
    x = np.ones((1, 3, 8, 8), np.float32)
    x.flags.writeable = False
    model(x)
    assert (x == 1).all()
    model.close()


@engines
def test_an_output_stays_as_it_is_when_the_model_runs_again(make: Make, device, tmp_path):
    model = make().load(spec(conv(tmp_path / "m.onnx")))
    (first,) = model(np.ones((1, 3, 8, 8), np.float32))
    model(np.zeros((1, 3, 8, 8), np.float32))
    assert (first[:, 0] == 3).all()
    model.close()


@engines
def test_says_where_it_runs(make: Make, device, tmp_path):
    model = make().load(spec(conv(tmp_path / "m.onnx")))
    at = model.placement
    assert (at.device, at.requested_device, at.fallback, at.precision) == (device, device, False, "fp32")
    assert at.reason.startswith("as requested")
    assert at.provider
    model.close()


@engines
def test_describes_inputs_outputs_and_metadata(make: Make, device, tmp_path):
    model = make().load(spec(conv(tmp_path / "m.onnx")))
    assert [(t.name, t.shape, t.dtype) for t in model.inputs] == [("x", (None, 3, 8, 8), np.float32)]
    assert [(t.name, t.shape, t.dtype) for t in model.outputs] == [("y", (None, 2, 8, 8), np.float32)]
    assert model.metadata["names"] == "{0: 'person'}"
    model.close()


@engines
@pytest.mark.parametrize(
    ("x", "what"),
    [
        (np.zeros((1, 3, 8, 9), np.float32), "float32 (1, 3, 8, 9)"),
        (np.zeros((3, 8, 8), np.float32), "float32 (3, 8, 8)"),
        (np.zeros((1, 3, 8, 8), np.uint8), "uint8 (1, 3, 8, 8)"),
    ],
)
def test_a_wrong_input_is_refused_by_name_with_what_came_and_what_was_expected(make: Make, device, x, what, tmp_path):
    model = make().load(spec(conv(tmp_path / "m.onnx")))
    with pytest.raises(EngineError) as e:
        model(x)
    assert str(e.value) == f"tiny: input 'x' is {what}; expected float32 (any, 3, 8, 8)"
    model.close()


@engines
def test_a_wrong_number_of_inputs_is_refused(make: Make, device, tmp_path):
    model = make().load(spec(conv(tmp_path / "m.onnx")))
    with pytest.raises(EngineError, match=r"^tiny: 0 arrays are given; the model takes 1: \['x'\]$"):
        model()
    model.close()


@engines
def test_a_closed_model_says_so_and_may_be_closed_again(make: Make, device, tmp_path):
    model = make().load(spec(conv(tmp_path / "m.onnx")))
    model.close()
    model.close()
    with pytest.raises(EngineError, match=r"^tiny: the model is closed; load it again$"):
        model(np.zeros((1, 3, 8, 8), np.float32))


@engines
def test_two_models_of_one_engine_do_not_disturb_each_other(make: Make, device, tmp_path):
    engine = make()
    first = engine.load(spec(conv(tmp_path / "a.onnx", size=8)))
    second = engine.load(spec(conv(tmp_path / "b.onnx", size=4)))
    first.close()
    assert second(np.ones((1, 3, 4, 4), np.float32))[0].shape == (1, 2, 4, 4)
    second.close()


@engines
def test_a_model_with_another_input_size_does_not_load(make: Make, device, tmp_path):
    with pytest.raises(EngineError) as e:
        make().load(spec(conv(tmp_path / "m.onnx"), 1, 3, 4, 4))
    assert str(e.value) == (
        "tiny: input 'x' of m.onnx is (any, 3, 8, 8), but (1, 3, 4, 4) is wanted; "
        "set size_wh to [8, 8], or export the model at the wanted size"
    )


@engines
@pytest.mark.parametrize("content", [b"", b"no model", bytes(500), b"cut"], ids=["empty", "text", "zeros", "cut"])
def test_a_damaged_file_does_not_load_and_is_named(make: Make, device, content, tmp_path):
    path = conv(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-40] if content == b"cut" else content)
    with pytest.raises(EngineError, match=rf"^tiny: {path} (is empty; get|cannot be read as .* again)"):
        make().load(spec(path))


@engines
def test_a_missing_file_does_not_load_and_the_nearest_name_is_given(make: Make, device, tmp_path):
    there = conv(tmp_path / "yolo11n.onnx")
    with pytest.raises(EngineError) as e:
        make().load(ModelSpec("tiny", Weights(str(tmp_path / "yolo11.onnx"))))
    assert str(e.value) == f"tiny: weights: there is no file '{tmp_path}/yolo11.onnx'; did you mean '{there}'?"


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@engines
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to read the memory in use")
def test_loading_and_closing_again_and_again_leaves_nothing_behind(make: Make, device, tmp_path):
    path = conv(tmp_path / "m.onnx", batch=1, size=256)

    def load_and_close() -> None:
        model = make().load(spec(path))
        model(np.ones((1, 3, 256, 256), np.float32))
        model.close()

    def growth() -> int:
        before = _resident_bytes()
        for _ in range(20):
            load_and_close()
        gc.collect()
        return _resident_bytes() - before

    load_and_close()
    # One kept input and output of each would be 26 MB in every round; pools of memory and threads grow once and stay.
    assert any(growth() < 8e6 for _ in range(5))
