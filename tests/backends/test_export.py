"""From PyTorch weights, and random ones, to what each backend loads; and int8 by calibration."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from engines import artifacts, onnx_file
from engines.base import EngineError, ModelSpec, Weights
from engines.onnx import Onnx
from tests.engines.models import conv, spec

torch = pytest.importorskip("torch")
pytest.importorskip("onnxslim")

from engines.torch import Torch  # noqa: E402

RANDOM = ModelSpec("yolo11n", Weights(random=True), {"": (1, 3, 64, 64)}, architecture="yolo11n")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def images(count: int, size: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((1, 3, size, size), np.float32) for _ in range(count)]


def error(a, b) -> float:
    return float(np.mean((a - b) ** 2) / np.var(b))


@pytest.mark.parametrize(("precision", "at_most"), [("fp32", 1e-4), ("fp16", 5e-2)])
def test_random_weights_give_the_same_through_onnx_as_in_pytorch(precision, at_most):
    wanted, got = Torch().load(RANDOM), Onnx(precision=precision).load(RANDOM)
    assert [t.shape for t in got.inputs] == [(None, 3, 64, 64)]
    assert (got.placement.precision, got.placement.path.suffix) == (precision, ".onnx")
    assert got.placement.reason == f"as requested; made in {precision} from random weights"
    for batch in (1, 3):
        x = np.concatenate(images(batch, 64))
        assert error(got(x)[0], wanted(x)[0]) < at_most
    assert got.metadata["names"].startswith("{0: 'class 0'")
    got.close()
    wanted.close()


@pytest.mark.parametrize("name", ["yolo12n", "yolo26n", "yolo26n_depth"])
def test_other_networks_are_exported_and_compared_too(name):
    given = ModelSpec(name, Weights(random=True), {"": (1, 3, 64, 64)}, architecture=name)
    model = Onnx().load(given)
    assert model(images(1, 64)[0])[0].shape[0] == 1
    model.close()


def test_an_export_that_differs_from_pytorch_is_not_used(tmp_path):
    from engines.export import compare

    x = images(1, 8)[0]
    path = conv(tmp_path / "m.onnx")
    wanted = Onnx().load(spec(path))(x)[0]
    compare(path, x, wanted, at_most=1e-6)
    with pytest.raises(EngineError, match=r"^the exported file differs from PyTorch: mean squared difference .*; this"):
        compare(path, x, wanted[:, ::-1], at_most=2e-2)
    with pytest.raises(EngineError, match=r"^the exported file gives \(1, 2, 8, 8\), PyTorch \(1, 2, 8\); this export"):
        compare(path, x, wanted[..., 0], at_most=2e-2)


def test_an_export_is_made_once_and_again_only_where_it_differs():
    first = Onnx().prepare(RANDOM)
    stamp = first.stat().st_mtime_ns
    assert (Onnx().prepare(RANDOM), first.stat().st_mtime_ns) == (first, stamp)
    other = ModelSpec("yolo11n", Weights(random=True), {"": (1, 3, 64, 96)}, architecture="yolo11n")
    assert Onnx().prepare(other) != first
    assert len(artifacts.entries()) == 2


@pytest.mark.parametrize("name", ["yolo11n", "yolo12n"])
def test_the_file_is_slim_checked_of_a_known_opset_and_its_attention_is_plain(name):
    path = Onnx().prepare(ModelSpec(name, Weights(random=True), {"": (1, 3, 64, 64)}, architecture=name))
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert (onnx_file.read(path).opset, onnx_file.read(path).precision) == (17, "fp32")
    # Products of matrices with a softmax between them: with FlashAttention in it, an export finds nothing.
    kinds = [node.op_type for node in model.graph.node]
    assert not [n for n in model.graph.node if n.domain not in ("", "ai.onnx") or "Attention" in n.op_type]
    assert kinds.count("MatMul") == 2 * (kinds.count("Softmax") - 1) > 0  # the other softmax is that of the boxes


def test_a_damaged_export_is_made_again():
    path = Onnx().prepare(RANDOM)
    path.write_bytes(path.read_bytes()[:1000])
    model = Onnx().load(RANDOM)
    model.close()
    assert artifacts.entries()[0].problem() is None


def test_weights_without_an_architecture_are_refused():
    with pytest.raises(EngineError, match=r"^m: random weights: it is not known which network they belong to;"):
        Onnx().load(ModelSpec("m", Weights(random=True), {"": (1, 3, 64, 64)}))


def test_an_architecture_that_there_is_not_is_told_with_the_nearest():
    with pytest.raises(EngineError, match=r"^m: there is no architecture 'yolo11'; did you mean 'yolo11n'\?$"):
        Torch().load(ModelSpec("m", Weights(random=True), {"": (1, 3, 64, 64)}, architecture="yolo11"))


@pytest.mark.data
def test_the_real_checkpoint_gives_the_real_detections_on_every_backend(data):
    folder = data / "models" / "derived"
    given = ModelSpec("yolo11n", Weights(str(folder / "yolo11n_dequant.pt")), {"": (1, 3, 640, 640)}, (1,), "yolo11n")
    known = Onnx().load(spec(folder / "yolo11n_dequant_640.onnx"))
    x = images(1, 640)[0]
    wanted = known(x)[0]
    for engine in (Torch(), Onnx()):
        model = engine.load(given)
        assert error(model(x)[0], wanted) < 1e-8
        assert "person" in model.metadata["names"]
        model.close()
    known.close()


def test_int8_is_calibrated_once_found_by_its_backend_and_told(tmp_path):
    given, engine = spec(conv(tmp_path / "m.onnx", size=16)), Onnx(precision="int8")
    seen: list[int] = []
    path = engine.prepare(given, precision="int8", samples=images(8, 16), origin="mine", told=seen.append)
    assert seen[-1] == 8
    assert {n.op_type for n in onnx.load(path).graph.node} >= {"QuantizeLinear", "DequantizeLinear"}
    model = engine.load(given)
    assert model.placement.reason == "as requested; calibrated with 8 frames of mine"
    x = images(1, 16)[0]
    np.testing.assert_allclose(model(x)[0][:, 0], x.sum(axis=1), atol=0.1)
    model.close()


def test_int8_for_openvino_is_its_own_and_read_back(tmp_path):
    pytest.importorskip("nncf")
    from engines.openvino import OpenVino

    given, engine = spec(conv(tmp_path / "m.onnx", size=16)), OpenVino(precision="int8")
    with pytest.raises(EngineError, match="these weights were not calibrated for this backend yet"):
        engine.load(given)
    engine.prepare(given, precision="int8", samples=images(8, 16), origin="mine")
    model = engine.load(given)
    assert model.placement.precision == "int8"
    assert model.metadata["names"] == "{0: 'person'}"
    x = images(1, 16)[0]
    np.testing.assert_allclose(model(x)[0][:, 0], x.sum(axis=1), atol=0.1)
    model.close()


def test_for_tensorrt_activations_are_signed_and_no_bias_is_quantised(tmp_path):
    from engines.quantise import calibrate

    to = tmp_path / "q.onnx"
    calibrate(conv(tmp_path / "m.onnx", size=16), images(8, 16), "s8s8", to, told=lambda n: None)
    kinds = {w.data_type for w in onnx.load(to).graph.initializer if "zero_point" in w.name}
    assert kinds == {onnx.TensorProto.INT8}


def test_too_few_frames_are_refused(tmp_path):
    with pytest.raises(EngineError, match=r"^tiny: calibration wants 8 frames or more, 3 are given; some hundreds"):
        Onnx().prepare(spec(conv(tmp_path / "m.onnx")), precision="int8", samples=images(3, 8))
    assert artifacts.entries() == []


def test_the_command_exports_calibrates_and_copies(tmp_path, capsys, street_frames):
    import main

    words = ["command=export", "depth=none", f"command.to={tmp_path / 'files'}", "command.count=8"]
    main.once([*words, "command.precision=fp16"])
    main.once([*words, "command.precision=int8", f"command.frames={street_frames}"])
    names = sorted(path.name.partition("-")[2].rpartition("-")[0] for path in (tmp_path / "files").iterdir())
    assert names == ["fp16", "int8-u8s8"]
    assert capsys.readouterr().out.count("street_yolo12n: ") == 2


@pytest.fixture
def street_frames(tmp_path) -> Path:
    import cv2

    folder = tmp_path / "frames"
    folder.mkdir()
    for i, image in enumerate(images(8, 64)):
        cv2.imwrite(str(folder / f"{i}.png"), (image[0].transpose(1, 2, 0) * 255).astype(np.uint8))
    return folder


def test_int8_without_frames_is_refused():
    import main
    from graph.errors import ConfigError

    with pytest.raises(ConfigError, match="int8 is calibrated on frames of your own camera"):
        main.once(["command=export", "command.precision=int8"])
