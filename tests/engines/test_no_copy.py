"""An array that is contiguous and of the right type is read where it lies: a call takes no memory for another one."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from nodes.measuring.machine import forget_peak, peak_bytes, resident_bytes
from tests.contract.test_engines import needs, openvino, torch
from tests.engines.models import save, spec

SIDE = 2048
"""Of images (1, 3, SIDE, SIDE): 50 MB of float32."""
NBYTES = 3 * SIDE * SIDE * 4


def onnx():
    from engines.onnx import Onnx

    return Onnx()


engines = pytest.mark.parametrize(
    "make",
    [
        pytest.param(onnx, id="onnx"),
        pytest.param(openvino, id="openvino", marks=needs("openvino")),
        pytest.param(torch, id="torch", marks=needs("torch")),
    ],
)


@pytest.fixture
def corner(tmp_path) -> Path:
    """A model that gives the first value of a large input, which needs no memory."""
    ends = {"starts": np.zeros(4, np.int64), "ends": np.ones(4, np.int64), "axes": np.arange(4)}
    nodes = [helper.make_node("Slice", ["x", *ends], ["y"])]
    return save(tmp_path / "corner.onnx", nodes, [1, 3, SIDE, SIDE], [1, 1, 1, 1], weights=ends)


def taken_by(model, x) -> int:
    """Bytes that the process held at most during a call, beyond those before."""
    if not forget_peak():
        pytest.skip("this system does not forget the most memory that was in use")
    before = resident_bytes()
    (y,) = model(x)
    assert y.shape == (1, 1, 1, 1)
    assert y.ravel()[0] == x[0, 0, 0, 0]
    return peak_bytes() - before


def load(make, path):
    """Not warmed up: buffers that copies would go to have not been touched yet."""
    engine = make()
    engine.warm_up = 0
    return engine.load(spec(path))


@engines
def test_a_contiguous_input_is_not_copied(make, corner):
    x = np.random.default_rng(0).random((1, 3, SIDE, SIDE), np.float32)
    model = load(make, corner)
    assert taken_by(model, x) < NBYTES / 4
    model.close()


@engines
def test_the_measurement_sees_a_copy(make, corner):
    x = np.random.default_rng(0).random((1, SIDE, SIDE, 3), np.float32).transpose(0, 3, 1, 2)
    model = load(make, corner)
    assert taken_by(model, x.copy(order="K")) > 0.9 * NBYTES
    model.close()


def test_openvino_reads_the_array_itself(corner):
    pytest.importorskip("openvino", reason="openvino is not installed")
    model, x = load(openvino, corner), np.ones((1, 3, SIDE, SIDE), np.float32)
    model(x)
    assert model._idle[0].get_input_tensor(0).data.ctypes.data == x.ctypes.data
    model.close()


def test_pytorch_reads_the_array_itself(corner):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    model, x = load(torch, corner), np.ones((1, 3, SIDE, SIDE), np.float32)
    ((shapes, module),) = model._modules.items()
    seen = []
    model._modules[shapes] = lambda fed: seen.append(fed.data_ptr()) or module(fed)
    model(x)
    assert seen == [x.ctypes.data]
    model.close()
