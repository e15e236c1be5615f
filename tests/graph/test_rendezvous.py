"""A node whose inputs come from several processes is woken by the one that all others wait for."""

from dataclasses import replace

import pytest

from graph.bell import Bell, SocketBell
from graph.matching import MatchingMailbox
from graph.node import Stamp
from graph.rendezvous import Rendezvous
from graph.transport import memory
from graph.transport.inlet import Inlet
from tests.graph.helpers import plan, toy
from tests.graph.test_transport import Edge


class Waiting:
    """An end of an edge where numbers have come that nobody has taken in yet."""

    def __init__(self) -> None:
        self.mailbox = MatchingMailbox(4, bell=Bell(), policy="block", tells_absence=True)
        self.come: list[int] = []

    def drain(self) -> None:
        for seq in self.come:
            self.mailbox.offer(Stamp("src", seq, seq), "m" if seq % 2 else None, 0, None)
        self.come.clear()


@pytest.fixture
def ends():
    return [Waiting() for _ in range(3)]


@pytest.fixture
def meeting(ends):
    meeting = Rendezvous(end.mailbox for end in ends)
    for end in ends:
        meeting.join(end.mailbox, end)
    return meeting


def awaited(meeting: Rendezvous, ends: list[Waiting]) -> list[int]:
    """Of those by which something may come."""
    return [i for i, end in enumerate(ends) if not end.mailbox.tells_no_more and meeting.awaits(end.mailbox)]


def test_at_the_start_any_input_may_be_the_first(meeting, ends):
    assert awaited(meeting, ends) == [0, 1, 2]


def test_who_has_told_least_is_waited_for_and_what_has_come_by_the_others_is_taken_in_with_it(meeting, ends):
    ends[0].come, ends[1].come, ends[2].come = [0, 1, 2], [0], [0, 1]
    meeting.drain(ends[0].mailbox)
    assert [end.come for end in ends] == [[], [], []]
    assert awaited(meeting, ends) == [1]
    ends[1].come = [1, 2, 3]
    meeting.drain(ends[1].mailbox)
    assert awaited(meeting, ends) == [2]


def test_where_all_have_told_as_much_the_one_that_was_last_is_waited_for(meeting, ends):
    for seq in range(5):
        for end in ends:
            end.come = [seq]
        meeting.drain(ends[seq % 3].mailbox)
        assert awaited(meeting, ends) == [seq % 3]


def test_nobody_waits_for_an_input_whose_producer_is_gone(meeting, ends):
    for end in ends:
        end.come = [0]
    meeting.drain(ends[2].mailbox)
    ends[2].mailbox.is_cut_off = True
    assert awaited(meeting, ends) == [0, 1]
    ends[0].come = [1]
    meeting.drain(ends[0].mailbox)
    assert awaited(meeting, ends) == [1]
    ends[1].mailbox.close()
    assert awaited(meeting, ends) == [0]
    ends[2].mailbox.is_cut_off = False
    assert awaited(meeting, ends) == [2]


def test_a_new_end_of_an_edge_takes_the_place_of_the_old_one(meeting, ends):
    new = Waiting()
    new.mailbox = ends[0].mailbox
    meeting.join(new.mailbox, new)
    ends[0].come, new.come = [0], [1]
    meeting.drain(ends[1].mailbox)
    assert (ends[0].come, new.come) == ([0], [])


class Input(Edge):
    """An edge from another process to a node that waits for several."""

    def __init__(self, bell: SocketBell, meeting: Rendezvous, mailbox: MatchingMailbox) -> None:
        self.make_bell, self.meeting, self.matched = (lambda _: bell), meeting, mailbox
        super().__init__("block")

    def inlet_at(self, end):
        self.mailbox = self.matched
        reader = memory.reader(self.handle, self.spec)
        return Inlet(self.mailbox, self.bell, end, reader, on_error=self.errors.append, meeting=self.meeting)


def test_its_worker_sleeps_until_the_one_that_is_waited_for_has_come():
    bell = SocketBell("test", has_help=False)
    boxes = [MatchingMailbox(4, bell=bell, policy="block", tells_absence=True) for _ in range(3)]
    meeting = Rendezvous(boxes)
    edges = [Input(bell, meeting, box) for box in boxes]
    for edge in edges:
        edge.inlet.drain()
    bell.wait(0)
    for edge in edges:
        edge.offer(0, "m")
    bell.wait(0)
    meeting.drain(boxes[2])
    bell.wait(0)  # what is left of the start
    for seq in range(1, 4):
        for edge in edges[:2]:
            edge.offer(seq, "m")
        bell.wait(0.01)
        assert [len(box) for box in boxes] == [seq, seq, seq]
        edges[2].offer(seq, "m")
        bell.wait(1)
        assert [len(box) for box in boxes] == [seq + 1] * 3
    edges[2].outlet.close()
    bell.wait(1)
    assert boxes[2].closed
    for edge in edges[:2]:  # nothing more is waited for there
        edge.offer(4, "m")
    bell.wait(1)
    assert [len(box) for box in boxes[:2]] == [5, 5]
    for edge in edges:
        edge.inlet.close()
        edge.link.close()
    bell.close()


SUITED = {"several": {"a": "x", "b": "y"}, "one, and its source": {"a": "src", "b": "y"}}
OTHERS = {
    "only one": {"a": "x"},
    "several on one port": {"a": ["src", "x"], "b": "y"},
    "one that is sampled": {"a": "x", "b": {"source": "y", "policy": "hold"}},
    "another source": {"a": "x", "b": "other"},
    "several captures of each": {"a": "x", "b": "twice"},
}
CHANGES = {
    "may give way to a newer one": {"policy": "latest"},
    "may become too old": {"max_age_ms": 50.0},
}


def node_of(inputs):
    return plan(
        src=toy("Count"), other=toy("Count"), x=toy("Add", inputs={"x": "src"}), y=toy("Add", inputs={"x": "src"}),
        twice=toy("Add", inputs={"x": ["x", "y"]}), join=toy("Sum", align_ms=5, inputs=inputs),
        out=toy("WriteWord", path="", inputs={"word": "join"}),
    ).nodes["join"]  # fmt: skip


@pytest.mark.parametrize("inputs", SUITED.values(), ids=SUITED)
def test_it_suits_nodes_whose_inputs_all_tell_every_capture_of_one_origin(inputs):
    assert node_of(inputs).meets


@pytest.mark.parametrize("inputs", OTHERS.values(), ids=OTHERS)
def test_it_suits_no_others(inputs):
    assert not node_of(inputs).meets


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_it_suits_none_where_a_message(change):
    node = node_of(SUITED["several"])
    first, second = node.edges
    assert not replace(node, edges=(first, replace(second, **change))).meets
