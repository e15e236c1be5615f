"""Frames that lie on a device: one upload for all models there, the same results, no wait in between."""

import pickle
from random import Random
from typing import ClassVar

import numpy as np
import pytest
from onnx import helper

from engines.base import OutOfMemoryError
from engines.ladder import Ladder
from engines.onnx import Onnx
from graph import Captured, EndOfStream, Node, Stamp
from graph.build import Builder
from graph.planner import make_plan
from graph.runtime import Runtime
from nodes.depth import Depth
from nodes.detector import Detector
from nodes.messages import DepthMap, Detections, DeviceFrame, Frame
from nodes.upload import Upload
from tests.engines.devices import GPUS, Context, NamedTrt
from tests.engines.devices import Upload as StandInUpload
from tests.engines.models import save
from tests.engines.standin_cuda import StandInDriver
from tests.nodes.fakes import FakeEngine

SIDE = 64
NAMES = "{0: 'person', 1: 'car'}"
WEIGHTS = np.array(
    [[40, 0, 0], [0, 40, 0], [9, 0, 0], [0, 9, 0], [0, 0, 1], [1, 0, 0]], np.float32
)  # of a pixel: a box where its red and green say, with blue and red as scores


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def files(tmp_path):
    """A detector and a depth network that look at every pixel; both take (1, 3, 64, 64)."""
    conv = helper.make_node("Conv", ["x", "w"], ["c"])
    pool = helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[8, 8], strides=[8, 8])
    flat = helper.make_node("Reshape", ["p", "s"], ["f"])
    pads = helper.make_node("Pad", ["f", "m"], ["y"])
    shapes = {"s": np.array([1, 6, 64]), "m": np.array([0, 0, 0, 0, 0, 20])}
    image = [1, 3, SIDE, SIDE]
    found = save(
        tmp_path / "found.onnx", [conv, pool, flat, pads], image, [1, 6, 84],
        weights={"w": WEIGHTS.reshape(6, 3, 1, 1), **shapes}, metadata={"names": NAMES},
    )  # fmt: skip
    near = helper.make_node("Conv", ["x", "w"], ["y"])
    weights = {"w": np.array([0.2, 0.5, 0.3], np.float32).reshape(1, 3, 1, 1)}
    far = save(tmp_path / "far.onnx", [near], image, [1, 1, SIDE, SIDE], weights=weights)
    return found, far


def picture(seed, width=SIDE, height=SIDE):
    pixels = np.random.default_rng(seed).integers(0, 200, (height, width, 3), np.uint8)
    pixels[:, :, 2] = np.random.default_rng(seed + 1).integers(0, 2, (height, width), np.uint8) * 250
    return Frame(pixels)


def nodes(files, engine):
    found, far = files
    detector = Detector(engine("high"), "found", weights=str(found), size_wh=[SIDE, SIDE])
    depth = Depth(engine("low"), "far", weights=str(far), size_wh=[SIDE, SIDE], kind="relative")
    return detector, depth


def same(ours, theirs):
    if isinstance(ours, DepthMap):
        np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-5)
    else:
        assert len(ours) == len(theirs) > 0
        np.testing.assert_allclose(ours.xyxy, theirs.xyxy, rtol=1e-4)
        np.testing.assert_array_equal(ours.class_id, theirs.class_id)


@pytest.fixture
def expected(files):
    """What both nodes say of a frame on the host."""
    detector, depth = nodes(files, lambda _: NamedTrt())
    detector.setup()
    depth.setup()
    yield lambda frame: (detector.process(frame), depth.process(frame))
    detector.close()
    depth.close()


