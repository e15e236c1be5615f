"""Capture times as machines with different clocks see them."""

from hypothesis import given
from hypothesis import strategies as st

from graph.cluster.pull import shifted
from graph.node import Stamp

NS = st.integers(-(10**18), 10**18)


@given(captured=NS, offset=NS, a=NS, b=NS, lossless=st.booleans())
def test_there_and_back_is_exact(captured: int, offset: int, a: int, b: int, lossless: bool) -> None:
    stamp = Stamp("camera", 7, captured, 0 if not lossless else offset)
    there = shifted(shifted(stamp, a, lossless=lossless), b - a, lossless=lossless)
    assert shifted(there, -b, lossless=lossless) == stamp


@given(captured=NS, ahead=NS, now=NS)
def test_an_age_is_the_same_by_every_clock(captured: int, ahead: int, now: int) -> None:
    """The age is now + offset - captured, by the clock of whoever asks."""
    for lossless in (False, True):
        here = Stamp("camera", 7, captured, captured - now + 5 if lossless else 0)
        there = shifted(here, ahead, lossless=lossless)
        assert (now + ahead) + there.offset_ns - there.captured_ns == now + here.offset_ns - here.captured_ns


def test_media_time_stays_what_it_is() -> None:
    assert shifted(Stamp("camera", 7, 100, 3), 50, lossless=True) == Stamp("camera", 7, 100, -47)
    assert shifted(Stamp("camera", 7, 100), 50, lossless=False) == Stamp("camera", 7, 150)
