"""Glasses at a table: the wearer's own hands are not announced, the two persons who face the wearer are.

The hands reach up to 0.70 of the picture's height from the top. On the left a neighbour's arms reach in: a real person,
who may be passed on or not.
"""

import pytest

from nodes.fuse import Fuse
from tests.data.real import detected

pytestmark = pytest.mark.data

FRAMES = 14


@pytest.fixture(scope="module")
def frames(data):
    return [detections for _, detections in detected(data, "egoblur_aria_gen2_table.mp4")]


def hands(frames) -> list[tuple[int, int]]:
    """Frame and number of what the detector calls a person there, right of the neighbour."""
    return [
        (f, i)
        for f, d in enumerate(frames)
        for i in range(len(d))
        if d.name(i) == "person" and d.xyxy[i, 1] > 0.68 * d.size_wh[1] and d.xyxy[i, 2] > 0.5 * d.size_wh[0]
    ]


def test_the_detector_does_take_own_hands_for_persons(frames):
    found = hands(frames)
    assert len([1 for f, i in found if frames[f].conf[i] > 0.4]) >= 7


def test_own_hands_are_no_hazard_however_sure_the_detector_is(frames):
    fuse = Fuse(min_conf=0.05)
    boxes = [{h.xyxy for h in fuse.process(d).items} for d in frames]
    assert [(f, i) for f, i in hands(frames) if tuple(frames[f].xyxy[i].tolist()) in boxes[f]] == []


def test_both_persons_who_face_the_wearer_are_hazards_in_every_frame(frames):
    fuse = Fuse(min_conf=0.4)
    assert len(frames) == FRAMES
    for detections in frames:
        height = detections.size_wh[1]
        persons = [h for h in fuse.process(detections).items if h.name == "person" and h.conf > 0.7]
        facing = sorted(h.bearing_deg for h in persons if h.xyxy[3] < 0.7 * height)
        assert len(facing) == 2
        assert facing[0] < 0 < facing[1]
