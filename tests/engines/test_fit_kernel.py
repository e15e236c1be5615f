"""The kernel of fit.cu, run on the CPU, beside the letterbox of the host."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.base import EngineError, Place
from engines.device import compile as compiling
from nodes.ops.letterbox import ImageTensor
from tests.engines.devices import Context, Upload
from tests.engines.standin_cuda import StandInDriver

sides = st.integers(1, 90)


def on_device(pixels, tensor, anchor, dtype="f4"):
    """What the kernel writes for `tensor`, and how it lies there."""
    driver = StandInDriver()
    with Context(driver) as stream:
        upload = Upload(driver)
        upload.open()
        box, fit = tensor.fit((pixels.shape[1], pixels.shape[0]), anchor=anchor)
        dtype = np.dtype(dtype)
        address = upload._device.allocate(tensor.values.size * dtype.itemsize)
        place = Place("cuda:0", address, tensor.values.shape, dtype, stream.handle)
        upload.upload(pixels).write(place, fit)
        values = driver.memory[address].view(dtype).reshape(tensor.values.shape).copy()
        upload._device.free(address)
        upload.close()
    assert driver.held == 0
    return values, box


def on_host(pixels, tensor, anchor):
    if anchor is None:
        tensor.stretch(pixels)
        return tensor.values, None
    box = tensor.letterbox(pixels, anchor=anchor)
    return tensor.values, box


def image(width, height, channels, seed=0):
    shape = (height, width, 3) if channels == 3 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@given(sides, sides, sides, sides, st.sampled_from([1, 3]), st.sampled_from(["centre", "corner", None]))
@settings(deadline=None, max_examples=80)
def test_it_writes_what_the_host_writes_to_one_gray_level(width, height, input_w, input_h, channels, anchor):
    pixels = image(width, height, channels, width)
    tensor = ImageTensor((input_w, input_h), colour="bgr", scale=(1.0, 0.5, 2.0), offset=(0.0, -3.0, 1.0))
    ours, our_box = on_device(pixels, tensor, anchor)
    theirs, box = on_host(pixels, tensor, anchor)
    for channel, scale in enumerate((1.0, 0.5, 2.0)):
        assert np.abs(ours[0, channel] - theirs[0, channel]).max() <= scale * (1 + 1e-6)
    assert box is None or box == our_box


@pytest.mark.parametrize(
    ("source", "target"), [((1408, 1408), (640, 640)), ((640, 480), (256, 256)), ((64, 48), (128, 96))]
)
def test_hardly_a_value_differs_at_all(source, target):
    pixels, tensor = image(*source, 3), ImageTensor(target)
    ours, _ = on_device(pixels, tensor, "centre")
    theirs, _ = on_host(pixels, tensor, "centre")
    differs = np.abs(ours - theirs) > 1e-6
    assert differs.mean() < 0.01
    assert np.abs(ours - theirs).max() < 1.001 / 255


def test_half_precision_is_the_nearest_half():
    pixels, tensor = image(50, 40, 3), ImageTensor((64, 64), offset=(0.1, 0.2, 0.3))
    full, _ = on_device(pixels, tensor, "centre")
    half, _ = on_device(pixels, tensor, "centre", "f2")
    np.testing.assert_array_equal(half, full.astype(np.float16))


def test_an_input_of_another_type_or_shape_is_refused():
    tensor = ImageTensor((8, 8))
    with pytest.raises(EngineError, match=r"^the model takes uint8 \(1, 3, 8, 8\); expected \(1, 3, h, w\) float32"):
        on_device(image(4, 4, 3), tensor, "centre", "u1")


def test_an_image_is_not_written_into_a_model_on_another_device():
    driver = StandInDriver()
    with Context(driver):
        upload = Upload(driver)
        upload.open()
        picture = upload.upload(image(4, 4, 3))
        with pytest.raises(EngineError, match=r"^the image lies on cuda:0, the model on cuda:1"):
            picture.write(Place("cuda:1", 0, (1, 3, 8, 8), np.dtype("f4"), 0), None)
        upload.close()


def test_what_is_shipped_was_made_from_the_source_that_is_shipped():
    first = compiling.RESULT.read_text().splitlines()[:3]
    assert first == [f"// fit.cu {compiling.fingerprint()}", f".version {compiling.LEAST}", ".target sm_75"]
