"""The engine on stand-ins for the driver and the packages; what all engines must do is in tests/contract."""

import gc
import logging

import numpy as np
import onnx
import pytest
from onnx import helper

from engines.base import EngineError, ModelSpec, OutOfMemoryError, Weights
from engines.trt import Trt
from tests.engines import trt_models
from tests.engines.models import conv, save, spec
from tests.engines.standin_cuda import CUresult
from tests.engines.trt_on_standin import TrtOnStandIn

pytestmark = pytest.mark.usefixtures("own_cache")
FLAVOURS = pytest.mark.parametrize("flavour", ["10", "11", "rtx"])
COPIES = ("cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync")


def images(batch, dtype=np.float32):
    return np.random.default_rng(batch).random((batch, 3, 8, 8)).astype(dtype)


def since(engine, mark):
    """Calls to the driver after `mark` of them, but for those that say which device is meant."""
    return [call for call in engine.driver.calls[mark:] if call != "cuCtxSetCurrent"]


@pytest.mark.parametrize("flavour", ["10", "11"])
def test_a_run_is_one_launch_and_one_wait(flavour, tmp_path):
    engine = TrtOnStandIn(flavour)
    model = engine.load(spec(conv(tmp_path / "m.onnx")))
    mark = len(engine.driver.calls)
    model(images(1))
    assert since(engine, mark) == ["cuGraphLaunch", "execute", "cuEventRecord", "cuEventSynchronize"]
    model.close()


@pytest.mark.parametrize("flavour", ["10", "11"])
def test_a_graph_is_captured_once_for_each_batch_size_and_holds_both_copies(flavour, tmp_path):
    engine = TrtOnStandIn(flavour)
    model = engine.load(spec(conv(tmp_path / "m.onnx"), batch_sizes=(1, 3)))
    calls = engine.driver.calls
    assert calls.count("cuStreamBeginCapture") == calls.count("cuGraphInstantiate") == 2
    first, last = calls.index("cuStreamBeginCapture"), calls.index("cuStreamEndCapture")
    assert since(engine, 0)[since(engine, 0).index("cuStreamBeginCapture") :][:4] == [
        "cuStreamBeginCapture",
        *COPIES,
        "cuStreamEndCapture",
    ]
    assert last - first == 3
    for batch in (3, 1, 3, 1):
        np.testing.assert_allclose(model(images(batch))[0][:, 0], images(batch).sum(axis=1), rtol=1e-5)
    assert calls.count("cuStreamBeginCapture") == 2
    model(images(2))
    assert calls.count("cuStreamBeginCapture") == 3
    model.close()


def test_before_a_capture_the_shape_has_run_once(tmp_path):
    engine = TrtOnStandIn("11", warm_up=0)
    model = engine.load(spec(conv(tmp_path / "m.onnx")))
    assert "execute" not in engine.driver.calls
    model(images(1))
    calls = engine.driver.calls
    assert calls.index("execute") < calls.index("cuStreamBeginCapture") < calls.index("cuGraphLaunch")
    assert calls.count("execute") == 2
    model.close()


@pytest.mark.parametrize(("flavour", "cuda_graph"), [("10", False), ("rtx", True), ("rtx", False)])
def test_without_a_graph_of_ours_a_run_is_copy_execute_copy_and_one_wait(flavour, cuda_graph, tmp_path):
    engine = TrtOnStandIn(flavour, cuda_graph=cuda_graph)
    model = engine.load(spec(conv(tmp_path / "m.onnx"), batch_sizes=(1, 2)))
    for batch in (1, 2, 2):
        mark = len(engine.driver.calls)
        np.testing.assert_allclose(model(images(batch))[0][:, 0], images(batch).sum(axis=1), rtol=1e-5)
        run = since(engine, mark)
        assert run == [COPIES[0], "execute", COPIES[1], "cuEventRecord", "cuEventSynchronize"]
    assert engine.trt.alive.count("context") == 1
    model.close()


