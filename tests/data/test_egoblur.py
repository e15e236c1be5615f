"""The wearer's own hands are not announced; those who sit there are."""

import pytest

from nodes.fuse import Fuse
from tests.data.real import detected

pytestmark = pytest.mark.data


def test_own_hands_are_no_hazard_and_both_persons_facing_are(data):
    fuse, hands = Fuse(min_conf=0.4), 0
    for captured, detections in detected(data, "egoblur_aria_gen2_table.mp4"):
        width, height = detections.size_wh
        persons = [h for h in fuse.process(detections).items if h.name == "person"]
        facing = [h for h in persons if h.xyxy[3] < 0.7 * height and h.xyxy[0] > 0.25 * width and h.conf > 0.7]
        assert len(facing) == 2, captured.seq
        assert not [h for h in persons if h.xyxy[1] > 0.65 * height and h.xyxy[3] > 0.97 * height], captured.seq
        hands += sum(
            detections.name(i) == "person" and detections.xyxy[i, 1] > 0.65 * height and detections.conf[i] > 0.4
            for i in range(len(detections))
        )
    assert hands >= 5  # the detector does take them for persons
