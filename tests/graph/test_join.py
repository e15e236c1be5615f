"""Joins of live sources: what one source captures must not stop another one for ever."""

from collections.abc import Sequence
from pathlib import Path
from time import monotonic_ns

import pytest

from graph import matching
from graph.bell import Bell
from graph.join import JoinInbox
from graph.matching import MatchingMailbox
from graph.node import Stamp
from graph.packet import Door
from graph.runtime import Runtime
from tests.graph.helpers import BUILDER, beside, lines, plan, toy, until


class Join:
    """The inbox of a join whose first input brings what `first` brings, and whose second, of one or two edges, what
    `second` does."""

    def __init__(
        self, *second: str | dict[str, str], first: Sequence[str] = ("p", "q"), room: int = 3, policy: str = "block"
    ) -> None:
        both = toy("Add", inputs={"x": ["p", "q"]})
        made = plan(
            p=toy("Count", realtime=True),
            q=toy("Count", realtime=True),
            r=toy("Count", realtime=True),
            other=both,
            late=toy("Add", inputs={"x": ["p", "other"]}),
            again=toy("Add", inputs={"x": list(first)}),
            join=toy("Sum", align_ms=5, inputs={"a": {"source": "again", "policy": policy}, "b": list(second)}),
            out=toy("WriteWord", path="unused", inputs={"word": "join"}),
        )
        node = made.nodes["join"]
        boxes = {
            e: MatchingMailbox(room, bell=Bell(), policy="hold" if e.policy == "hold" else "block", tells_absence=True)
            for e in node.edges
        }
        for edge, box in boxes.items():
            box.only_joining, box.copies = edge.origins - node.driving, edge.copies
        self.inbox = JoinInbox(node, boxes, lossless=False)
        self.a, self.b, *self.more = boxes.values()


def put(box: MatchingMailbox, *names: str) -> None:
    """Offer captures such as "p3", made at 3 ms; "-p3": it brings nothing."""
    for name in names:
        capture = name.removeprefix("-")
        stamp = Stamp(capture[0], int(capture[1:]), int(capture[1:]) * 10**6)
        box.offer(stamp, None if name.startswith("-") else name, monotonic_ns(), None)


def waits(box: MatchingMailbox) -> list[str]:
    return [p.message for p in box.packets if p.message is not None]


@pytest.fixture
def other() -> Join:
    return Join("other")


@pytest.fixture
def timed() -> Join:
    return Join("r")


def test_captures_whose_anchors_have_gone_leave_room_for_that_which_an_anchor_waits_for(other):
    put(other.a, "-p1", "-p2", "q3", "p4")
    put(other.b, "p1", "p2", "p4")
    assert [other.inbox.take()[1] for _ in range(2)] == [None, None]  # that there is nothing is told on
    assert other.inbox.take() is None
    assert waits(other.b) == ["p4"]
    put(other.b, "q3")
    assert other.inbox.take()[1] == {"a": "q3", "b": "q3"}
    assert other.inbox.take()[1] == {"a": "p4", "b": "p4"}


def test_where_there_is_no_room_for_what_the_oldest_needs_another_source_goes_first(other):
    put(other.a, "p1", "q2", "q3", "q4")
    put(other.b, "q2", "q3")
    assert other.inbox.take() is None
    put(other.b, "q4")
    assert other.inbox.take()[1] == {"a": "q2", "b": "q2"}
    assert other.inbox.take() is None
    put(other.b, "p1")
    assert [other.inbox.take()[1]["b"] for _ in range(3)] == ["p1", "q3", "q4"]


def test_a_source_waits_for_the_captures_of_another_as_long_as_it_has_patience(timed, monkeypatch):
    put(timed.b, "r1", "r2", "r3")
    assert timed.inbox.take() is None
    assert waits(timed.b) == ["r1", "r2", "r3"]
    monkeypatch.setattr(matching, "PATIENCE_NS", 0)
    timed.b.capacity = 4
    assert timed.inbox.take() is None
    assert waits(timed.b) == ["r1", "r2", "r3"]  # it keeps nobody waiting
    put(timed.b, "r4")
    assert timed.inbox.take() is None
    assert waits(timed.b) == []


def test_captures_that_wait_for_those_of_another_source_are_not_under_way(timed):
    door = Door(1, lambda: None)
    timed.b.offer(Stamp("r", 1, 10**6), "r1", 0, door.enter())
    assert door.is_open
    timed.a.offer(Stamp("p", 1, 10**6), "p1", 0, door.enter())
    assert not door.is_open


def test_there_is_room_for_all_copies_of_a_capture_and_for_what_says_that_there_are_no_more(tmp_path: Path) -> None:
    """The join hears for each capture that its first input has nothing, and cannot know so before the next one."""
    kept = {"source": "twice", "policy": "block", "capacity": 1}
    nodes = {
        "src": toy("Count", n=10**6, realtime=True, period_ms=1),
        "one": toy("Add", inputs={"x": "src"}),
        "twice": toy("Add", inputs={"x": [{"source": s, "policy": "block"} for s in ("src", "one")]}),
        "never": toy("Add", mute=1, inputs={"x": kept}),
        "join": toy("Sum", inputs={"a": {**kept, "source": "never"}, "b": kept}),
        "write": toy("WriteWord", path=str(tmp_path / "none"), inputs={"word": "join"}),
        "out": toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "twice"}),
    }
    made = plan("threads", **nodes)
    assert [(e.copies, e.capacity) for e in made.nodes["join"].edges] == [(2, 3), (2, 3)]
    with beside(Runtime(made, BUILDER)):
        until(lambda: (tmp_path / "out").exists() and len(lines(tmp_path / "out")) > 20)


