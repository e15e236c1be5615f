"""What samples of iceoryx2 do otherwise than slots: each is published once, has a name, and reaches every reader."""

import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from graph.bell import SocketBell
from graph.errors import ConfigError, WorkerError
from graph.planner import make_plan
from graph.tally import EdgeTally
from graph.transport import iceoryx, memory
from graph.transport.outlet import Link, Outlet
from graph.transport.ring import RingSpec
from tests.graph.helpers import BUILDER, run, toy, until
from tests.graph.test_transport import SLOT, STAMP, Edge, free
from tests.transports import needs_iceoryx2, shared

ROOT = Path(__file__).parents[2]
SPEC = RingSpec(4, SLOT, 2, "iceoryx2", 2)


@pytest.fixture
def edge():
    edge = Edge(transport="iceoryx2")
    yield edge
    edge.close()


@pytest.fixture
def blocking():
    edge = Edge("block", capacity=2, spec=RingSpec(4, 1 << 20, 0, "iceoryx2", 1))
    yield edge
    edge.close()


def free_of(edge: Edge) -> int:
    edge.link.drain()
    return free(edge.ring)


def worker(**setting: Any) -> list[str]:
    nodes = {"src": toy("Count", worker="a"), "out": toy("WriteNumber", path="unused", inputs={"word": "src"})}
    placement = {"a": {"kind": "process", **setting}, "main": {"kind": "inline"}}
    try:
        make_plan(nodes, placement, BUILDER)
    except ConfigError as e:
        return list(e.problems)
    return []


def test_an_unknown_transport_is_a_mistake_of_the_placement():
    assert worker(transport="iceoryx") == ["placement.a.transport: is 'iceoryx'; did you mean 'iceoryx2'?"]
    assert worker(transport="slots") == []


def test_without_the_package_the_plan_says_which_extra_to_install(monkeypatch):
    monkeypatch.setattr(memory, "find_spec", lambda name: None)
    assert worker(transport="iceoryx2") == [
        "placement.a.transport: the package iceoryx2 is not installed; install the extra: uv sync --extra iceoryx2 "
        "(no wheel for Linux on ARM); or take transport=slots"
    ]


