import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engines.base import EngineError, ModelSpec, Weights
from engines.onnx import Onnx
from tests.engines.models import conv, save, spec

CPU_ONLY = "the installed onnxruntime is built for the CPU only"


@pytest.fixture
def cpu_build() -> None:
    folder = Path(pytest.importorskip("onnxruntime").__file__).parent
    if (folder / "capi" / "libonnxruntime_providers_cuda.so").is_file():
        pytest.skip("this onnxruntime is built for CUDA")


def message(engine: Onnx, *given, **more) -> str:
    with pytest.raises(EngineError) as e:
        engine.load(spec(*given, **more))
    return str(e.value)


def test_asked_for_cuda_but_on_the_cpu_is_an_error_that_names_both_cause_and_remedy(cpu_build, tmp_path):
    assert message(Onnx("cuda:0"), conv(tmp_path / "m.onnx")) == (
        "tiny: device cuda:0 is asked for, but onnx put the model on cpu (CPUExecutionProvider): "
        f"{CPU_ONLY}; install the NVIDIA driver, and: pip uninstall onnxruntime && "
        'pip install "onnxruntime-gpu[cuda,cudnn]"; or set device to cpu, or allow_fallback to true'
    )


def test_a_fallback_that_is_allowed_is_told(cpu_build, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        model = Onnx("cuda:0", allow_fallback=True).load(spec(conv(tmp_path / "m.onnx")))
    at = model.placement
    assert (at.requested_device, at.device, at.fallback, at.reason) == ("cuda:0", "cpu", True, CPU_ONLY)
    assert caplog.messages == [f"tiny: cuda:0 was asked for, it runs on cpu: {CPU_ONLY}"]
    model.close()


def test_onnxruntime_prints_nothing_of_its_own(cpu_build, tmp_path, capfd):
    Onnx("cuda:0", allow_fallback=True).load(spec(conv(tmp_path / "m.onnx"))).close()
    with pytest.raises(EngineError):
        Onnx().load(spec(_fails_at_run_time(tmp_path), 5))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("dtype", "found"), [(np.float32, "fp32"), (np.float16, "fp16")])
def test_precision_is_read_from_the_file(dtype, found, tmp_path):
    model = Onnx(precision=found).load(spec(conv(tmp_path / "m.onnx", dtype=dtype)))
    assert model.placement.precision == found
    model.close()


def test_weights_of_less_precision_than_asked_for_are_an_error_that_names_both(tmp_path):
    assert message(Onnx(precision="fp32"), conv(tmp_path / "m.onnx", dtype=np.float16)) == (
        "tiny: precision fp32 is asked for, but the weights in m.onnx are fp16; "
        "give a file with fp32 weights, or set precision to fp16 (null takes what the file holds)"
    )


def test_fp16_is_made_of_an_fp32_file_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = conv(tmp_path / "m.onnx")
    made = []
    for _ in range(2):
        model = Onnx(precision="fp16").load(spec(path))
        at = model.placement
        assert (at.precision, at.reason) == ("fp16", "as requested; made in fp16 from m.onnx")
        assert model.metadata["names"] == "{0: 'person'}"
        x = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
        np.testing.assert_allclose(model(x)[0][:, 0], x.sum(axis=1), rtol=2e-3)
        made.append((at.path, at.path.stat().st_mtime_ns))
        model.close()
    assert made[0] == made[1]


def test_int8_is_never_made_in_silence(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    said = message(Onnx(precision="int8"), conv(tmp_path / "m.onnx"))
    assert said.startswith("tiny: precision int8 is asked for, but these weights were not calibrated for this backend")
    assert "command.precision=int8" in said


def test_arrays_on_the_device_are_neither_copied_in_nor_out(tmp_path):
    model = Onnx().load(spec(conv(tmp_path / "m.onnx")))
    x = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    (y,) = model.on_device(x)
    np.testing.assert_array_equal(np.from_dlpack(y), model(x)[0])
    (z,) = model.on_device(np.from_dlpack(y)[:, [0, 1, 0]].copy())
    assert z.shape() == [2, 2, 8, 8]
    model.close()


def test_precision_null_takes_what_the_file_holds(tmp_path):
    model = Onnx(precision=None).load(spec(conv(tmp_path / "m.onnx", dtype=np.float16)))
    assert model.placement.precision == "fp16"
    assert model(np.ones((1, 3, 8, 8), np.float16))[0].dtype == np.float16
    model.close()


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"device": "gpu"}, "device: is 'gpu'; expected 'cpu', or 'cuda:N' for the GPU number N, such as 'cuda:0'"),
        ({"device": "cuda"}, "device: is 'cuda'; expected 'cpu', or 'cuda:N' for the GPU number N, such as 'cuda:0'"),
        (
            {"precision": "half"},
            "precision: is 'half'; expected fp32, fp16, int8, or null for what the file holds",
        ),
        ({"threads": 0}, "threads: is 0; expected a whole number, 1 or more"),
        ({"threads": True}, "threads: is True; expected a whole number, 1 or more"),
        ({"warm_up": -1}, "warm_up: is -1; expected a whole number, 0 or more"),
    ],
)
def test_a_wrong_word_is_found_by_check_and_refused_by_the_constructor(params, problem):
    assert list(Onnx.check(params | {"allow_fallback": True})) == [problem]
    with pytest.raises(EngineError) as e:
        Onnx(**params)
    assert str(e.value) == f"engines.onnx.Onnx: {problem}"


