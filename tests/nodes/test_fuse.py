"""Bearing, distance and priority of what was detected; the wearer's own body is nobody."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.fuse import Fuse
from nodes.messages import DepthMap, Detections
from nodes.ops.camera import Pinhole
from nodes.ops.fisheye import KannalaBrandt

SIZE = (640, 480)
CAMERA = Pinhole.from_hfov(SIZE, 90)
NAMES = ("person", "car")


def detections(*boxes, conf=0.9, classes=None, camera=CAMERA) -> Detections:
    n = len(boxes)
    xyxy = np.array(boxes, np.float32).reshape(n, 4)
    ids = np.array(classes or [0] * n, np.int32)
    return Detections(xyxy, np.full(n, conf, np.float32), ids, NAMES, SIZE, camera)


def flat(metres: float) -> DepthMap:
    return DepthMap(np.full((48, 64), metres, np.float32), "metres", SIZE)


@pytest.mark.parametrize("degrees", [-40, -12.3, 0, 5, 30])
def test_bearing_is_that_of_the_middle_of_the_box(degrees):
    x = CAMERA.project([np.sin(np.radians(degrees)), 0, np.cos(np.radians(degrees))])[0, 0] + 0.5
    (hazard,) = Fuse().process(detections((x - 20, 200, x + 20, 300))).items
    assert hazard.bearing_deg == pytest.approx(degrees, abs=0.01)


def test_the_most_urgent_comes_first():
    left, ahead = (10, 100, 60, 300), (300, 100, 340, 300)
    far = Fuse().process(detections(left, ahead), flat(10)).items
    near = Fuse().process(detections(left, ahead), flat(1)).items
    assert [h.priority for h in far] == [3, 3]
    assert [(h.priority, round(h.bearing_deg)) for h in near] == [(1, 0), (2, -42)]


def test_without_depth_there_is_no_distance():
    (hazard,) = Fuse().process(detections((300, 100, 340, 300))).items
    assert (hazard.distance_m, hazard.nearness, hazard.priority) == (None, None, 2)


def test_relative_depth_gives_nearness_and_never_metres():
    values = np.zeros((48, 64), np.float32)
    values[10:30, 30:34] = 5
    (hazard,) = Fuse().process(detections((300, 100, 340, 300)), DepthMap(values, "relative", SIZE)).items
    assert hazard.distance_m is None
    assert hazard.nearness > 0.9


def test_distance_is_along_the_ground_while_depth_is_along_the_axis():
    x = CAMERA.project([np.sin(np.radians(40)), 0, np.cos(np.radians(40))])[0, 0] + 0.5
    (hazard,) = Fuse().process(detections((x - 5, 200, x + 5, 300)), flat(6)).items
    assert hazard.distance_m == pytest.approx(6 / np.cos(np.radians(40)), rel=1e-3)


@given(st.floats(0.2, 1.4), st.floats(-43, 43))
def test_what_is_near_is_urgent_exactly_where_a_walking_person_would_touch_it(depth_m, degrees):
    x = CAMERA.project([np.sin(np.radians(degrees)), 0, np.cos(np.radians(degrees))])[0, 0] + 0.5
    (hazard,) = (
        Fuse(urgent_m=9, path_half_width_m=0.6).process(detections((x - 5, 200, x + 5, 300)), flat(depth_m)).items
    )
    aside_m = depth_m * abs(np.tan(np.radians(degrees)))
    if abs(aside_m - 0.6) > 0.01:
        assert hazard.priority == (1 if aside_m < 0.6 else 2)


def test_what_moves_fast_matters_from_farther_away():
    ahead, beside = (300, 100, 340, 300), (310, 100, 350, 300)
    fuse = Fuse(reach={"car": 3})
    both = fuse.process(detections(ahead, beside, classes=[0, 1]), flat(4)).items
    assert [(h.name, h.priority) for h in both] == [("car", 1), ("person", 2)]


def test_what_is_too_far_is_left_out_and_what_is_of_unknown_distance_is_not():
    box = (300, 100, 340, 300)
    assert len(Fuse(max_distance_m=20).process(detections(box), flat(25))) == 0
    assert len(Fuse(max_distance_m=20).process(detections(box), flat(15))) == 1
    assert len(Fuse(max_distance_m=20).process(detections(box))) == 1


def test_relative_depth_puts_the_nearest_first():
    values = np.zeros((48, 64), np.float32)
    values[:, 32:] = 5
    values[:, 16:32] = 2
    far, middle, near = (50, 100, 90, 300), (200, 100, 240, 300), (400, 100, 440, 300)
    found = Fuse().process(detections(far, near, middle), DepthMap(values, "relative", SIZE)).items
    assert [round(h.xyxy[0]) for h in found] == [400, 200, 50]


def test_without_depth_the_tallest_box_counts_as_the_nearest():
    small, tall = (50, 100, 90, 200), (400, 100, 440, 400)
    found = Fuse().process(detections(small, tall)).items
    assert [round(h.xyxy[0]) for h in found] == [400, 50]


def test_a_flat_relative_map_tells_nothing():
    flat_map = DepthMap(np.ones((48, 64), np.float32), "relative", SIZE)
    (hazard,) = Fuse().process(detections((300, 100, 340, 300)), flat_map).items
    assert hazard.nearness is None


def test_a_box_whose_middle_the_lens_does_not_see_keeps_its_side():
    fisheye = KannalaBrandt((640, 480), 200.0, 200.0, 319.5, 239.5, (0.0, -0.1, 0.0, 0.0))
    corner = (590, 0, 640, 40)
    assert np.isnan(fisheye.unproject([[614.5, 19.5]])).all()
    (hazard,) = Fuse().process(detections(corner, camera=fisheye)).items
    assert hazard.bearing_deg > 30


HANDS, NEIGHBOUR, PEDESTRIAN = (200, 400, 400, 480), (0, 300, 190, 478), (100, 20, 400, 480)


@pytest.mark.parametrize(
    ("box", "class_id", "body_top", "count"),
    [
        (HANDS, 0, 0.65, 0),
        (HANDS, 0, None, 1),
        (HANDS, 1, 0.65, 1),
        (NEIGHBOUR, 0, 0.65, 1),
        (PEDESTRIAN, 0, 0.65, 1),
    ],
    ids=[
        "own hands",
        "own hands, rule off",
        "a car there",
        "arms of a neighbour",
        "a pedestrian who fills the picture",
    ],
)
def test_only_the_wearers_own_body_is_no_hazard(box, class_id, body_top, count):
    assert len(Fuse(body_top=body_top).process(detections(box, classes=[class_id]))) == count


def test_the_uncertain_and_the_unwanted_are_left_out():
    assert len(Fuse(min_conf=0.5).process(detections((0, 0, 9, 9), conf=0.4))) == 0
    assert len(Fuse(classes=["car"]).process(detections((0, 0, 9, 9)))) == 0


def test_an_empty_frame_gives_no_hazard():
    assert Fuse().process(detections()).items == ()


def test_mistakes_show_at_once():
    params = {"min_conf": 2, "body_top": -1, "classes": "person", "reach": {"car": 0}, "max_distance_m": "x"}
    assert list(Fuse.check(params)) == [
        "min_conf: is 2; expected a number, 0 to 1",
        "max_distance_m: is 'x'; expected a number, 0 or more",
        "body_top: is -1; expected a number, 0 to 1",
        "classes: is 'person'; expected a list of names, such as [person, car], or null",
        "reach: is {'car': 0}; expected a number above 0 for each class name, such as {car: 2}",
    ]
    assert list(Fuse.check({"max_distance_m": None, "body_top": None, "reach": None})) == []