@pytest.mark.parametrize("cuda_graph", [True, False])
def test_tensorrt_for_rtx_captures_by_itself_and_compiles_each_shape_when_it_comes(cuda_graph, tmp_path):
    engine = TrtOnStandIn("rtx", cuda_graph=cuda_graph)
    model = engine.load(spec(conv(tmp_path / "m.onnx")))
    config = model._execution._runs[((1, 3, 8, 8),), True].context.config
    assert config.cuda_graph_strategy.name == ("WHOLE_GRAPH_CAPTURE" if cuda_graph else "DISABLED")
    assert config.dynamic_shapes_kernel_specialization_strategy.name == "EAGER"
    model.close()


@FLAVOURS
def test_profile_shapes_and_addresses_are_set_before_the_first_run(flavour, tmp_path):
    engine = TrtOnStandIn(flavour, batch=(1, 2, 4))
    model = engine.load(spec(conv(tmp_path / "m.onnx")))
    calls = engine.trt.calls
    assert calls.index("set_optimization_profile_async") < calls.index("set_input_shape")
    assert calls.index("set_input_shape") < calls.index("execute_async_v3")
    assert model._execution._range == {"x": ((1, 3, 8, 8), (4, 3, 8, 8))}
    model.close()


@FLAVOURS
def test_everything_is_given_back_in_the_right_order(flavour, tmp_path):
    engine = TrtOnStandIn(flavour)
    model = engine.load(spec(conv(tmp_path / "m.onnx"), batch_sizes=(1, 2)))
    mark = len(engine.driver.calls)
    model.close()
    gc.collect()
    calls = [call for call in since(engine, mark) if call.startswith(("~", "cuGraph", "cuMem", "cuStreamD", "cuDev"))]
    order = list(dict.fromkeys(calls))
    graphs = [] if flavour == "rtx" else ["cuGraphExecDestroy"]
    memory, last = ["cuMemFreeHost", "cuMemFree"], ["cuStreamDestroy", "cuDevicePrimaryCtxRelease"]
    assert order == [*graphs, "~context", *memory, "~engine", "~runtime", *last]
    assert (engine.driver.held, engine.trt.alive) == (0, [])


FAILURES = ["cuStreamCreateWithPriority", "cuEventCreate", "cuMemAlloc", "cuMemHostAlloc", "cuEventSynchronize"]


@FLAVOURS
@pytest.mark.parametrize("name", [*FAILURES, "deserialize_cuda_engine", "create_execution_context", "execute_async_v3"])
def test_a_load_that_fails_names_model_and_reason_and_leaves_nothing_behind(flavour, name, tmp_path):
    engine = TrtOnStandIn(flavour)
    engine.trt.reason = "Error Code 4: something about the engine"
    if name.startswith("cu"):
        engine.driver.fail[name] = CUresult.CUDA_ERROR_INVALID_VALUE
    else:
        engine.trt.fail.add(name)
    says = f"{name} fails on cuda:0" if name.startswith("cu") else "something about the engine"
    with pytest.raises(EngineError, match=f"^tiny: .*{says}"):
        engine.load(spec(conv(tmp_path / "m.onnx")))
    gc.collect()
    assert (engine.driver.held, engine.trt.alive) == (0, [])


def test_a_capture_that_fails_says_what_to_set(tmp_path):
    engine = TrtOnStandIn("11")
    engine.driver.fail["cuStreamBeginCapture"] = CUresult.CUDA_ERROR_INVALID_VALUE
    with pytest.raises(EngineError, match=r"cannot be captured as a CUDA graph: .*; set cuda_graph to false$"):
        engine.load(spec(conv(tmp_path / "m.onnx")))
    assert engine.driver.held == 0


@FLAVOURS
def test_too_little_memory_is_said_before_anything_is_tried(flavour, tmp_path):
    engine = TrtOnStandIn(flavour, total=1 << 20, scratch=2 << 20)
    with pytest.raises(OutOfMemoryError) as e:
        engine.load(spec(conv(tmp_path / "m.onnx")))
    assert str(e.value).startswith("tiny: 2.1 MB are needed, 1 of 1 MB are free on cuda:0; lower the largest batch")
    assert engine.driver.held == 0


