"""Which packet of an edge belongs to a capture, and which belong to none any more."""

import pytest

from graph.bell import Bell
from graph.join import JoinInbox
from graph.matching import MatchingMailbox
from graph.node import Stamp
from tests.graph.helpers import plan, toy
from tests.graph.test_mailbox import put


@pytest.mark.parametrize(("asked", "found"), [(5, None), (10, 1), (19, 1), (25, 2), (99, 2)])
def test_sample_gives_the_newest_that_is_not_newer(asked, found):
    box = MatchingMailbox(1, bell=Bell(), policy="hold", tells_absence=True)
    for i in (1, 2):
        put(box, i)
    held = box.sample(asked)
    assert (held and held.stamp.seq) == found


def times(box: MatchingMailbox) -> list[int]:
    return [packet.stamp.captured_ns for packet in box.packets]


def test_the_nearest_is_the_last_before_or_the_first_after_whatever_else_has_come():
    for later in (0, 3):
        box = MatchingMailbox(9, bell=Bell(), policy="block")
        for i in range(4 + later):  # captured at 0, 10, 20, 30 and later
            put(box, i)
        found = box.nearest(22, 50)
        assert found.stamp.captured_ns == 20
        assert times(box)[:2] == [20, 30]
        assert box.dropped["unmatched"] == 2
        box.take_this(found)
        found = box.nearest(24, 50)
        assert found.stamp.captured_ns == 30
        box.take_this(found)
        assert box.nearest(26, 50) is None  # 40 may not have come yet, so it is none of its business
        if later:
            assert box.nearest(36, 50).stamp.captured_ns == 40


def test_what_says_that_there_is_nothing_ends_the_look_as_well():
    box = MatchingMailbox(9, bell=Bell(), policy="block", tells_absence=True)
    for i, message in enumerate(["m", None, None, "m"]):
        put(box, i, message)
    assert box.nearest(12, 50).stamp.captured_ns == 0
    box.take_this(box.nearest(12, 50))
    assert box.nearest(18, 50) is None


def test_room_is_made_for_what_decides():
    box = MatchingMailbox(3, bell=Bell(), policy="block")
    for i in range(3):
        put(box, i)
    assert not box.has_room()
    box.make_room(35, 50)
    assert times(box) == [20]
    box.make_room(80, 50)
    assert times(box) == []


def test_what_comes_while_a_join_looks_is_not_taken_for_missing():
    """Another thread puts it in between a look into the mailbox and the question whether there is more to come."""
    made = plan(
        src=toy("Count"),
        left=toy("Add", inputs={"x": "src"}),
        join=toy("Sum", inputs={"a": "src", "b": "left"}),
        out=toy("WriteWord", path="unused", inputs={"word": "join"}),
    )
    a, b = (MatchingMailbox(4, bell=Bell(), policy="block", tells_absence=True) for _ in range(2))
    join = JoinInbox(made.nodes["join"], dict(zip(made.nodes["join"].edges, (a, b), strict=True)), lossless=True)
    put(a, 0)
    match = b.match

    def just_before_it_comes(stamp: Stamp, *, in_order: bool) -> object:
        found = match(stamp, in_order=in_order)
        put(b, 0)
        return found

    b.match = just_before_it_comes
    assert join.take() is None
    b.match = match
    _, messages = join.take()
    assert messages == {"a": "m", "b": "m"}