@needs_iceoryx2
def test_too_little_room_in_shared_memory_is_told_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.setattr(iceoryx, "FOLDER", str(tmp_path))
    monkeypatch.setattr(memory.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    nodes = {"src": toy("Snap", worker="a"), "out": toy("Album", path=str(tmp_path / "out"), inputs={"word": "src"})}
    with pytest.raises(WorkerError, match="where 1 MB are free") as refused:
        run("samples", **nodes)
    assert str(refused.value).startswith("placement.a: the worker cannot start: transport=iceoryx2 may need ")
    assert not (tmp_path / "out").exists()


@needs_iceoryx2
def test_an_array_that_is_sent_again_is_copied(edge):
    array = edge.outlet.loan((SLOT,), np.uint8)
    array[:] = 7
    assert edge.ring.find(array) is not None
    for seq in range(3):
        edge.offer(seq, array)
        assert edge.ring.find(array) is None
        assert (edge.take() == 7).all()
    assert free_of(edge) == 3
    del array
    assert free_of(edge) == 4


@needs_iceoryx2
def test_what_nodes_beside_the_producer_still_look_at_is_not_written_over(edge):
    kept = edge.outlet.loan((SLOT,), np.uint8)
    kept[:] = 200
    edge.offer(0, kept)
    edge.take()
    for seq in range(1, 20):
        edge.offer(seq, np.full(SLOT, seq, np.uint8))
        assert (edge.take() == seq).all()
    assert (kept == 200).all()


@needs_iceoryx2
def test_arrays_are_found_in_whatever_order_they_were_loaned_and_are_sent(edge):
    first, second, third = (edge.outlet.loan((SLOT,), np.uint8) for _ in range(3))
    for i, array in enumerate((first, second, third)):
        array[:] = i
    edge.offer(0, [third, first])
    edge.offer(1, [second])
    assert [int(a[0]) for a in edge.take()] == [2, 0]
    assert [int(a[0]) for a in edge.take()] == [1]
    assert edge.mailbox.tally.lost == 0


@needs_iceoryx2
def test_nothing_is_sent_before_somebody_reads(blocking):
    edge = blocking
    edge.inlet.close()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    edge.link.connect(ours, is_new=True, counts_captures=False)
    assert not edge.link.has_room()
    edge.offer(0, np.zeros(SLOT, np.uint8))
    assert edge.tally.dropped["lost"] == 1
    edge.inlet = edge.inlet_at(theirs)
    assert edge.link.has_room()
    edge.offer(1, np.ones(SLOT, np.uint8))
    assert (edge.take() == 1).all()


@needs_iceoryx2
@pytest.mark.parametrize("far", [False, True])
def test_a_message_whose_samples_are_gone_is_lost_and_counted_and_the_next_is_read(far, blocking):
    edge = blocking
    message = ["x" * 200_000 if far else "x", np.ones(SLOT, np.uint8)]
    edge.offer(0, message)
    queue = edge.inlet._ring._queue
    while queue.receive() is not None:  # as if it had been swept
        pass
    assert edge.take() is None
    assert edge.mailbox.dropped["lost"] == 1
    assert edge.errors == []
    edge.offer(1, message)
    assert edge.take()[0] == message[0]
    assert edge.link.has_room()
    assert free_of(edge) == 4


@needs_iceoryx2
def test_an_edge_that_wants_few_is_told_of_the_others_and_keeps_none():
    edge = Edge(transport="iceoryx2", spec=SPEC)
    few = Edge(transport="iceoryx2", spec=SPEC)
    few.link.close()
    few.inlet.close()
    few.edge = few.edge.__class__("src", "", "out", "x", object, "latest", 1, every=10)
    few.handle = edge.handle
    few.link = Link(few.edge, edge.ring, few.bell, EdgeTally())
    few.connect()
    outlet = Outlet(edge.ring, [edge.link, few.link])
    got = []
    for seq in range(30):
        outlet.offer(STAMP._replace(seq=seq), np.full(SLOT, seq, np.uint8), 0, None)
        assert (edge.take() == seq).all()
        if (message := few.take()) is not None:
            got.append(int(message[0]))
        del message
    assert got == [0, 10, 20]
    assert few.inlet._ring._queue.receive() is None
    few.link.drain()
    assert free_of(edge) == 4
    few.close()
    edge.close()


@needs_iceoryx2
def test_only_the_run_makes_services_as_one_half_made_by_a_killed_process_could_never_be_opened():
    before = shared()
    handle = memory.create(SPEC)
    name = memory.copy(handle)
    memory.close(name)  # whoever was given the name gives nothing up
    memory.reader(name, SPEC).close()
    memory.close(handle)
    assert shared() == before
    with pytest.raises(iceoryx.Gone):
        memory.writer(name, SPEC)
    assert shared() == before


@needs_iceoryx2
def test_who_comes_to_read_when_the_producer_is_dead_and_given_up_has_no_error_and_hears_nothing():
    gone = memory.create(SPEC)
    name = memory.copy(gone)
    memory.close(gone)
    reader = memory.reader(name, SPEC)
    ended = []
    reader.on_end(ended.append)
    reader.skip(0)
    assert not reader.lease(1, SLOT, (4,), np.dtype(np.uint8)).any()
    assert ended == [1]
    assert not reader.settle()
    reader.close()


KILLED = """
import os, signal, sys
import numpy as np
from graph.transport import memory
from graph.transport.ring import RingSpec
spec = RingSpec(4, 1 << 20, 2, "iceoryx2", 1)
name = memory.create(spec)
writer, reader = memory.writer(name, spec), memory.reader(name, spec)
print("made", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@needs_iceoryx2
def test_the_next_start_sweeps_what_killed_processes_left(tmp_path):
    iceoryx.sweep()
    before = shared()
    popen = subprocess.run([sys.executable, "-c", KILLED], cwd=ROOT, capture_output=True, text=True)
    assert (popen.stdout, popen.returncode) == ("made\n", -signal.SIGKILL)
    assert shared() - before
    nodes = {
        "src": toy("Snap", n=5, worker="a"),
        "out": toy("Album", path=str(tmp_path / "out"), inputs={"word": "src"}, worker="b"),
    }
    assert run("samples", **nodes)[0].end == "finished"
    assert shared() <= before


@needs_iceoryx2
def test_a_sweep_leaves_the_living_alone(edge):
    iceoryx.sweep()
    assert iceoryx.sweep() == 0
    edge.offer(0, np.ones(SLOT, np.uint8))
    assert (edge.take() == 1).all()


@needs_iceoryx2
def test_what_was_missed_is_told_by_a_producer_that_sends_nothing_more_and_never_rests():
    """Another edge of the same output may be full, and wait for what it says."""
    edge = Edge(transport="iceoryx2")
    edge.inlet.close()
    edge.link.close()
    memory.close(edge.handle)
    edge.edge = replace(edge.edge, tells_absence=True)
    edge.mailbox.tells_absence = edge.mailbox._is_special = True
    edge.start_producer()
    edge.link._bell = bell = SocketBell("producer")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    edge.link.connect(ours, is_new=True, counts_captures=False)
    edge.offer(0, "lost")
    edge.inlet = edge.inlet_at(theirs)
    until(lambda: edge.inlet.drain() or edge.mailbox.packets)
    assert [(p.stamp.seq, p.message) for p in edge.mailbox.packets] == [(0, None)]
    edge.close()
    bell.close()