@FLAVOURS
def test_more_than_the_limit_is_refused(flavour, tmp_path):
    engine = TrtOnStandIn(flavour, memory_limit_mb=3, scratch=4 << 20)
    with pytest.raises(OutOfMemoryError, match=r"^tiny: 4\.2 MB are needed, memory_limit_mb is 3; raise it, lower"):
        engine.load(spec(conv(tmp_path / "m.onnx")))
    TrtOnStandIn(flavour, memory_limit_mb=5, scratch=4 << 20).load(spec(conv(tmp_path / "m.onnx"))).close()


def test_memory_that_ends_inside_tensorrt_is_told_apart_by_its_log(tmp_path):
    engine = TrtOnStandIn("11")
    engine.trt.fail.add("create_execution_context")
    with pytest.raises(OutOfMemoryError, match=r"^tiny: tensorrt .* cannot make an execution context: OutOfMemory"):
        engine.load(spec(conv(tmp_path / "m.onnx")))


def test_a_run_that_fails_names_model_shape_and_device_and_may_be_closed(tmp_path, caplog):
    engine = TrtOnStandIn("11")
    model = engine.load(spec(conv(tmp_path / "m.onnx")))
    engine.driver.fail = {"cuEventSynchronize": CUresult.CUDA_ERROR_ILLEGAL_ADDRESS}
    with pytest.raises(EngineError, match=r"^tiny: the run on \(1, 3, 8, 8\) failed on cuda:0: cuEventSynchronize"):
        model(images(1))
    engine.driver.fail = dict.fromkeys(("cuGraphExecDestroy", "cuMemFree"), CUresult.CUDA_ERROR_ILLEGAL_ADDRESS)
    model.close()
    assert "not everything could be given back" in caplog.text
    assert engine.driver.retained == 0


@FLAVOURS
def test_a_batch_that_the_engine_was_not_built_for_says_what_to_set(flavour, tmp_path):
    model = TrtOnStandIn(flavour, batch=(1, 1, 4)).load(spec(conv(tmp_path / "m.onnx")))
    with pytest.raises(EngineError, match=r"a batch of 6 is given, .* built for 1 to 4; set batch to \[1, 1, 6\]$"):
        model(images(6))
    model.close()


@FLAVOURS
def test_an_engine_grows_to_the_batches_that_the_node_feeds(flavour, tmp_path):
    model = TrtOnStandIn(flavour, batch=(1, 1, 2)).load(spec(conv(tmp_path / "m.onnx"), batch_sizes=(6,)))
    assert model(images(6))[0].shape == (6, 2, 8, 8)
    model.close()


@FLAVOURS
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_inputs_and_outputs_have_the_types_of_the_file(flavour, dtype, tmp_path):
    precision = {np.float16: "fp16", np.float32: "fp32"}[dtype]
    model = TrtOnStandIn(flavour, precision=precision).load(spec(conv(tmp_path / "m.onnx", dtype=dtype)))
    (y,) = model(images(2, dtype))
    assert (y.dtype, model.inputs[0].dtype, model.placement.precision) == (dtype, dtype, precision)
    model.close()


@FLAVOURS
def test_a_file_with_a_fixed_batch_takes_that_batch_only(flavour, tmp_path):
    model = TrtOnStandIn(flavour).load(spec(conv(tmp_path / "m.onnx", batch=2)))
    assert model.inputs[0].shape == (2, 3, 8, 8)
    assert model(images(2))[0].shape == (2, 2, 8, 8)
    with pytest.raises(EngineError, match=r"expected float32 \(2, 3, 8, 8\)$"):
        model(images(1))
    model.close()


@FLAVOURS
def test_it_says_where_and_from_which_file_it_runs(flavour, tmp_path, own_cache):
    engine = TrtOnStandIn(flavour, capability=(7, 5))
    model = engine.load(spec(conv(tmp_path / "m.onnx")))
    at = model.placement
    assert at.provider == f"{'tensorrt_rtx' if flavour == 'rtx' else 'tensorrt'} {engine.trt.__version__}"
    assert at.reason == "as requested: sm75, Stand-in GPU"
    assert at.path is not None
    assert at.path.parent == own_cache
    assert at.path.name.startswith("m-sm75-")
    model.close()


