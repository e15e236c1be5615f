import numpy as np

from nodes.light_meter import LightMeter
from nodes.messages import Frame, Utterance


def frame(luma: int) -> Frame:
    return Frame(np.full((480, 640), luma, np.uint8))


def test_speaks_once_when_it_gets_dark():
    meter = LightMeter(min_luma=30)
    said = [meter.process(frame(x)) for x in (80, 10, 10, 80, 10)]
    assert said == [None, Utterance("It is dark."), None, None, Utterance("It is dark.")]


def test_colour_is_metered_as_gray_is():
    assert LightMeter(min_luma=30).process(Frame(np.full((480, 640, 3), 10, np.uint8))) == Utterance("It is dark.")


def test_a_luma_that_no_picture_has_is_a_mistake():
    assert list(LightMeter.check({"min_luma": 300})) == ["min_luma: is 300; expected a number, 0 to 255"]
    assert list(LightMeter.check({})) == []
