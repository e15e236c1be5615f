import numpy as np

from nodes.light_meter import LightMeter
from nodes.messages import Frame, Utterance


def frame(luma: int) -> Frame:
    return Frame(np.full((480, 640), luma, np.uint8))


def test_speaks_once_when_it_gets_dark():
    meter = LightMeter(min_luma=30)
    said = [meter.process(frame(x)) for x in (80, 10, 10, 80, 10)]
    assert said == [None, Utterance("It is dark."), None, None, Utterance("It is dark.")]