def test_check_finds_all_mistakes_at_once():
    assert [p.partition(":")[0] for p in Onnx.check({"device": "x", "threads": "2", "allow_fallback": True})] == [
        "device",
        "threads",
    ]


def test_check_finds_a_device_that_the_installed_package_cannot_use(cpu_build):
    (problem,) = Onnx.check({"device": "cuda:0"})
    assert problem.startswith(f"device: is 'cuda:0', but {CPU_ONLY}; install the NVIDIA driver")


def test_check_is_content_with_the_defaults():
    assert list(Onnx.check({})) == []


def test_a_folder_is_refused(tmp_path):
    assert message(Onnx(), tmp_path) == f"tiny: weights: '{tmp_path}' is a folder; expected a model file"


def test_a_missing_file_of_external_weights_is_named(tmp_path):
    path = conv(tmp_path / "m.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="m.bin", size_threshold=0)
    Onnx().load(spec(path)).close()
    (tmp_path / "m.bin").unlink()
    assert message(Onnx(), path) == (f"tiny: {path} keeps weights in m.bin, which is not in {tmp_path}; copy it there")


def test_an_operator_that_does_not_exist_is_told_in_the_words_of_the_runtime(tmp_path):
    path = save(tmp_path / "m.onnx", [helper.make_node("Nope", ["x"], ["y"])], [1], [1])
    assert message(Onnx(), path).startswith("tiny: ONNX Runtime cannot load m.onnx: ")


def test_an_opset_that_is_not_supported_is_told(tmp_path):
    path = conv(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.opset_import[0].version = 99
    onnx.save(model, path)
    said = message(Onnx(), path)
    assert said.startswith("tiny: ONNX Runtime cannot load m.onnx: ")
    assert "opset" in said


def test_a_type_that_numpy_does_not_have_is_refused(tmp_path):
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    path = save(tmp_path / "m.onnx", nodes, [1], [1], dtype=TensorProto.BFLOAT16)
    assert message(Onnx(precision=None), path) == (
        "tiny: 'x' is a tensor(bfloat16), which numpy does not have; export the model with float32"
    )


def _fails_at_run_time(folder: Path) -> Path:
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"])]
    return save(folder / "fails.onnx", nodes, ["n"], [3], weights={"s": np.array([3], np.int64)})


def test_a_model_that_fails_in_warm_up_does_not_load(tmp_path):
    assert message(Onnx(), _fails_at_run_time(tmp_path), 5).startswith("tiny: the run failed on cpu: ")


def test_every_declared_batch_size_is_warmed_up(tmp_path):
    path = _fails_at_run_time(tmp_path)
    Onnx().load(spec(path, batch_sizes=(3,))).close()
    assert message(Onnx(), path, batch_sizes=(3, 4)).startswith("tiny: the run failed on cpu: ")


def test_values_that_are_not_finite_for_a_black_image_are_a_warning(tmp_path, caplog):
    path = save(tmp_path / "m.onnx", [helper.make_node("Log", ["x"], ["y"])], [1, 4], [1, 4])
    Onnx(warm_up=1).load(spec(path)).close()
    assert caplog.messages == [
        "tiny gives values that are not finite for a black image on cpu at unknown; compare it with fp32"
    ]


def test_threads_are_what_was_asked_for(tmp_path):
    model = Onnx(threads=1, spin=True).load(spec(conv(tmp_path / "m.onnx")))
    assert model._session.get_session_options().intra_op_num_threads == 1
    model.close()


REAL = [
    ("derived/yolo11n_dequant_640.onnx", "fp32", (1, 3, 640, 640), (1, 84, 8400)),
    ("yolox_nano_416.onnx", "fp32", (1, 3, 416, 416), (1, 3549, 85)),
    ("yolov8n_int8_dynamic.onnx", "int8", (1, 3, 640, 640), (1, 84, 8400)),
    ("derived/fastdepth_nyu_dequant.onnx", "fp32", (1, 3, 224, 224), (1, 1, 224, 224)),
    ("derived/fastdepth_nyu_dequant.onnx", "fp32", (1, 3, 224, 320), (1, 1, 224, 320)),
]


@pytest.mark.data
@pytest.mark.parametrize(("name", "precision", "takes", "gives"), REAL)
def test_real_models_load_and_run(data, name, precision, takes, gives):
    model = Onnx(precision=precision).load(spec(data / "models" / name, *takes))
    (y,) = model(np.full(takes, 0.5, np.float32))
    assert y.shape == gives
    assert np.isfinite(y).all()
    assert model.placement.precision == precision
    model.close()


@pytest.mark.data
def test_a_real_model_asked_for_at_another_size_says_what_to_set(data):
    assert message(Onnx(), data / "models/yolox_nano_416.onnx", 1, 3, 640, 640) == (
        "tiny: input 'images' of yolox_nano_416.onnx is (1, 3, 416, 416), but (1, 3, 640, 640) is wanted; "
        "set size_wh to [416, 416], or export the model at the wanted size"
    )


def test_weights_that_are_not_given_are_named():
    with pytest.raises(EngineError) as e:
        Onnx().load(ModelSpec("tiny", Weights()))
    assert str(e.value) == "tiny: weights: no weights given; set it to the path of a model file"
