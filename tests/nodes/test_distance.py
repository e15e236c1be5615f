"""The background never wins: the distance of an object that covers only part of its box."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nodes.ops.distance import object_distance_m, object_nearness

SIZE = (200, 200)
BOX = (40, 40, 160, 160)


def scene(share: float, near_m: float, far_m: float, noise: float = 0.02, seed: int = 0) -> np.ndarray:
    """A map of `far_m` with an upright object of `near_m` in the middle of `BOX` that covers `share` of it."""
    rng = np.random.default_rng(seed)
    values = np.full((200, 200), far_m, np.float32)
    half = round(60 * share)
    values[40:160, 100 - half : 100 + half] = near_m
    return (values * (1 + noise * rng.standard_normal(values.shape))).astype(np.float32)


@given(st.floats(0.25, 0.9), st.floats(0.5, 20), st.floats(1.4, 10), st.integers(0, 5))
def test_an_object_before_any_background_is_measured(share, near_m, ratio, seed):
    found = object_distance_m(scene(share, near_m, near_m * ratio, seed=seed), BOX, SIZE)
    assert abs(found / near_m - 1) < 0.05


def test_stray_near_points_are_no_object():
    values = scene(0.5, 8, 30)
    values[50:54, 60:90] = 1.0  # a twig: under a hundredth of the box
    assert abs(object_distance_m(values, BOX, SIZE) / 8 - 1) < 0.05


def test_unknown_depth_is_left_out_and_nothing_known_is_none():
    values = scene(0.5, 8, 30)
    values[::2] = np.nan
    values[:, ::2] = 0
    assert abs(object_distance_m(values, BOX, SIZE) / 8 - 1) < 0.05
    assert object_distance_m(np.full((200, 200), np.nan, np.float32), BOX, SIZE) is None


def test_the_map_may_have_another_size_than_the_frame():
    small = scene(0.5, 8, 30)[::4, ::4]
    assert abs(object_distance_m(np.ascontiguousarray(small), BOX, SIZE) / 8 - 1) < 0.05


def test_a_box_beyond_the_edge_or_without_extent_is_no_error():
    values = scene(0.5, 8, 30)
    assert object_distance_m(values, (-50, -50, 500, 500), SIZE) is not None
    assert object_distance_m(values, (100, 100, 100, 100), SIZE) is None


def test_nearness_is_that_of_the_object_and_between_0_and_1():
    relative = 1 / scene(0.3, 2, 20)
    assert object_nearness(relative.astype(np.float32), BOX, SIZE) > 0.9
    assert object_nearness(relative.astype(np.float32), (0, 0, 30, 30), SIZE) < 0.1
    assert object_nearness(np.ones((20, 20), np.float32), BOX, SIZE) is None
