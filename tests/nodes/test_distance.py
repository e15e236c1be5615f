"""The background never wins: the distance of an object that covers only part of its box."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.ops.distance import object_distance_m, object_nearness, relative_range

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
def test_an_object_that_covers_a_quarter_of_its_box_is_measured_before_any_background(share, near_m, ratio, seed):
    found = object_distance_m(scene(share, near_m, near_m * ratio, seed=seed), BOX, SIZE)
    assert found == pytest.approx(near_m, rel=0.05)


@given(st.floats(0.25, 0.45), st.floats(0.5, 20), st.integers(0, 5))
def test_a_background_that_recedes_does_not_win_either(share, near_m, seed):
    is_object = scene(share, 1, 2, noise=0) == 1
    slope = np.linspace(1.5 * near_m, 8 * near_m, 200, dtype=np.float32)
    values = np.where(is_object, scene(share, near_m, near_m, seed=seed), slope)
    assert object_distance_m(values, BOX, SIZE) == pytest.approx(near_m, rel=0.05)


def test_what_stands_before_the_object_is_read_where_it_covers_enough():
    values = scene(0.8, 8, 30)
    values[40:160, 90:114] = 3.0
    assert object_distance_m(values, BOX, SIZE) == pytest.approx(3, rel=0.01)


def test_stray_near_points_are_no_object():
    values = scene(0.5, 8, 30)
    values[50:54, 60:90] = 1.0  # a twig: under a hundredth of the box
    assert object_distance_m(values, BOX, SIZE) == pytest.approx(8, rel=0.05)


@pytest.mark.parametrize("step", [2, 3])
def test_unknown_depth_is_left_out_even_where_it_lies_in_rows(step):
    values = scene(0.5, 8, 30)
    keep = np.zeros_like(values, bool)
    keep[1::step, 1::step] = True
    values[~keep] = np.nan
    assert object_distance_m(values, BOX, SIZE) == pytest.approx(8, rel=0.05)
    values[~keep] = 0
    assert object_distance_m(values, BOX, SIZE) == pytest.approx(8, rel=0.05)


def test_nothing_known_is_none():
    assert object_distance_m(np.full((200, 200), np.nan, np.float32), BOX, SIZE) is None
    assert object_distance_m(np.zeros((200, 200), np.float32), BOX, SIZE) is None


@pytest.mark.parametrize("scale", [0.25, 4])
def test_the_map_may_have_another_size_than_the_frame(scale):
    size_wh = (int(SIZE[0] / scale), int(SIZE[1] / scale))
    box = [side / scale for side in BOX]
    assert object_distance_m(scene(0.5, 8, 30), box, size_wh) == pytest.approx(8, rel=0.05)


def test_a_box_beyond_the_edge_or_without_extent_is_no_error():
    values = scene(0.5, 8, 30)
    assert object_distance_m(values, (-50, -50, 500, 500), SIZE) == pytest.approx(8, rel=0.05)
    assert object_distance_m(values, (100, 100, 100, 100), SIZE) is None
    assert object_distance_m(values, (300, 300, 400, 400), SIZE) is None
    assert object_distance_m(values, (-90, -90, -50, -50), SIZE) is None


def nearness(values: np.ndarray, box: tuple[int, ...]) -> float | None:
    relative = (1 / values).astype(np.float32)
    limits = relative_range(relative)
    assert limits is not None
    return object_nearness(relative, box, size_wh=SIZE, limits=limits)


@given(st.floats(0.25, 0.9), st.floats(1, 10), st.floats(3, 10), st.integers(0, 5))
def test_nearness_is_that_of_the_object_and_not_of_what_is_behind_it(share, near, ratio, seed):
    values = scene(share, near, near * ratio, seed=seed)
    assert nearness(values, BOX) > 0.85
    assert nearness(values, (0, 0, 30, 30)) < 0.15


def test_nearness_does_not_depend_on_the_scale_of_a_relative_map():
    relative = (1 / scene(0.3, 2, 20)).astype(np.float32)
    found = [object_nearness(m, BOX, size_wh=SIZE, limits=relative_range(m)) for m in (relative, 7 * relative - 100)]
    assert found[0] == pytest.approx(found[1], abs=1e-3)


def test_a_flat_or_unknown_relative_map_has_no_range():
    assert relative_range(np.ones((20, 20), np.float32)) is None
    assert relative_range(np.full((20, 20), np.nan, np.float32)) is None
    assert object_nearness(np.full((20, 20), np.nan, np.float32), BOX, size_wh=SIZE, limits=(0, 1)) is None
