import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.bell import Bell
from graph.mailbox import Mailbox
from graph.node import Stamp


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
