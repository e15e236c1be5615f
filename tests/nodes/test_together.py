"""Several frames in one call of the model: each gets what it would have got alone."""

import tracemalloc

import numpy as np
import pytest

from engines.base import EngineError
from engines.onnx import Onnx
from nodes.depth import Depth
from nodes.detector import Detector
from nodes.messages import Frame
from nodes.ops.letterbox import BatchTensor, ImageTensor
from nodes.street.source import Street
from tests.engines.models import conv
from tests.nodes.fakes import FakeEngine

NAMES = "{0: 'person', 1: 'car', 2: 'dog'}"
STREET = {"weights": "shipped:street_yolo12n.onnx", "size_wh": [320, 320], "head": "dense"}
DEPTH = {"weights": "shipped:street_depth.onnx", "size_wh": [256, 256], "kind": "metres", "max_m": 60}


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """A picture of each camera of the glasses, of three sizes and shapes."""
    street = Street("demo", size_px=352, slam_fps=10, fps=10, realtime=False, threads=1)
    street.setup()
    streams = [street.process() for _ in range(2)]
    street.close()
    first, last = streams
    tall = Frame(np.ascontiguousarray(last.rgb.message.pixels[:, :200]))
    return [first.slam_left.message, first.rgb.message, tall, last.slam_right.message]


def node_of(kind, params, *, batch_max=1, engine=None):
    node = kind(engine or Onnx(threads=1, warm_up=0), "street", **params)
    node.batch_max = batch_max
    node.setup()
    return node


def test_detections_of_a_batch_are_those_of_each_frame_alone(frames):
    alone, together = node_of(Detector, STREET), node_of(Detector, STREET, batch_max=4)
    expected = [alone.process(f) for f in frames]
    for some in (frames, frames[1:3], frames[:1]):
        for frame, got in zip(some, together.process_batch(some), strict=True):
            want = expected[frames.index(frame)]
            np.testing.assert_allclose(got.xyxy, want.xyxy, atol=0.05)
            np.testing.assert_allclose(got.conf, want.conf, atol=1e-3)
            assert got.class_id.tolist() == want.class_id.tolist()
            assert (got.size_wh, got.camera) == (frame.size_wh, frame.camera)
    assert sum(map(len, expected)) > 8
    alone.close()
    together.close()


def test_depth_of_a_batch_is_that_of_each_frame_alone(frames):
    alone, together = node_of(Depth, DEPTH), node_of(Depth, DEPTH, batch_max=3)
    for frame, got in zip(frames[:3], together.process_batch(frames[:3]), strict=True):
        np.testing.assert_allclose(got.values, alone.process(frame).values, rtol=1e-4)
        assert got.size_wh == frame.size_wh
    alone.close()
    together.close()


def test_a_slot_that_held_another_shape_keeps_nothing_of_it():
    rng = np.random.default_rng(0)
    wide, tall = (rng.integers(0, 255, shape, np.uint8) for shape in ((32, 64, 3), (64, 32, 3)))
    batch = BatchTensor((64, 64), 2)
    for order in ([wide, tall], [tall, wide], [tall, tall]):
        boxes = [slot.letterbox(pixels) for slot, pixels in zip(batch.images, order, strict=True)]
        for i, pixels in enumerate(order):
            one = ImageTensor((64, 64))
            assert one.letterbox(pixels) == boxes[i]
            np.testing.assert_array_equal(batch.first(2)[i], one.values[0])


def test_the_tensor_of_a_batch_is_not_allocated_again():
    node = node_of(Detector, {"weights": None, "size_wh": [320, 320]}, batch_max=4, engine=silent(batch=None))
    images = [Frame(np.zeros((240, 320, 3), np.uint8))] * 4
    node.process_batch(images)
    node.model.model = Counting(node.model.model)  # keeps no copy of what it is fed, as the fake does
    tracemalloc.start()
    node.process_batch(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert node.model.model.fed_shape == (4, 3, 320, 320)
    assert peak < 320 * 320 * 4


class Counting:
    def __init__(self, model):
        self.model, self.placement = model, model.placement

    def __call__(self, images):
        self.fed_shape = images.shape
        return (np.zeros((len(images), 7, 2100), np.float32),)


def silent(*, batch):
    takes = (batch, 3, 320, 320)
    answer = lambda x: np.zeros((len(x), 7, 2100), np.float32)  # noqa: E731
    return FakeEngine(answer, takes=takes, gives=(batch, 7, 2100), metadata={"names": NAMES})


@pytest.mark.parametrize("kind", [Detector, Depth])
def test_a_model_that_takes_one_at_a_time_does_not_pretend(kind):
    params = {"weights": None, "size_wh": [320, 320], **({"kind": "metres"} if kind is Depth else {})}
    message = r"street: the model takes 1 at a time, and batch.max is 2; export it with a free batch size, or remove"
    with pytest.raises(EngineError, match=message):
        node_of(kind, params, batch_max=2, engine=silent(batch=1))


def test_a_real_file_with_a_fixed_batch_says_the_same(tmp_path):
    params = {"weights": str(conv(tmp_path / "m.onnx", batch=1, size=32)), "size_wh": [32, 32]}
    with pytest.raises(EngineError, match=r"the model takes 1 at a time, and batch\.max is 3"):
        node_of(Depth, params | {"kind": "metres"}, batch_max=3)


def test_every_size_of_batch_is_warmed_up():
    engine = silent(batch=None)
    node_of(Detector, {"weights": None, "size_wh": [320, 320]}, batch_max=3, engine=engine)
    assert engine.spec.batch_sizes == (1, 2, 3)
    assert engine.spec.inputs == {"": (None, 3, 320, 320)}


def test_a_frame_on_its_side_is_refused_before_anything_is_computed():
    node = node_of(Detector, {"weights": None, "size_wh": [320, 320]}, batch_max=2, engine=silent(batch=None))
    pixels = np.zeros((240, 320, 3), np.uint8)
    with pytest.raises(ValueError, match="lies on its side"):
        node.process_batch([Frame(pixels), Frame(pixels, upright=False)])
    assert node.model.model.fed is None


def test_an_output_for_fewer_images_is_no_result():
    engine = FakeEngine(np.zeros((1, 7, 2100), np.float32), takes=(None, 3, 320, 320), metadata={"names": NAMES})
    node = node_of(Detector, {"weights": None, "size_wh": [320, 320]}, batch_max=2, engine=engine)
    with pytest.raises(EngineError, match=r"2 images gave an output \(1, 7, 2100\); expected one for each"):
        node.process_batch([Frame(np.zeros((240, 320, 3), np.uint8))] * 2)
