"""Messages refuse what is not what they say, and cannot be changed."""

import re

import numpy as np
import pytest

from nodes.messages import DepthMap, Detections, Frame, Hazard, Utterance
from nodes.ops.camera import Pinhole

F, I = np.float32, np.int32  # noqa: E741


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Frame(np.zeros((4, 4, 4), np.uint8)), "Frame.pixels is uint8 (4, 4, 4); expected uint8 (n, n, 3)"),
        (lambda: Frame(np.zeros((4, 4), F)), "Frame.pixels is float32 (4, 4); expected uint8 (n, n)"),
        (
            lambda: Detections(np.zeros((2, 4), F), np.zeros(3, F), np.zeros(2, I), ("a",), (4, 4)),
            "Detections.conf is float32 (3,); expected float32 (2)",
        ),
        (
            lambda: Detections(np.zeros((1, 4), F), np.zeros(1, F), np.ones(1, I), ("a",), (4, 4)),
            "Detections.class_id runs from 1 to 1, but there are 1 class names",
        ),
        (
            lambda: DepthMap(np.zeros((2, 2), F), "feet", (4, 4)),
            "DepthMap.kind is 'feet'; expected 'metres' or 'relative'",
        ),
        (lambda: Utterance(" "), "Utterance.text is empty; expected something to say"),
        (lambda: Utterance("x", 4), "Utterance.priority is 4; expected 1 (urgent), 2 or 3"),
        (
            lambda: Hazard("car", 0, (0, 0, 1, 1), 0.5, distance_m=float("nan")),
            "Hazard.distance_m is nan; expected metres, or None where unknown",
        ),
        (
            lambda: Frame(np.zeros((4, 6), np.uint8), camera=Pinhole.from_hfov((4, 6), 70)),
            "Frame.camera is for (4, 6) pixels, the image has (6, 4)",
        ),
    ],
)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def test_arrays_are_read_only_and_not_copied():
    pixels = np.zeros((4, 4, 3), np.uint8)
    frame = Frame(pixels)
    assert np.shares_memory(frame.pixels, pixels)
    with pytest.raises(ValueError, match="read-only"):
        frame.pixels[0, 0, 0] = 1


def test_a_frame_tells_its_contract():
    contract = Frame(np.zeros((4, 6), np.uint8), upright=False).contract()
    assert contract == {"size_wh": (6, 4), "channels": 1, "dtype": "uint8", "colour": "gray", "upright": False}