def test_detector_and_depth_share_one_copy_of_bytes_and_nothing_waits_before_their_results(files, expected):
    driver = StandInDriver(schedule="late", strict=True)
    with Context(driver, "high"):
        upload = Upload(StandInUpload(driver))
        detector, depth = nodes(files, lambda _: trt_on(driver))
        for node in (upload, detector, depth):
            node.setup()
        for seed in range(5):
            frame = picture(seed)
            driver.calls.clear()
            there = upload.process(frame)
            assert isinstance(there, DeviceFrame)
            assert driver.host_waits == 0
            results = detector.process(there), depth.process(there)
            for ours, theirs in zip(results, expected(frame), strict=True):
                same(ours, theirs)
            del there
            if seed < 2:  # the first frames make what the next ones use
                continue
            counts = {name: driver.calls.count(name) for name in set(driver.calls)}
            assert counts["cuMemcpyHtoDAsync"] == 1
            assert "cuMemcpyDtoDAsync" not in counts
            assert counts["cuLaunchKernel"] == counts["cuGraphLaunch"] == 2
            assert counts["cuEventSynchronize"] == 2  # each model's results, on the host
            assert not counts.keys() & {"cuStreamSynchronize", "cuMemAlloc", "cuMemHostAlloc", "cuEventCreate"}
        for node in (depth, detector, upload):
            node.close()
    assert driver.held == 0


def trt_on(driver):
    GPUS["one"] = driver
    return NamedTrt("one")


class Pictures(Node):
    """A recording of `n` frames."""

    def __init__(self, n: int, *, realtime: bool = False) -> None:
        self.n, self.i = n, 0

    def process(self) -> Captured[Frame]:
        if self.i >= self.n:
            raise EndOfStream
        self.i += 1
        return Captured(picture(self.i - 1, 96, 80), self.i * 10_000_000)


class Keep(Node):
    """Keeps what comes, by capture."""

    kept: ClassVar[dict[int, tuple[Detections, DepthMap]]] = {}

    def process(self, detections: Detections, depth: DepthMap, stamp: Stamp) -> None:
        self.kept[stamp.seq] = (detections, depth)


def graph(files, *, gpu, n):
    found, far = map(str, files)
    engine = {"_target_": "tests.engines.devices.NamedTrt", "gpu": gpu}
    uploader = {"_target_": "tests.engines.devices.NamedUpload", "gpu": gpu} if gpu else None
    size = [SIDE, SIDE]
    here = "tests.nodes.test_upload"
    return {
        "rgb": {"_target_": f"{here}.Pictures", "n": n},
        "upload": {"_target_": "nodes.upload.Upload", "uploader": uploader, "worker": "a", "inputs": {"image": "rgb"}},
        "detector": {
            "_target_": "nodes.detector.Detector", "engine": engine, "name": "found", "weights": found,
            "size_wh": size, "worker": "b", "inputs": {"image": "upload"},
        },
        "depth": {
            "_target_": "nodes.depth.Depth", "engine": engine, "name": "far", "weights": far, "kind": "relative",
            "size_wh": size, "worker": "c", "inputs": {"image": "upload"},
        },
        "keep": {"_target_": f"{here}.Keep", "inputs": {"detections": "detector", "depth": "depth"}},
    }  # fmt: skip


def carry_out(config, workers):
    Keep.kept = {}
    builder = Builder(["tests"])
    result = Runtime(make_plan(config, workers, builder), builder).run()
    assert result.error is None
    return Keep.kept


@pytest.mark.parametrize("schedule", ["late", "at_once", 1, 2, 3])
def test_a_graph_on_cuda_workers_gives_what_it_gives_inline(files, schedule):
    n = 30
    expected = carry_out(graph(files, gpu=None, n=n), {w: {"kind": "inline"} for w in ("main", "a", "b", "c")})
    driver = GPUS["gpu"] = StandInDriver(
        schedule=schedule if isinstance(schedule, str) else Random(schedule), strict=True
    )
    workers = {"main": {"kind": "thread"}}
    for name, priority in (("a", "normal"), ("b", "high"), ("c", "low")):
        context = {"_target_": "tests.engines.devices.NamedContext", "gpu": "gpu", "priority": priority}
        workers[name] = {"kind": "thread", "context": context}
    found = carry_out(graph(files, gpu="gpu", n=n), workers)
    assert len(found) == len(expected) == n
    gray_level = 1.001 / 255
    for seq, (detections, depth) in expected.items():
        ours, far = found[seq]
        assert np.abs(far.values - depth.values).max() < gray_level
        assert len(ours) == len(detections) > 0
        assert np.abs(ours.conf - detections.conf).max() < gray_level
    assert sorted(driver.priorities.values()) == [-5, -2, 0]
    assert driver.calls.count("cuMemcpyHtoDAsync") == n + 2 * 2  # and, of each model, what it is warmed up with
    assert driver.held == 0


