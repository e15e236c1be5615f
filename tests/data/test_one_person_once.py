"""Six persons come and go, one after the other: six utterances, one in each one's time."""

import pytest

from graph import Stamp
from nodes.fuse import Fuse
from nodes.narrate import Narrate
from tests.data.real import detected

pytestmark = [pytest.mark.data, pytest.mark.timeout(300)]

INTERVALS = [(65, 195), (235, 445), (510, 695), (745, 865), (930, 1195), (1235, 1355)]


def test_each_person_is_spoken_of_once(data):
    fuse, narrate = Fuse(min_conf=0.4), Narrate(classes=["person"])
    narrate.setup()
    said = []
    for captured, detections in detected(data, "one-by-one-person-detection.mp4", every=3):
        stamp = Stamp("camera", captured.seq, captured.captured_ns)
        utterance = narrate.process(fuse.process(detections), stamp)
        if utterance is not None:
            said.append((captured.seq, utterance.text))
    assert len(said) == 6, said
    for (frame, text), (first, last) in zip(said, INTERVALS, strict=True):
        assert first - 10 <= frame <= min(first + 25, last), said
        assert text.startswith("person, ")
