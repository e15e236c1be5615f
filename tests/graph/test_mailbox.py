"""What waits on one edge: how much, what gives way, who is told, and that all of it is counted."""

from threading import Thread

from hypothesis import given
from hypothesis import strategies as st

from graph.bell import Bell
from graph.mailbox import Mailbox
from graph.matching import MatchingMailbox
from graph.node import Stamp
from graph.packet import Door
from graph.tally import OFFERED
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
    box = MatchingMailbox(capacity, bell=Bell(), policy=policy, every=every, tells_absence=True)
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


def test_a_source_may_tell_of_its_last_capture_again_that_nothing_has_come_since():
    box = Mailbox(1, bell=Bell(), tells_absence=True, policy="hold")
    for seq, captured_ns in ((4, 40), (4, 60), (3, 30), (4, 40)):
        box.offer(Stamp("src", seq, captured_ns), None, 0, None)
    assert box.told["src"].captured_ns == 60


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


def test_every_begins_with_the_first_message_of_a_process_so_that_all_edges_of_a_node_keep_the_same_captures():
    """The one before it may have died when it had sent to one of them."""
    kept = []
    for sent in (4, 3):
        box = Mailbox(10, bell=Bell(), every=3)
        box.tally.cells[OFFERED] = sent
        for i in range(6):
            put(box, i)
        kept.append([p.stamp.seq for p in box.packets])
    assert kept == [[0, 3], [0, 3]]


def test_a_ring_before_the_wait_is_not_lost():
    bell = Bell()
    bell.ring()
    bell.ring()
    bell.wait(timeout_s=0)
    assert not bell.rung


def test_a_packet_without_a_message_keeps_no_capture_under_way():
    box = Mailbox(1, bell=Bell(), tells_absence=True)
    box.offer(Stamp("src", 0, 0), None, 0, Door(1, lambda: None).enter())
    assert box.head().ticket is None


def test_whoever_follows_what_leaves_misses_nothing_that_is_taken_meanwhile():
    for _ in range(200):
        box, left = Mailbox(50, bell=Bell(), policy="block"), []
        box.on_taken = lambda: None
        for i in range(50):
            box.offer(Stamp("src", i, i), "x", 0, None)

        def take_all(box=box) -> None:
            while box.take() is not None:
                pass

        taker = Thread(target=take_all)
        taker.start()
        waiting = box.follow(lambda left=left: left.append(1))
        taker.join()
        assert len(left) == waiting


def test_the_last_place_is_free_as_soon_as_one_is_taken():
    """A join may need all of them."""
    edge = Edge("block", capacity=8)
    for i in range(8):
        assert edge.link.has_room()
        edge.offer(i, "x")
    assert edge.take() == "x"
    assert edge.link.has_room()
    edge.close()
