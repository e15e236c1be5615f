"""Threads that step nodes have short time slices, and nothing else about them changes."""

import os
import platform
from threading import Thread

import pytest

from graph import timeslice
from tests.graph.helpers import lines, run, toy

KERNEL = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
since_6_12 = pytest.mark.skipif(KERNEL < (6, 12), reason="a Linux before 6.12 has one slice for all threads")


def in_a_thread(do):
    """What `do` returns in a thread of its own, which keeps what it does to itself."""
    got = []
    thread = Thread(target=lambda: got.append(do()))
    thread.start()
    thread.join()
    return got[0]


@since_6_12
def test_a_slice_is_shortened_for_one_thread_alone():
    before = timeslice.current_ns()
    assert before > timeslice.SLICE_NS
    assert in_a_thread(lambda: (timeslice.shorten(), timeslice.current_ns())) == (True, timeslice.SLICE_NS)
    assert timeslice.current_ns() == before


@since_6_12
def test_a_thread_stays_as_nice_as_it_was():
    def nice_then_short():
        os.setpriority(os.PRIO_PROCESS, 0, 5)  # on Linux: of this thread
        return timeslice.shorten(), os.getpriority(os.PRIO_PROCESS, 0)

    assert in_a_thread(nice_then_short) == (True, 5)


def test_a_thread_with_a_policy_of_its_own_is_left_alone():
    def batch_then_short():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        before = timeslice.current_ns()
        return timeslice.shorten(), timeslice.current_ns() == before, os.sched_getscheduler(0)

    assert in_a_thread(batch_then_short) == (False, True, os.SCHED_BATCH)


def test_a_processor_whose_calls_are_not_known_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert in_a_thread(lambda: (timeslice.shorten(), timeslice.current_ns())) == (False, 0)


@since_6_12
@pytest.mark.parametrize("placement", ["inline", "threads", "processes"])
def test_nodes_are_stepped_with_short_slices(placement, tmp_path):
    run(
        placement,
        source=toy("Count", n=2),
        slices=toy("Slice", worker="a", inputs={"x": "source"}),
        sink=toy("WriteWord", path=str(tmp_path / "out"), worker="b", inputs={"word": "slices"}),
    )
    assert lines(tmp_path / "out")[:2] == [f"source#{i} {timeslice.SLICE_NS}" for i in range(2)]
