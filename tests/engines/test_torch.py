"""The torch backend against ONNX Runtime: operator by operator, and on whole networks."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.base import EngineError
from engines.onnx import Onnx
from tests.engines.models import conv, spec

torch = pytest.importorskip("torch")

from engines.torch import Torch  # noqa: E402

RNG = np.random.default_rng(0)
X = (2, 6, 8, 10)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def noise(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


CASES = [
    *[(name, {}, ["x"]) for name in ("Abs", "Exp", "Neg", "Sigmoid", "Relu", "Tanh", "Erf", "HardSwish", "Softplus")],
    *[(name, {}, ["x"]) for name in ("Floor", "Ceil", "Round", "Sin", "Cos", "Sign", "Reciprocal", "Identity")],
    *[(name, {}, ["x", noise(6, 1, 1)]) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min")],
    *[(name, {}, ["x"]) for name in ("GlobalAveragePool", "GlobalMaxPool", "Softmax", "Elu", "HardSigmoid")],
    ("Pow", {}, ["x", f32(2)]),
    ("LeakyRelu", {"alpha": 0.2}, ["x"]),
    ("PRelu", {}, ["x", noise(6, 1, 1)]),
    ("Clip", {}, ["x", np.float32(-0.5), np.float32(0.5)]),
    ("Clip", {}, ["x", "", np.float32(0.5)]),
    ("Softmax", {"axis": 1}, ["x"]),
    ("Conv", {"pads": [1, 1, 1, 1], "strides": [2, 2]}, ["x", noise(4, 6, 3, 3), noise(4)]),
    ("Conv", {"pads": [0, 1, 2, 1], "dilations": [2, 1]}, ["x", noise(4, 6, 3, 3)]),
    ("Conv", {"group": 6, "pads": [1, 1, 1, 1]}, ["x", noise(6, 1, 3, 3)]),
    ("Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, ["x", noise(4, 6, 3, 3)]),
    ("Conv", {"auto_pad": "SAME_LOWER", "strides": [3, 2]}, ["x", noise(4, 6, 4, 3)]),
    ("ConvTranspose", {"strides": [2, 2], "pads": [1, 1, 1, 1]}, ["x", noise(6, 4, 4, 4), noise(4)]),
    ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, ["x"]),
    ("MaxPool", {"kernel_shape": [2, 2], "ceil_mode": 1, "strides": [3, 3]}, ["x"]),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, ["x"]),
    ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, ["x"]),
    ("BatchNormalization", {}, ["x", noise(6), noise(6), noise(6), np.abs(noise(6)) + 0.1]),
    ("InstanceNormalization", {}, ["x", noise(6), noise(6)]),
    ("LayerNormalization", {"axis": -1}, ["x", noise(10), noise(10)]),
    ("LayerNormalization", {"axis": 2}, ["x", noise(8, 10)]),
    ("MatMul", {}, ["x", noise(10, 3)]),
    ("Resize", {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
     ["x", "", f32(1, 1, 2, 2)]),
    ("Resize", {"mode": "nearest"}, ["x", "", "", i64(2, 6, 12, 7)]),
    ("Resize", {"mode": "nearest", "nearest_mode": "ceil", "coordinate_transformation_mode": "align_corners"},
     ["x", "", "", i64(2, 6, 5, 17)]),
    ("Resize", {"mode": "linear"}, ["x", "", f32(1, 1, 1.5, 0.5)]),
    ("Resize", {"mode": "linear", "coordinate_transformation_mode": "align_corners"}, ["x", "", "", i64(2, 6, 16, 19)]),
    ("Resize", {"mode": "cubic", "coordinate_transformation_mode": "pytorch_half_pixel"}, ["x", "", f32(1, 1, 2, 2)]),
    ("Reshape", {}, ["x", i64(0, 3, -1)]),
    ("Transpose", {"perm": [0, 2, 3, 1]}, ["x"]),
    ("Flatten", {"axis": 2}, ["x"]),
    ("Concat", {"axis": 1}, ["x", noise(2, 2, 8, 10), "x"]),
    ("Slice", {}, ["x", i64(1, -4), i64(5, 9223372036854775807), i64(1, 3), i64(2, 1)]),
    ("Slice", {}, ["x", i64(-1), i64(-9223372036854775807), i64(2), i64(-1)]),
    ("Gather", {"axis": 1}, ["x", i64(0, -1, 2)]),
    ("Gather", {"axis": 2}, ["x", np.array(3)]),
    ("GatherElements", {"axis": 3}, ["x", RNG.integers(-10, 10, (2, 6, 8, 4))]),
    ("GatherND", {}, ["x", np.array([[0, 1], [1, 5]])]),
    ("Unsqueeze", {}, ["x", i64(0, -1)]),
    ("Expand", {}, ["x", i64(3, 1, 1, 1, 1)]),
    ("Tile", {}, ["x", i64(1, 2, 1, 3)]),
    ("Pad", {}, ["x", i64(0, 0, 1, 2, 0, 0, 3, 0), np.float32(7)]),
    ("Pad", {"mode": "reflect"}, ["x", i64(0, 0, 1, 2, 0, 0, 3, 1)]),
    ("Pad", {"mode": "edge"}, ["x", i64(0, 0, 1, 2, 0, 0, 3, 1)]),
    ("ReduceMean", {"axes": [2, 3], "keepdims": 0}, ["x"]),
    ("ReduceMax", {"axes": [1]}, ["x"]),
    ("ReduceMin", {}, ["x"]),
    ("ReduceL2", {"axes": [1]}, ["x"]),
    ("ReduceSum", {}, ["x", i64(1, 2)]),
    ("DepthToSpace", {"blocksize": 2}, ["x4"]),
    ("DepthToSpace", {"blocksize": 2, "mode": "CRD"}, ["x4"]),
    ("Einsum", {"equation": "nchw,wk->nchk"}, ["x", noise(10, 3)]),
    ("CumSum", {}, ["x", np.array(2)]),
    ("Mod", {"fmod": 1}, ["x", f32(0.7)]),
    ("Cast", {"to": TensorProto.FLOAT}, ["x"]),
]  # fmt: skip


def single(path, operator, attributes, inputs, *, outputs=1):
    """A file with one operator, on the input x."""
    weights, names = [], []
    for i, given in enumerate(inputs):
        if isinstance(given, str):
            names.append("x" if given == "x4" else given)
        else:
            weights.append(numpy_helper.from_array(np.asarray(given), f"w{i}"))
            names.append(f"w{i}")
    shape = (2, 8, 8, 10) if any(isinstance(given, str) and given == "x4" for given in inputs) else X
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))]
    results = [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, None) for i in range(outputs)]
    node = helper.make_node(operator, names, [f"y{i}" for i in range(outputs)], **attributes)
    graph = helper.make_graph([node], "test", ends, results, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path, shape


def both(path, *inputs):
    """Outputs of ONNX Runtime and of PyTorch."""
    found = []
    for engine in (Onnx(precision=None, warm_up=0), Torch(warm_up=0)):
        model = engine.load(spec(path))
        found.append(model(*inputs))
        model.close()
    return found


@pytest.mark.parametrize(("operator", "attributes", "inputs"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_an_operator_gives_what_onnx_runtime_gives(operator, attributes, inputs, tmp_path):
    path, shape = single(tmp_path / "m.onnx", operator, attributes, inputs)
    wanted, got = both(path, noise(*shape))
    assert [y.shape for y in got] == [y.shape for y in wanted]
    np.testing.assert_allclose(got[0], wanted[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("attributes", "sizes"), [({"axis": 1}, [2, 4]), ({"axis": 1}, None)])
def test_a_split_has_several_outputs(attributes, sizes, tmp_path):
    path, shape = single(tmp_path / "m.onnx", "Split", attributes, ["x", i64(*sizes)] if sizes else ["x"], outputs=2)
    wanted, got = both(path, noise(*shape))
    for y, z in zip(wanted, got, strict=True):
        np.testing.assert_array_equal(y, z)


def test_shapes_are_followed_whatever_the_batch(tmp_path):
    """Reshape to (batch, 3, -1), where the batch is read from the shape of the input."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["y"]),
    ]
    weights = {"zero": np.array(0), "axes": i64(0), "rest": i64(3, -1)}
    path = tmp_path / "m.onnx"
    ends = [helper.make_tensor_value_info("x", 1, ["n", 3, 4, 4]), helper.make_tensor_value_info("y", 1, ["n", 3, 16])]
    held = [numpy_helper.from_array(v, k) for k, v in weights.items()]
    graph = helper.make_graph(nodes, "test", ends[:1], ends[1:], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    model = Torch().load(spec(path))
    for batch in (1, 3):
        x = noise(batch, 3, 4, 4)
        np.testing.assert_array_equal(model(x)[0], x.reshape(batch, 3, 16))
    model.close()


def test_an_operator_that_it_does_not_have_is_named(tmp_path):
    path, _ = single(tmp_path / "m.onnx", "Det", {}, ["x"])
    with pytest.raises(EngineError, match=r"m.onnx holds operators that the torch backend does not have: Det; choose"):
        Torch().load(spec(path))


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 2e-3), ("bf16", 2e-2)])
def test_half_precision_is_computed_in_and_fp32_comes_out(precision, tolerance, tmp_path):
    model = Torch(precision=precision).load(spec(conv(tmp_path / "m.onnx")))
    x = RNG.random((1, 3, 8, 8), np.float32)
    (y,) = model(x)
    assert (y.dtype, model.placement.precision) == (np.float32, precision)
    np.testing.assert_allclose(y[:, 0], x.sum(axis=1), rtol=tolerance)
    assert (y[:, 0] != x.sum(axis=1)).any()
    model.close()


