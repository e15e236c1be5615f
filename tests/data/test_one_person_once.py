"""Six persons come and go, one after the other: six utterances, one in each one's time."""

import pytest

from nodes.fuse import Fuse
from nodes.messages import Utterance
from nodes.narrate import Narrate
from tests.data.real import detected
from tests.nodes.stamps import recorded

pytestmark = [pytest.mark.data, pytest.mark.timeout(300)]

FPS = 10
INTERVALS = [(65, 195), (235, 445), (510, 695), (745, 865), (930, 1195), (1235, 1355)]
"""First and last frame in which each of them is seen whole; they are seen in part up to a second before."""


@pytest.fixture(scope="module")
def said(data) -> list[tuple[int, Utterance]]:
    """Frame and utterance of all that is said; every third frame, at its own time, is enough and saves time."""
    fuse, narrate = Fuse(min_conf=0.4), Narrate(classes=["person"])
    narrate.setup()
    found = []
    for captured, detections in detected(data, "one-by-one-person-detection.mp4", every=3):
        stamp = recorded("camera", captured.seq, captured.captured_ns)
        found.append((captured.seq, narrate.process(fuse.process(detections), stamp)))
    return [(seq, utterance) for seq, utterance in found if utterance is not None]


def test_each_person_is_spoken_of_once_and_soon(said):
    assert len(said) == 6, said
    for (frame, _), (first, _) in zip(said, INTERVALS, strict=True):
        assert first - FPS <= frame <= first + 1.5 * FPS, said


def test_each_is_spoken_of_as_one_new_person_without_a_distance_that_nobody_measured(said):
    for _, utterance in said:
        assert utterance.text.startswith("person")
        assert utterance.why.startswith("new: 1 x person, conf 0.")
        assert "distance unknown" in utterance.why
