"""A worker that is never at rest takes in all the same what comes from other processes."""

from pathlib import Path
from typing import Any

import pytest

from graph.mailbox import Mailbox
from graph.node import Stamp
from graph.runtime import Runtime
from tests.graph.helpers import BUILDER, beside, lines, plan, toy, until
from tests.graph.toys import Number

KEPT: dict[str, Any] = {"source": "far", "policy": "block"}
CONSUMERS = {
    "a join": toy("Both", inputs={"a": KEPT, "b": {"source": "farther", "policy": "block"}}),
    "a join that keeps what comes late": toy("Sum", inputs={"a": KEPT, "b": "farther"}),
    "a merge with what never rests": toy("Say", inputs={"x": [KEPT, "camera"]}),
    "a batch": toy("AddTogether", batch={"max": 4, "window_ms": 1}, inputs={"x": KEPT}),
    "a node that wants every second": toy("Say", inputs={"x": {**KEPT, "every": 2}}),
    "a node that wants all": toy("Say", inputs={"x": KEPT}),
}


@pytest.mark.parametrize("consumer", CONSUMERS.values(), ids=[name.replace(" ", "_") for name in CONSUMERS])
def test_what_waits_for_a_worker_that_never_rests_is_taken_in(consumer: dict[str, Any], tmp_path: Path) -> None:
    """Beside the consumer a camera captures all the time, as one does whose driver waits within the call."""
    out, sink = tmp_path / "out", "WriteNumber" if consumer["_target_"].endswith("AddTogether") else "WriteWord"
    nodes = {
        "camera": toy("Count", n=10**6, realtime=True, period_ms=1, worker="a"),
        "far": toy("Count", n=10**6, realtime=True, period_ms=5, worker="b"),
        "farther": toy("Add", inputs={"x": "far"}, worker="c"),
        "consumer": consumer | {"worker": "a"},
        "out": toy(sink, path=str(out), inputs={"word": {"source": "consumer", "policy": "block"}}, worker="a"),
    }
    with beside(Runtime(plan("processes", **nodes), BUILDER)) as (_, results):
        until(lambda: out.exists() and sum(line.startswith("far#") for line in lines(out)) > 20)
        assert not results


@pytest.fixture
def beside_camera(tmp_path: Path) -> Runtime:
    """A camera that overwrites what two nodes have not taken yet, and a join, for which they tell what is gone."""
    nodes = {
        "camera": toy("Count", n=10**6, realtime=True, period_ms=1),
        "joining": toy("MixBoth", inputs={"a": "camera", "b": {"source": "camera", "policy": "hold"}}),
        "adding": toy("Add", inputs={"x": "camera"}),
        "both": toy("MixBoth", inputs={"a": "joining", "b": "adding"}),
        "out": toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "both"}),
    }
    return Runtime(plan("inline", **nodes), BUILDER)


def box_of(runtime: Runtime, edge: str) -> Mailbox:
    return next(box for e, box in runtime.processes.here.assembly.mailboxes.items() if e.name == edge)


def test_word_that_one_capture_was_overwritten_does_not_take_the_turn_of_the_next(
    beside_camera: Runtime, tmp_path: Path
) -> None:
    """The camera would overwrite that one too, and so on for ever."""
    box = box_of(beside_camera, "camera->joining.a")
    for seq in (-2, -1):
        box.offer(Stamp("camera", seq, 0), Number(seq), 0, None)
    assert [packet.message for packet in box.packets] == [None, -1]
    with beside(beside_camera):
        until(lambda: (tmp_path / "out").exists() and len(lines(tmp_path / "out")) > 20)


def test_absences_are_told_on_all_at_once(beside_camera: Runtime, tmp_path: Path) -> None:
    """One for each new capture, and those that wait for their turn would never become fewer."""
    box = box_of(beside_camera, "camera->adding.x")
    for seq in range(-100_000, 0):
        box.offer(Stamp("camera", seq, 0), None, 0, None)
    with beside(beside_camera):
        until(lambda: (tmp_path / "out").exists() and len(lines(tmp_path / "out")) > 20)
        assert len(box.packets) < 100