def test_a_frame_without_room_goes_on_from_the_host_and_it_is_told_once(caplog):
    driver = StandInDriver()
    node = Upload(StandInUpload(driver, most=2))
    node.setup()
    held = [node.process(picture(seed)) for seed in range(4)]
    assert [type(frame) for frame in held] == [DeviceFrame, DeviceFrame, Frame, Frame]
    assert node.facts() == {"figures": {"frames without room": "2"}}
    assert len(caplog.records) == 1
    del held[:]
    assert isinstance(node.process(picture(9)), DeviceFrame)
    node.close()


def test_without_an_uploader_frames_go_on_as_they_are():
    node, frame = Upload(), picture(0)
    node.setup()
    assert node.process(frame) is frame
    node.close()


def test_a_model_that_takes_arrays_of_the_host_only_gets_them_and_it_is_told_once(caplog):
    driver = StandInDriver()
    upload = Upload(StandInUpload(driver))
    upload.setup()
    engine = FakeEngine(np.zeros((1, 1, SIDE, SIDE), np.float32))
    depth = Depth(engine, "far", weights=None, size_wh=[SIDE, SIDE], kind="relative")
    depth.setup()
    for seed in range(2):
        there = upload.process(picture(seed))
        depth.process(there)
        np.testing.assert_allclose(engine.model.fed[0].transpose(1, 2, 0), there.pixels / 255, atol=1e-6)
    told = [record.message for record in caplog.records]
    assert told == [
        "far: frames lie on cuda:0, but the model on cpu takes them from the host: their upload is for nothing; "
        "leave out nodes.upload, or move the model to a cuda worker of that device"
    ]
    del there
    upload.close()
    assert driver.held == 0


def test_a_model_without_memory_for_the_device_gets_the_frame_from_the_host(files, expected):
    driver = StandInDriver()
    upload = Upload(StandInUpload(driver))
    _, depth = nodes(files, lambda _: trt_on(driver))
    for node in (upload, depth):
        node.setup()

    tried = []

    def full(*_):
        tried.append(driver.held)
        raise OutOfMemoryError("no memory")

    depth.model.model.run_placed = full
    frame = picture(0)
    same(depth.process(upload.process(frame)), expected(frame)[1])
    assert len(tried) == 1
    depth.close()
    upload.close()


class Full:
    """A model on a GPU whose memory is full, from the first frame on."""

    def __init__(self, model) -> None:
        self.inputs, self.outputs, self.metadata = model.inputs, model.outputs, model.metadata
        self.placement = model.placement
        self.places = model.places
        self.close = model.close

    def __call__(self, *inputs):
        raise OutOfMemoryError("far: no memory")

    run_placed = __call__


class FullEngine(NamedTrt):
    def load(self, spec):
        return Full(super().load(spec))


def test_a_ladder_goes_down_a_step_where_the_gpu_is_full_and_later_frames_come_from_the_host(files, expected):
    driver = StandInDriver()
    GPUS["full"] = driver
    ladder = Ladder(["gpu", "cpu"], {"gpu": FullEngine("full"), "cpu": Onnx()})
    upload = Upload(StandInUpload(driver))
    depth = Depth(ladder, "far", weights=str(files[1]), size_wh=[SIDE, SIDE], kind="relative")
    upload.setup()
    depth.setup()
    for seed in range(3):
        frame = picture(seed)
        same(depth.process(upload.process(frame)), expected(frame)[1])
    assert depth.facts()["model"]["step"] == "1"
    depth.close()
    upload.close()
    assert driver.held == 0


def test_on_its_way_to_another_process_a_frame_is_one_of_the_host(files):
    driver = StandInDriver()
    upload = Upload(StandInUpload(driver))
    upload.setup()
    frame = picture(3)
    there = upload.process(frame)
    for other in (pickle.loads(pickle.dumps(there)), there.on_host()):
        assert type(other) is Frame
        np.testing.assert_array_equal(other.pixels, frame.pixels)
    upload.close()


def test_a_device_frame_has_an_image():
    with pytest.raises(ValueError, match=r"^DeviceFrame\.image is None"):
        DeviceFrame(picture(0).pixels)


def test_the_contract_of_the_image_goes_through():
    contract = {"size_wh": (8, 8), "channels": 3}
    assert Upload.emits({}, {"image": contract}) == {"": contract}