@pytest.fixture
def twice() -> Join:
    """Each capture comes up to twice by the first input."""
    return Join("p", first=("p", "other"))


def test_a_capture_is_past_when_all_its_copies_have_told(twice):
    put(twice.b, "p1")
    put(twice.a, "-p1")
    assert [twice.inbox.take()[1], twice.inbox.take()] == [None, None]
    assert waits(twice.b) == ["p1"]
    put(twice.a, "-p1")
    assert [twice.inbox.take()[1], twice.inbox.take()] == [None, None]
    assert waits(twice.b) == []


def test_word_that_nothing_has_come_since_a_capture_is_no_copy_of_it(twice):
    put(twice.b, "p1")
    put(twice.a, "-p1")
    twice.a.offer(Stamp("p", 1, 2 * 10**6), None, monotonic_ns(), None)
    assert [twice.inbox.take()[1] for _ in range(2)] == [None, None]
    assert twice.inbox.take() is None
    assert waits(twice.b) == ["p1"]
    put(twice.a, "-p1")
    assert [twice.inbox.take()[1], twice.inbox.take()] == [None, None]
    assert waits(twice.b) == []


def test_a_copy_that_was_lost_is_not_waited_for_for_ever(twice, monkeypatch):
    """Nothing else may come that would tell: the door of its source may let in one capture at a time."""
    put(twice.b, "p1")
    put(twice.a, "-p1")
    assert [twice.inbox.take()[1], twice.inbox.take()] == [None, None]
    monkeypatch.setattr(matching, "PATIENCE_NS", 0)
    assert twice.inbox.take() is None
    assert waits(twice.b) == []


def test_what_is_late_behind_a_merge_does_not_make_undecided_what_was_decided():
    """It comes by a way that takes longer; nothing more may come, as it keeps the last place."""
    join = Join("late", first=("p",))
    put(join.b, "p3", "p1")
    put(join.a, "p2")
    assert join.inbox.take()[1] == {"a": "p2"}
    assert join.b.told["p"].seq == 3


def test_what_waits_behind_a_capture_that_is_not_decided_goes_first_where_a_merge_may_be_waiting_for_room():
    """The merge has sent later captures by one way; what tells of them may be waiting for it."""
    join = Join("p", first=("p", "other"))
    put(join.a, "p3", "p1")
    put(join.b, "p1")
    assert join.inbox.take() is None
    put(join.a, "p4")
    assert join.inbox.take()[1] == {"a": "p1", "b": "p1"}
    assert waits(join.a) == ["p3", "p4"]


def test_a_join_whose_room_is_taken_by_captures_that_nobody_can_tell_of_goes_on_after_a_while(monkeypatch):
    join = Join("p", first=("p", "other"))
    put(join.b, "p1")
    put(join.a, "p2", "p3", "p4")
    assert [join.inbox.take(), join.inbox.take()] == [None, None]
    monkeypatch.setattr(matching, "PATIENCE_NS", 0)
    assert join.inbox.take()[1] == {"a": "p2"}
    assert join.inbox.take() is None  # there is room


def test_a_capture_is_complete_when_all_edges_of_each_input_have_told_of_it():
    """An older one that has given way to what is not decided yet would be told of to nobody."""
    join = Join("p", "other", policy="latest")
    put(join.a, "p1", "p2")
    put(*join.more, "p1", "p2")
    assert join.inbox.take() is None
    assert waits(join.a) == ["p1", "p2"]
    put(join.b, "-p1")
    assert join.inbox.take()[1] == {"a": "p1", "b": "p1"}
    put(join.b, "-p2")
    assert join.inbox.take()[1] == {"a": "p2", "b": "p2"}


@pytest.mark.parametrize("policy", ["latest", "block"])
def test_of_several_edges_that_bring_the_same_capture_the_first_counts(policy):
    """And the others need not be waited for: they may take longer than it is kept."""
    join = Join("p", "other", policy=policy)
    put(join.a, "p1")
    put(join.b, "p1")
    assert join.inbox.take()[1] == {"a": "p1", "b": "p1"}
    put(join.a, "p2")
    put(*join.more, "p1", "p2")
    assert join.inbox.take() is None
    put(join.b, "-p2")
    assert join.inbox.take()[1] == {"a": "p2", "b": "p2"}


def test_what_is_held_is_used_also_where_it_is_of_another_source():
    held = Join({"source": "other", "policy": "hold"}, first=("p",))
    put(held.b, "q1")
    put(held.a, "p2")
    assert held.inbox.take()[1] == {"a": "p2", "b": "q1"}


def test_only_captures_of_the_same_source_give_way_to_a_newer_one():
    """Of another source nothing would be told that is as new."""
    other = Join("other", policy="latest")
    put(other.a, "q1", "p2", "p3")
    put(other.b, "p3")
    assert other.inbox.take()[1] == {"a": "p3", "b": "p3"}
    assert waits(other.a) == ["q1"]
    assert other.a.dropped["overwritten"] == 1


def test_what_is_overwritten_before_it_is_decided_is_told_on(other):
    """A join behind this one may hold what belongs to it, and keep the input that this one waits for without room."""
    other.a.policy, other.a._overwrites, other.a.capacity, other.a.keeps_word = "latest", True, 1, True
    put(other.a, "p1", "p2", "q1", "p3")
    told = [other.inbox.take() for _ in range(2)]
    assert [(packet.stamp.origin, packet.stamp.seq, messages) for packet, messages in told] == [
        ("p", 2, None),
        ("q", 1, None),
    ]
    assert other.inbox.take() is None
    assert waits(other.a) == ["p3"]
    assert other.a.dropped["overwritten"] == 3
