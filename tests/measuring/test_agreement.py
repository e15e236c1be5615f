"""Agreement of boxes and depths, against figures computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.measuring.agreement import (
    AS_IS,
    BoxCount,
    Means,
    affine,
    against_reference,
    against_truth,
    depth_errors,
    iou,
    pairs,
)
from nodes.messages import DepthMap, Detections

NAMES = ("person", "car")


def found(*rows) -> Detections:
    """Rows of left, top, right, bottom, confidence, class."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4].copy(), table[:, 4].copy(), table[:, 5].astype(np.int32), NAMES, (100, 100))


A = (0, 0, 10, 10, 0.9, 0)
ALMOST_A = (0, 0, 10, 9.5, 0.8, 0)  # overlap 0.95
HALF_A = (0, 0, 10, 5, 0.8, 0)
A_AS_CAR = (0, 0, 10, 10, 0.9, 1)
B = (50, 50, 70, 70, 0.5, 1)
WEAK_B = (50, 50, 70, 70, 0.24, 1)


def test_overlap_of_boxes():
    a = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], np.float32)
    b = np.array([[5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(iou(a, b), [[1 / 3, 0], [0, 0]])


@pytest.mark.parametrize(
    ("ours", "theirs", "f1"),
    [
        ([A, B], [ALMOST_A, B], 1.0),
        ([A], [HALF_A], 0.0),
        ([A], [A_AS_CAR], 0.0),
        ([A, B], [A], 2 / 3),
        ([A, B], [A, WEAK_B], 2 / 3),
        ([A, A], [A], 2 / 3),  # one to one: the doubled box has no partner
        ([], [A], 0.0),
        ([], [], None),
    ],
)
def test_f1_of_boxes(ours, theirs, f1):
    count = BoxCount()
    count.add(found(*ours), found(*theirs), min_conf=0.25, iou=0.9)
    assert count.f1 == (None if f1 is None else pytest.approx(f1))


def test_counts_of_frames_are_added_before_the_f1():
    count = BoxCount()
    count.add(found(A, B), found(A, B), min_conf=0.25, iou=0.9)
    count.add(found(A), found(), min_conf=0.25, iou=0.9)
    assert count.f1 == pytest.approx(4 / 5)


def test_the_best_partner_is_taken():
    worse, better = (0, 0, 10, 9.2, 0.9, 0), (0, 0, 10, 9.9, 0.9, 0)
    assert pairs(found(worse, better), found(A, worse), 0.9) == 2


def test_affine_alignment_by_hand():
    assert affine([1, 2, 3], [5, 7, 9]) == pytest.approx((2, 3))
    # By hand: means 2 and 2, covariance 1/3, variance 2/3.
    assert affine([1, 2, 3], [1, 3, 2]) == pytest.approx((0.5, 1))
    assert affine([4, 4, 4], [1, 2, 3]) == (0, 2)


@given(st.floats(0.1, 50), st.floats(-20, 20))
def test_a_map_that_is_only_scaled_and_shifted_agrees(scale, shift):
    values = np.linspace(1, 30, 60).reshape(6, 10)
    errors = depth_errors((values - shift) / scale, values)
    assert errors["AbsRel"] < 1e-6
    assert errors["delta1"] == 1


def test_errors_of_depth_by_hand():
    errors = depth_errors(np.array([[1.1, 2.0, 6.0]]), np.array([[1.0, 2.0, 4.0]]), align=False)
    assert errors["AbsRel"] == pytest.approx((0.1 + 0 + 0.5) / 3)
    assert errors["delta1"] == pytest.approx(2 / 3)


def test_what_is_unknown_on_one_side_does_not_count():
    errors = depth_errors(np.array([[1.0, np.nan, 9.0, 5.0]]), np.array([[1.0, 2.0, np.nan, 0.0]]), align=False)
    assert errors["AbsRel"] == 0
    assert depth_errors(np.full((2, 2), np.nan), np.ones((2, 2))) is None


def depth(values, kind="metres") -> DepthMap:
    return DepthMap(np.asarray(values, np.float32), kind, (100, 100))


def test_doubled_metres_agree_when_aligned_but_not_as_they_are():
    values = np.linspace(1, 10, 16).reshape(4, 4)
    errors = against_reference(depth(2 * values), depth(values))
    assert errors["AbsRel"] == pytest.approx(0, abs=1e-6)
    assert errors[AS_IS] == pytest.approx(1)


def test_inverse_depth_is_compared_with_metres_after_inversion():
    metres = np.linspace(1, 10, 16).reshape(4, 4).astype(np.float32)
    errors = against_truth(depth(3 / metres + 0.5, "relative"), np.repeat(np.repeat(metres, 2, 0), 2, 1))
    assert errors["AbsRel"] == pytest.approx(0, abs=1e-5)
    assert against_truth(depth(metres), np.full((4, 4), np.nan, np.float32)) is None


def test_means_are_over_the_frames_that_count():
    means = Means()
    assert means.figures() is None
    for errors in ({"AbsRel": 0.1, "delta1": 1.0, "scale": 2.0}, None, {"AbsRel": 0.3, "delta1": 0.5, "scale": 1.0}):
        means.add(errors)
    assert means.figures() == {"AbsRel": pytest.approx(0.2), "delta1": pytest.approx(0.75)}