@pytest.mark.parametrize("channels_last", [False, True])
def test_channels_last_gives_the_same(channels_last, tmp_path):
    model = Torch(channels_last=channels_last).load(spec(conv(tmp_path / "m.onnx")))
    x = RNG.random((2, 3, 8, 8), np.float32)
    np.testing.assert_allclose(model(x)[0][:, 0], x.sum(axis=1), rtol=1e-5)
    model.close()


def test_arrays_on_the_device_stay_there(tmp_path):
    model = Torch().load(spec(conv(tmp_path / "m.onnx")))
    x = torch.rand(1, 3, 8, 8)
    (y,) = model.on_device(x)
    assert isinstance(y, torch.Tensor)
    np.testing.assert_array_equal(y.numpy(), model(x.numpy())[0])
    model.close()


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"device": "gpu"}, "device: is 'gpu'; expected 'cpu', or 'cuda:N' for the GPU number N, such as 'cuda:0'"),
        ({"mode": "fast"}, "mode: is 'fast'; expected eager, compile, graph"),
        ({"mode": "graph"}, "mode: is 'graph', which is a CUDA graph, but device is 'cpu'; take eager or compile"),
        ({"precision": "int8"}, "precision: is 'int8'; expected fp32, fp16, bf16"),
        ({"threads": 0}, "threads: is 0; expected a whole number, 1 or more"),
    ],
)
def test_a_wrong_word_is_found_by_check_and_refused_by_the_constructor(params, problem):
    assert list(Torch.check(params)) == [problem]
    with pytest.raises(EngineError) as e:
        Torch(**params)
    assert str(e.value) == f"engines.torch.Torch: {problem}"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error_with_its_cause(tmp_path):
    with pytest.raises(EngineError, match=r"^tiny: device cuda:0 is asked for, but .*; set device to cpu"):
        Torch("cuda:0").load(spec(conv(tmp_path / "m.onnx")))


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "shape", "white", "at_most"),
    [
        ("derived/yolo11n_dequant_640.onnx", (1, 3, 640, 640), 1, 1e-10),
        ("yolox_nano_416.onnx", (1, 3, 416, 416), 255, 1e-10),
        ("derived/fastdepth_nyu_dequant.onnx", (1, 3, 224, 224), 1, 1e-10),
        ("yolov8n_int8_dynamic.onnx", (1, 3, 640, 640), 1, 1e-3),
    ],
)
def test_a_real_network_gives_what_onnx_runtime_gives(data, file, shape, white, at_most):
    x = RNG.random(shape, np.float32) * white
    wanted, got = both(data / "models" / file, x)
    assert np.mean((got[0] - wanted[0]) ** 2) / wanted[0].var() < at_most