def builds(engine):
    return engine.trt.calls.count("build_serialized_network")


@FLAVOURS
def test_an_engine_is_built_once_and_again_where_anything_that_matters_differs(flavour, tmp_path):
    path = conv(tmp_path / "m.onnx")

    def load(model=path, **more):
        engine = TrtOnStandIn(flavour, **more)
        engine.load(spec(model)).close()
        return builds(engine)

    assert [load(), load(), load(batch=(1, 1, 2)), load(batch=(1, 1, 2))] == [1, 0, 1, 0]
    assert [load(workspace_mb=8), load(capability=(8, 9)), load(conv(tmp_path / "o.onnx", size=4))] == [1, 1, 1]
    assert [load(warm_up=1, priority=-1, spin=True, memory_limit_mb=99, cuda_graph=False)] == [0]


def test_tensorrt_for_rtx_prepares_an_engine_without_a_gpu_and_load_takes_it(tmp_path):
    wanted, more = spec(conv(tmp_path / "m.onnx")), {"target": "sm75", "capability": (7, 5)}
    engine = TrtOnStandIn("rtx", **more)
    path = engine.prepare(wanted)
    assert engine.driver.calls == []
    assert engine.trt.built[1].target == "SM75"
    engine = TrtOnStandIn("rtx", **more)
    model = engine.load(wanted)
    assert (model.placement.path, builds(engine)) == (path, 0)
    model.close()


def test_tensorrt_prepares_an_engine_for_the_gpu_that_is_there(tmp_path):
    engine = TrtOnStandIn("11", precision="fp32")
    path = engine.prepare(spec(conv(tmp_path / "m.onnx")), precision="fp16")
    assert engine.driver.held == 0
    engine = TrtOnStandIn("11", precision="fp16")
    model = engine.load(spec(conv(tmp_path / "m.onnx")))
    assert (model.placement.path, builds(engine)) == (path, 0)
    model.close()


@pytest.mark.parametrize("target", ["sm75", "sm86"])
def test_a_real_engine_is_prepared_on_this_machine(target, rtx, tmp_path):
    engine = Trt(package="tensorrt_rtx", target=target, precision="fp16")
    path = engine.prepare(ModelSpec("tiny", Weights(str(trt_models.matmul(tmp_path / "m.onnx")))))
    assert path.name.startswith("m-fp16-")
    assert target in path.name
    assert path.stat().st_size > 1000


def test_an_engine_of_tensorrt_is_for_one_model_of_gpu_and_one_for_rtx_for_all_of_a_kind(tmp_path):
    path = conv(tmp_path / "m.onnx")
    for flavour, again in (("11", 1), ("rtx", 0)):
        TrtOnStandIn(flavour).load(spec(path)).close()
        engine = TrtOnStandIn(flavour)
        engine.driver.name = "Another GPU of the same kind"
        engine.load(spec(path)).close()
        assert builds(engine) == again


def test_a_damaged_engine_is_built_again(tmp_path):
    path = conv(tmp_path / "m.onnx")
    model = TrtOnStandIn("11").load(spec(path))
    model.close()
    model.placement.path.write_bytes(b"damaged")
    engine = TrtOnStandIn("11")
    engine.load(spec(path)).close()
    assert builds(engine) == 1


