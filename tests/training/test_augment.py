"""Boxes stay on what they surround, whatever is done to the picture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.training import augment

SIDE = 64


def one(left=20, top=24, right=36, bottom=44):
    """A white box on black, and where it is."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[top:bottom, left:right] = 255
    return image, np.array([[3, left / SIDE, top / SIDE, right / SIDE, bottom / SIDE]], np.float32)


def seen(image):
    """Left, top, right, bottom of what is white, in pixels."""
    rows, columns = np.nonzero(image[..., 0] > 127)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_mirrored_boxes_follow():
    image, boxes = augment.mirrored(*one())
    assert (boxes[0, 1:] * SIDE).tolist() == pytest.approx(seen(image))
    assert boxes[0, 0] == 3


@given(st.integers(0, 10_000))
def test_moved_boxes_follow_within_two_pixels(seed):
    image, boxes = augment.moved(np.random.default_rng(seed), *one())
    assert np.abs(boxes[0, 1:] * SIDE - seen(image)).max() <= 2


def test_four_in_one_has_the_boxes_of_all():
    image, boxes = augment.four([one(), one(0, 0, 10, 12), one(), one(40, 40, 64, 64)])
    assert image.shape == (SIDE, SIDE, 3)
    assert (boxes[:, 1:] * SIDE).tolist() == [[10, 12, 18, 22], [32, 0, 37, 6], [10, 44, 18, 54], [52, 52, 64, 64]]


def test_a_box_of_which_little_is_left_is_dropped():
    corners = np.array([[-0.9, 0.1, 0.1, 0.4], [-0.1, 0.1, 0.3, 0.4], [0.5, 0.5, 0.501, 0.9]])
    assert len(augment._kept(np.zeros((3, 5), np.float32), corners)) == 1


def test_without_boxes_there_are_none():
    _, boxes = augment.moved(np.random.default_rng(0), one()[0], np.zeros((0, 5), np.float32))
    assert boxes.shape == (0, 5)


def test_the_same_lot_gives_the_same_light():
    image, _ = one()
    same = [augment.coloured(np.random.default_rng(seed), image) for seed in range(20) for _ in range(2)]
    assert all(np.array_equal(a, b) for a, b in zip(same[::2], same[1::2], strict=True))
    assert {picture.dtype for picture in same} == {np.dtype(np.uint8)}
    assert not np.array_equal(same[0], same[2])