def test_a_network_at_many_sizes_is_compiled_for_each_of_them(monkeypatch):
    """PyTorch counts by the code that is called, and from the ninth on would run uncompiled with a warning."""
    from engines.torch.model import _compiled

    compiled = []

    def backend(graph, inputs):
        compiled.append(inputs)
        return graph.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda call, dynamic: real(call, dynamic=dynamic, backend=backend))
    module = torch.nn.Hardtanh()
    calls = [_compiled(module) for _ in range(10)]
    with torch.inference_mode():
        for _ in range(2):
            for n, call in enumerate(calls):
                assert call(torch.full((n + 1,), 3.0)).tolist() == [1.0] * (n + 1)
    assert len(compiled) == 10


def test_a_failed_run_on_arrays_of_the_device_says_which_model(tmp_path):
    model = Torch().load(spec(conv(tmp_path / "m.onnx")))
    with pytest.raises(EngineError, match=r"^tiny: the run failed on cpu: "):
        model.on_device(torch.rand(1, 5, 8, 8))
    model.close()
    with pytest.raises(EngineError, match=r"^tiny: the run failed on cpu: the model is closed"):
        model.on_device(torch.rand(1, 3, 8, 8))


def test_half_precision_comes_out_as_described_on_the_device_too(tmp_path):
    model = Torch(precision="bf16").load(spec(conv(tmp_path / "m.onnx")))
    (y,) = model.on_device(torch.rand(1, 3, 8, 8))
    assert str(y.dtype) == f"torch.{model.outputs[0].dtype}"
    model.close()