def test_weights_beside_the_file_count_as_part_of_it(tmp_path):
    path = conv(tmp_path / "m.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="m.bin", size_threshold=0)
    counts = []
    for content in ((tmp_path / "m.bin").read_bytes(), bytes(24), bytes(24)):
        (tmp_path / "m.bin").write_bytes(content)
        engine = TrtOnStandIn("11")
        engine.trt.fail.add("deserialize_cuda_engine")  # the stand-in reads no file beside its bytes
        with pytest.raises(EngineError, match="cannot load the engine"):
            engine.load(spec(path))
        counts.append(builds(engine))
    assert counts == [1, 1, 0]


def test_what_tensorrt_for_rtx_compiled_is_kept_and_used_again(tmp_path):
    path, counts = conv(tmp_path / "m.onnx"), []
    for _ in range(2):
        engine = TrtOnStandIn("rtx")
        model = engine.load(spec(path, batch_sizes=(1, 2)))
        assert model.placement.path.with_suffix(".cache").read_bytes().startswith(b"kernels:")
        model.close()
        counts.append(engine.trt.kernels)
    assert counts == [2, 0]


def test_kernels_that_do_not_fit_are_made_anew(tmp_path):
    path = conv(tmp_path / "m.onnx")
    model = TrtOnStandIn("rtx").load(spec(path))
    model.close()
    model.placement.path.with_suffix(".cache").write_bytes(b"of another driver")
    engine = TrtOnStandIn("rtx")
    engine.load(spec(path)).close()
    assert engine.trt.kernels == 1
    assert model.placement.path.with_suffix(".cache").read_bytes().startswith(b"kernels:")


def test_kernels_that_cannot_be_kept_are_no_error(tmp_path, own_cache, monkeypatch):
    engine = TrtOnStandIn("rtx")
    path = conv(tmp_path / "m.onnx")
    engine.load(spec(path)).close()
    kept = next(own_cache.glob("*.engine")).with_suffix(".cache")
    kept.unlink()
    kept.mkdir()
    model = TrtOnStandIn("rtx").load(spec(path))
    assert model(np.ones((1, 3, 8, 8), np.float32))[0].shape == (1, 2, 8, 8)
    model.close()
    assert kept.is_dir()


def test_an_engine_for_another_gpu_than_the_one_that_is_there_is_refused(tmp_path):
    engine = TrtOnStandIn("rtx", target="sm75", capability=(8, 6))
    with pytest.raises(EngineError) as e:
        engine.load(spec(conv(tmp_path / "m.onnx")))
    assert str(e.value) == (
        "tiny: target sm75 is asked for, but cuda:0 is a Stand-in GPU (sm86), which cannot run such an engine; "
        "set target to current, or device to another GPU"
    )
    assert engine.driver.held == 0
    TrtOnStandIn("rtx", target="sm75", capability=(7, 5)).load(spec(conv(tmp_path / "m.onnx"))).close()


def test_a_gpu_of_the_data_centre_is_refused_by_tensorrt_for_rtx(tmp_path):
    path = conv(tmp_path / "m.onnx")
    with pytest.raises(EngineError, match=r"^tiny: TensorRT for RTX does not build for sm90"):
        TrtOnStandIn("rtx", capability=(9, 0)).load(spec(path))
    TrtOnStandIn("11", capability=(9, 0)).load(spec(path)).close()


def test_what_turing_cannot_is_said_before_a_build_with_what_to_do(tmp_path):
    engine = TrtOnStandIn("rtx", capability=(7, 5))
    with pytest.raises(
        EngineError, match=r"^tiny: m\.onnx cannot be built for sm75: FP32 GEMM .* set precision to fp1"
    ):
        engine.load(ModelSpec("tiny", Weights(str(trt_models.matmul(tmp_path / "m.onnx")))))
    assert builds(engine) == 0


def test_a_precision_that_the_file_does_not_hold_is_made_from_fp32_or_refused(tmp_path):
    model = TrtOnStandIn("11", precision="fp16").load(spec(conv(tmp_path / "m.onnx")))
    assert model.placement.precision == "fp16"
    assert model.placement.reason == "as requested: sm86, Stand-in GPU; made in fp16 from m.onnx"
    model.close()
    with pytest.raises(EngineError, match=r"^tiny: precision fp32 is asked for, but the weights in h\.onnx are fp16"):
        TrtOnStandIn("11", precision="fp32").load(spec(conv(tmp_path / "h.onnx", dtype=np.float16)))


def test_bf16_is_a_choice_of_the_builder_on_tensorrt_10_only(tmp_path):
    engine = TrtOnStandIn("10", precision="bf16")
    model = engine.load(spec(conv(tmp_path / "m.onnx")))
    assert engine.trt.built[1].flags == ["BF16"]
    assert model.placement.precision == "bf16"
    model.close()
    with pytest.raises(EngineError, match="there are no ONNX files in bf16"):
        TrtOnStandIn("11", precision="bf16").load(spec(conv(tmp_path / "m.onnx")))


def test_an_output_whose_size_depends_on_the_image_is_refused(tmp_path, monkeypatch):
    from tests.engines.standin_tensorrt import Context

    monkeypatch.setattr(Context, "get_tensor_shape", lambda self, name: (-1, 3))
    engine = TrtOnStandIn("11")
    with pytest.raises(EngineError, match=r"^tiny: the size of output 'y' depends on what is in the image; export"):
        engine.load(spec(conv(tmp_path / "m.onnx")))
    assert engine.driver.held == 0


def test_values_that_are_not_finite_are_a_warning_of_the_warm_up(tmp_path, caplog):
    nodes = [helper.make_node("Reciprocal", ["x"], ["y"])]
    with caplog.at_level(logging.WARNING):
        TrtOnStandIn("11", precision=None).load(spec(save(tmp_path / "m.onnx", nodes, [1, 4], [1, 4]))).close()
    assert "tiny gives values that are not finite for a black image on cuda:0" in caplog.text


def test_a_model_may_be_used_in_another_thread_than_it_was_loaded_in(tmp_path):
    engine = TrtOnStandIn("11")
    model = engine.load(spec(conv(tmp_path / "m.onnx")))
    for use in (lambda: model(images(1)), model.close):
        mark = len(engine.driver.calls)
        use()
        assert engine.driver.calls[mark] == "cuCtxSetCurrent"


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"device": "cpu"}, "device: is 'cpu'; TensorRT runs on NVIDIA GPUs only: expected cuda:0, cuda:1, ..."),
        ({"precision": "fp8"}, "precision: is 'fp8'; expected fp32, fp16, bf16, int8, or null for what the file holds"),
        ({"package": "trt"}, "package: is 'trt'; expected auto, tensorrt, tensorrt_rtx"),
        ({"target": "turing"}, "target: is 'turing'; expected current, or sm75, sm86, ... as the compute capability"),
        ({"target": "sm90", "package": "tensorrt_rtx"}, "target: TensorRT for RTX does not build for sm90, a GPU of"),
        ({"target": "sm75", "precision": "bf16"}, "precision: bf16 needs sm80 or newer, target is sm75; set precision"),
        ({"batch": [1, 4, 2]}, "batch: is [1, 4, 2]; expected three whole numbers in order: the least, usual and"),
        ({"batch": 4}, "batch: is 4; expected three whole numbers in order"),
        ({"priority": "high"}, "priority: is 'high'; expected a whole number, lower goes first"),
        ({"workspace_mb": 0}, "workspace_mb: is 0; expected a whole number, 1 or more, or null"),
        ({"memory_limit_mb": -1}, "memory_limit_mb: is -1; expected a whole number, 1 or more"),
        ({"warm_up": True}, "warm_up: is True; expected a whole number, 0 or more"),
    ],
)
def test_a_wrong_parameter_is_found_by_the_check_and_by_the_engine(params, problem):
    found = [text for text in Trt.check(params) if not text.startswith("_target_")]
    assert len(found) == 1
    assert found[0].startswith(problem)
    with pytest.raises(EngineError) as e:
        Trt(**params)
    assert str(e.value).startswith(f"engines.trt.Trt: {problem}")


def test_missing_packages_are_found_by_the_check(monkeypatch):
    monkeypatch.setattr("engines.trt.find_spec", lambda name: None)
    assert list(Trt.check({})) == [
        '_target_: the package tensorrt or tensorrt_rtx is not installed; run: pip install "tensorrt>=10.13" (its '
        "libraries come from NVIDIA's own index); or pip install tensorrt-rtx-cu13",
        "_target_: the package cuda-bindings is not installed; run: pip install cuda-bindings (12.x beside an NVIDIA "
        "driver for CUDA 12)",
    ]
