"""What the wearer is told when what is seen is no longer what is there."""

import time

from graph import Stamp
from nodes.messages import Hazard, Hazards
from nodes.narrate import Narrate
from nodes.ops.lateness import Lateness
from tests.nodes.stamps import recorded

MS = 10**6


def test_one_late_frame_is_no_news_but_half_a_second_of_them_is():
    lateness = Lateness(1000 * MS)
    told = [lateness.seen(t * MS, age * MS) for t, age in ((0, 50), (30, 1200), (60, 50), (100, 1200), (400, 1300))]
    assert told == [None] * 5
    assert lateness.seen(610 * MS, 1300 * MS) == "late"
    assert lateness.seen(700 * MS, 1300 * MS) is None


def test_it_is_back_when_all_has_been_in_time_for_a_second():
    lateness = Lateness(1000 * MS)
    assert lateness.silent() == "late"
    assert lateness.silent() is None
    told = [lateness.seen(t * MS, age * MS) for t, age in ((0, 50), (900, 50), (950, 1500), (1000, 50), (1900, 50))]
    assert told == [None] * 5
    assert lateness.seen(2000 * MS, 50 * MS) == "back"


def narrate(**params) -> Narrate:
    node = Narrate(classes=["person"], **params)
    node.setup()
    return node


def live(seq: int, age_s: float) -> Stamp:
    return Stamp("cam", seq, time.monotonic_ns() - int(age_s * 1e9))


PERSON = Hazards((Hazard("person", 0.0, (0, 0, 10, 10), 0.9, 1, 1.0),), (100, 100))


def test_vision_that_is_late_is_said_before_anything_else_and_may_be_old():
    node = narrate()
    node.lateness = Lateness(1000 * MS)
    node.lateness._since_ns = 0  # frames have been late for long
    said = node.process(PERSON, live(1, 3.0))
    assert (said.text, said.priority, said.key) == ("vision is late", 1, "vision")
    assert said.max_age_ms > 3000
    assert said.why.startswith("vision late: what is seen is 3.0 s old")


def test_silence_is_told_once():
    node = narrate(language="es")
    stamp = live(1, 0)
    assert node.idle(stamp).text == "la visión va con retraso"
    assert node.idle(stamp) is None


def test_a_lossless_run_says_nothing_of_it():
    node = narrate()
    node.lateness._since_ns = 0
    stamps = [recorded("file", i, i * 33 * MS) for i in range(60)]
    assert all(u is None or u.key == "person" for u in (node.process(PERSON, s) for s in stamps))


def test_it_can_be_switched_off():
    node = narrate(late_s=None)
    assert node.idle_after_s is None
    said = [node.process(PERSON, live(i, 5.0)) for i in range(3)]
    assert all(u is None or u.key == "person" for u in said)
