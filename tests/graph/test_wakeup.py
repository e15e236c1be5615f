"""How soon threads run that step nodes, and that nothing else about them changes."""

import ctypes
import os
import platform
from threading import Thread

import pytest

from graph import wakeup
from tests.graph.helpers import lines, run, toy

PR_GET_TIMERSLACK = 30
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
    before = wakeup.slice_ns()
    assert before > wakeup.SLICE_NS
    assert in_a_thread(lambda: (wakeup.shorten_slice(), wakeup.slice_ns())) == (True, wakeup.SLICE_NS)
    assert wakeup.slice_ns() == before


@since_6_12
def test_a_thread_stays_as_nice_as_it_was():
    def nice_then_short():
        os.setpriority(os.PRIO_PROCESS, 0, 5)  # on Linux: of this thread
        return wakeup.shorten_slice(), os.getpriority(os.PRIO_PROCESS, 0)

    assert in_a_thread(nice_then_short) == (True, 5)


def test_a_thread_with_a_policy_of_its_own_is_left_alone():
    def batch_then_short():
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        before = wakeup.slice_ns()
        return wakeup.shorten_slice(), wakeup.slice_ns() == before, os.sched_getscheduler(0)

    assert in_a_thread(batch_then_short) == (False, True, os.SCHED_BATCH)


def test_a_processor_whose_calls_are_not_known_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert in_a_thread(lambda: (wakeup.shorten_slice(), wakeup.slice_ns())) == (False, 0)


def slack_ns():
    """How late a sleep of this thread may end."""
    return ctypes.CDLL(None).prctl(PR_GET_TIMERSLACK)


def test_the_clock_is_sharpened_for_one_thread_alone():
    def before_and_after():
        before = slack_ns()
        wakeup.sharpen_clock()
        return before, slack_ns()

    assert in_a_thread(before_and_after) == (slack_ns(), 1)
    assert slack_ns() > 1


def slices_of(placement, tmp_path, workers):
    """The time slices of nodes in these workers that all get the messages of one source, in nanoseconds."""
    nodes = {"source": toy("Count", n=1)}
    for i, worker in enumerate(workers):
        nodes[f"node{i}"] = toy("Slice", worker=worker, inputs={"x": "source"})
        nodes[f"sink{i}"] = toy("WriteWord", path=str(tmp_path / worker), worker=worker, inputs={"word": f"node{i}"})
    run(placement, **nodes)
    return [int(lines(tmp_path / worker)[0].split()[1]) for worker in workers]


@since_6_12
def test_who_alone_gets_what_another_process_sends_takes_its_place(tmp_path):
    assert slices_of("processes", tmp_path, ["a"]) == [wakeup.SLICE_NS]


@since_6_12
def test_who_sends_to_several_is_not_held_up_by_the_first(tmp_path):
    usual = wakeup.slice_ns()
    assert slices_of("processes", tmp_path, ["a", "b"]) == [usual, usual]


@since_6_12
def test_who_gets_of_several_does_not_hold_up_the_first_of_them(tmp_path):
    run(
        "processes",
        source=toy("Count", n=1),
        other=toy("Count", n=1, worker="b"),
        node=toy("Slice", worker="a", inputs={"x": ["source", "other"]}),
        sink=toy("WriteWord", path=str(tmp_path / "slices"), worker="a", inputs={"word": "node"}),
    )
    assert {line.split()[1] for line in lines(tmp_path / "slices")[:2]} == {str(wakeup.slice_ns())}


@since_6_12
@pytest.mark.parametrize("placement", ["inline", "threads"])
def test_within_one_process_slices_stay_as_they_are(placement, tmp_path):
    assert slices_of(placement, tmp_path, ["a"]) == [wakeup.slice_ns()]
