import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.ops.letterbox import FILL, ImageTensor, Letterbox

sides = st.integers(16, 4000)
sizes = st.tuples(sides, sides)
inputs = st.tuples(st.integers(1, 40), st.integers(1, 40)).map(lambda n: (n[0] * 32, n[1] * 32))
anchors = st.sampled_from(["centre", "corner"])


@given(sizes, inputs, anchors, st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_a_point_comes_back_within_a_pixel(source_wh, input_wh, anchor, where):
    box = Letterbox.fit(source_wh, input_wh, anchor=anchor)
    xy = (np.array(where) * source_wh).astype(np.float32)
    assert np.abs(box.to_source(box.to_input(xy)) - xy).max() < 1


@given(sizes, inputs, anchors)
def test_the_picture_lies_inside_the_input_and_touches_it_on_two_sides(source_wh, input_wh, anchor):
    box = Letterbox.fit(source_wh, input_wh, anchor=anchor)
    width, height = box.picture_wh(source_wh)
    left, top = box.pad_xy
    assert left >= 0 <= top
    assert left + width <= input_wh[0]
    assert top + height <= input_wh[1]
    assert width == input_wh[0] or height == input_wh[1]


@given(sizes, inputs)
def test_the_aspect_is_kept_to_a_pixel(source_wh, input_wh):
    box = Letterbox.fit(source_wh, input_wh)
    width, height = box.picture_wh(source_wh)
    assert width == pytest.approx(source_wh[0] * box.scale, abs=1)
    assert height == pytest.approx(source_wh[1] * box.scale, abs=1)


def test_boxes_are_mapped_as_two_points():
    box = Letterbox.fit((1920, 1080), (640, 640))
    assert box == Letterbox(1 / 3, (0, 140))
    mapped = box.to_source(np.array([[0, 140, 640, 500]], np.float32))
    np.testing.assert_allclose(mapped, [[0, 0, 1920, 1080]], rtol=1e-6)


def gradient(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 50)], axis=-1).astype(np.uint8)


def test_a_picture_of_the_right_size_is_written_as_it_is_in_rgb_planes_of_0_to_1():
    pixels = gradient(64, 32)
    tensor = ImageTensor((64, 32))
    tensor.letterbox(pixels)
    assert tensor.values.shape == (1, 3, 32, 64)
    np.testing.assert_allclose(tensor.values[0].transpose(1, 2, 0), pixels / 255, atol=1e-6)


def test_padding_is_gray_114_on_both_sides_of_a_centred_picture():
    tensor = ImageTensor((64, 64))
    tensor.letterbox(np.zeros((32, 64, 3), np.uint8))
    np.testing.assert_allclose(tensor.values[0, :, :16], FILL / 255, rtol=1e-6)
    np.testing.assert_array_equal(tensor.values[0, :, 16:48], 0)
    np.testing.assert_allclose(tensor.values[0, :, 48:], FILL / 255, rtol=1e-6)


def test_yolox_gets_blue_first_0_to_255_in_the_top_left_corner():
    tensor = ImageTensor((64, 64), colour="bgr", scale=(1.0, 1.0, 1.0))
    tensor.letterbox(np.full((32, 64, 3), (10, 20, 30), np.uint8), anchor="corner")
    assert tensor.values[0, :, 0, 0].tolist() == [30, 20, 10]
    assert tensor.values[0, :, 31, 63].tolist() == [30, 20, 10]
    assert (tensor.values[0, :, 32:] == FILL).all()


def test_gray_becomes_three_equal_channels():
    tensor = ImageTensor((64, 64))
    tensor.letterbox(np.full((48, 64), 51, np.uint8))
    np.testing.assert_allclose(tensor.values[0, :, 10:50], 0.2, rtol=1e-6)


def test_the_tensor_is_allocated_once_and_padding_is_renewed_when_the_size_changes():
    tensor = ImageTensor((64, 64))
    values = tensor.values
    tensor.letterbox(np.full((64, 32, 3), 255, np.uint8))
    tensor.letterbox(np.full((32, 64, 3), 255, np.uint8))
    assert tensor.values is values
    np.testing.assert_allclose(values[0, :, :16], FILL / 255, rtol=1e-6)
    np.testing.assert_array_equal(values[0, :, 16:48], 1)


def test_frames_of_one_size_take_no_new_memory():
    tensor = ImageTensor((64, 64))
    tensor.letterbox(gradient(100, 50))
    resized, planes = tensor._resized, list(tensor._planes)
    tensor.letterbox(gradient(100, 50))
    assert tensor._resized is resized
    assert all(a is b for a, b in zip(tensor._planes, planes, strict=True))


def test_stretching_fills_the_whole_tensor_and_normalises_each_channel():
    tensor = ImageTensor((28, 14), scale=(1 / 255, 1 / 510, 1.0), offset=(-1.0, 0.0, 5.0))
    tensor.stretch(np.full((50, 40, 3), (255, 255, 7), np.uint8))
    for channel, value in enumerate((0.0, 0.5, 12.0)):
        np.testing.assert_allclose(tensor.values[0, channel], value, atol=1e-6)


def test_a_smaller_picture_is_that_of_a_bilinear_resize():
    pixels = gradient(128, 128)
    tensor = ImageTensor((64, 64))
    tensor.letterbox(pixels)
    mean_of_four = pixels.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(tensor.values[0].transpose(1, 2, 0) * 255, mean_of_four, atol=1.01)
