import numpy as np
import pytest

from nodes.fuse import Fuse
from nodes.messages import DepthMap, Detections
from nodes.ops.camera import Pinhole

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


def test_the_wearers_hands_are_no_hazard_but_a_near_pedestrian_and_a_car_are():
    hands, pedestrian, car = (200, 400, 400, 480), (100, 20, 400, 480), (200, 400, 400, 480)
    assert len(Fuse().process(detections(hands))) == 0
    assert len(Fuse().process(detections(pedestrian))) == 1
    assert len(Fuse().process(detections(car, classes=[1]))) == 1
    assert len(Fuse(body_top=None).process(detections(hands))) == 1


def test_the_uncertain_and_the_unwanted_are_left_out():
    assert len(Fuse(min_conf=0.5).process(detections((0, 0, 9, 9), conf=0.4))) == 0
    assert len(Fuse(classes=["car"]).process(detections((0, 0, 9, 9)))) == 0


def test_an_empty_frame_gives_no_hazard():
    assert Fuse().process(detections()).items == ()


def test_mistakes_show_at_once():
    found = list(Fuse.check({"min_conf": 2, "body_top": -1, "classes": "person"}))
    assert [p.partition(":")[0] for p in found] == ["min_conf", "body_top", "classes"]
