import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.bell import Bell
from graph.join import JoinInbox
from graph.mailbox import Mailbox
from graph.node import Stamp
from graph.packet import Door
from tests.graph.helpers import plan, toy
from tests.graph.test_transport import Edge


def put(box: Mailbox, i: int, message: object = "m") -> None:
    box.offer(Stamp("src", i, i * 10), message, 0, None)


@given(
    st.lists(st.sampled_from(["put", "nothing", "take", "match", "sample", "nearest"]), max_size=60),
    st.sampled_from(["latest", "hold"]),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_the_books_balance_whatever_happens(actions, policy, capacity, every):
    box = Mailbox(capacity, bell=Bell(), policy=policy, every=every, tells_absence=True)
    for i, action in enumerate(actions):
        if action == "put":
            put(box, i)
        elif action == "nothing":
            put(box, i, None)
        elif action == "take":
            box.take()
        elif action == "match":
            box.match(Stamp("src", i // 2, 0))
        elif action == "sample":
            box.sample(i * 5)
        else:
            box.nearest(i * 5, 20)
        assert box.offered == box.thinned + box.taken + sum(box.dropped.values()) + len(box)
        assert policy == "hold" or len(box) <= capacity


def test_latest_keeps_the_newest_and_counts_the_others():
    box = Mailbox(1, bell=Bell())
    for i in range(3):
        put(box, i)
    assert box.take().stamp.seq == 2
    assert box.take() is None
    assert box.dropped["overwritten"] == 2


def test_block_has_no_room_when_full_and_rings_its_producer_when_it_has_again():
    bell = Bell()
    box = Mailbox(2, bell=Bell(), policy="block")
    box.on_room = bell
    put(box, 0)
    assert box.has_room()
    put(box, 1)
    assert not box.has_room()
    assert box.take().stamp.seq == 0
    assert box.has_room()
    assert bell.rung


def test_every_takes_the_first_of_each_n():
    box = Mailbox(10, bell=Bell(), every=3)
    for i in range(7):
        put(box, i)
    assert [box.take().stamp.seq for _ in range(3)] == [0, 3, 6]
    assert box.thinned == 4


def test_a_ring_before_the_wait_is_not_lost():
    bell = Bell()
    bell.ring()
    bell.ring()
    bell.wait(timeout_s=0)
    assert not bell.rung


@pytest.mark.parametrize(("asked", "found"), [(5, None), (10, 1), (19, 1), (25, 2), (99, 2)])
def test_sample_gives_the_newest_that_is_not_newer(asked, found):
    box = Mailbox(1, bell=Bell(), policy="hold", tells_absence=True)
    for i in (1, 2):
        put(box, i)
    held = box.sample(asked)
    assert (held and held.stamp.seq) == found


def times(box: Mailbox) -> list[int]:
    return [packet.stamp.captured_ns for packet in box.packets]


def test_the_nearest_is_the_last_before_or_the_first_after_whatever_else_has_come():
    for later in (0, 3):
        box = Mailbox(9, bell=Bell(), policy="block")
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
    box = Mailbox(9, bell=Bell(), policy="block", tells_absence=True)
    for i, message in enumerate(["m", None, None, "m"]):
        put(box, i, message)
    assert box.nearest(12, 50).stamp.captured_ns == 0
    box.take_this(box.nearest(12, 50))
    assert box.nearest(18, 50) is None


def test_room_is_made_for_what_decides_and_the_producer_is_told():
    box, told = Mailbox(3, bell=Bell(), policy="block"), []
    box.on_wanted = lambda: told.append(len(box))
    for i in range(3):
        put(box, i)
    assert not box.has_room()
    box.make_room(35, 50)
    assert times(box) == [20]
    assert told == [1]
    box.make_room(80, 50)
    assert times(box) == []


def test_a_packet_without_a_message_keeps_no_capture_under_way():
    box = Mailbox(1, bell=Bell(), tells_absence=True)
    box.offer(Stamp("src", 0, 0), None, 0, Door(1, lambda: None).enter())
    assert box.head().ticket is None


def test_the_last_place_is_told_of_where_the_consumer_waits_for_it():
    """Room is told of by halves of the capacity, and a join may need all of it."""
    edge = Edge("block", capacity=8)
    for i in range(8):
        assert edge.link.has_room()
        edge.offer(i, "x")
    assert edge.take() == "x"
    assert not edge.link.has_room()
    edge.mailbox.on_wanted()
    assert edge.link.has_room()
    edge.close()


def test_what_comes_while_a_join_looks_is_not_taken_for_missing():
    """Another thread puts it in between a look into the mailbox and the question whether there is more to come."""
    made = plan(
        src=toy("Count"),
        left=toy("Add", inputs={"x": "src"}),
        join=toy("Sum", inputs={"a": "src", "b": "left"}),
        out=toy("WriteWord", path="unused", inputs={"word": "join"}),
    )
    a, b = (Mailbox(4, bell=Bell(), policy="block", tells_absence=True) for _ in range(2))
    join = JoinInbox(made.nodes["join"], dict(zip(made.nodes["join"].edges, (a, b), strict=True)), lossless=True)
    put(a, 0)
    match = b.match

    def just_before_it_comes(stamp: Stamp) -> object:
        found = match(stamp)
        put(b, 0)
        return found

    b.match = just_before_it_comes
    assert join.take() is None
    b.match = match
    _, messages = join.take()
    assert messages == {"a": "m", "b": "m"}
