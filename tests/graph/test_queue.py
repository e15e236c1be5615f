"""The queue that messages cross processes by: in order, complete, and full where it is full."""

import os
import socket
from collections import Counter, deque
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.transport import queue
from graph.transport.queue import LARGEST, SIZE, QueueReader, QueueWriter


@pytest.fixture
def ends():
    yield from made()


def made():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    writer = QueueWriter(ours, waits=False)
    _, descriptors, _, _ = socket.recv_fds(theirs, 64, 2)
    reader = QueueReader(*descriptors)
    ours.close()
    theirs.close()
    yield writer, reader
    writer.close()
    reader.close()


def taken(reader: QueueReader) -> list[bytes]:
    got = []
    for _ in range(reader.news()):
        got.append(bytes(reader.take()))
        reader.done()
    return got


def are_those(got: list[bytes], expected: list[bytes]) -> bool:
    """Whether these datagrams came, each filled up to whole words."""
    cut = [datagram[: len(whole)] for datagram, whole in zip(got, expected, strict=True)]
    return cut == expected and all(len(d) == -(-len(e) // 8) * 8 for d, e in zip(got, expected, strict=True))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 300), st.integers(0, LARGEST), st.none()), max_size=120))
def test_what_goes_in_comes_out_in_its_order_and_what_does_not_fit_is_refused(steps):
    """None: the reader takes all that is there."""
    for writer, reader in made():
        waiting: deque[bytes] = deque()
        n = 0
        for size in [*steps, None]:
            if size is None:
                assert are_those(taken(reader), list(waiting))
                waiting.clear()
                continue
            n += 1
            data = bytes([n % 251]) * size
            had_room = writer.has_room()
            if writer.put(data):
                waiting.append(data)
            else:
                assert not had_room
                assert sum(map(len, waiting)) > SIZE - 3 * LARGEST


def test_a_full_queue_has_a_place_for_the_last_datagram(ends):
    writer, reader = ends
    count = 0
    while writer.put(b"x" * 1000):
        count += 1
    assert count > 400
    few = 0
    while writer.put(b""):
        few += 1
    assert not writer.has_room()
    assert writer.put(b"end", is_last=True)
    assert are_those(taken(reader), [b"x" * 1000] * count + [b""] * few + [b"end"])


def test_there_is_room_for_any_datagram_where_it_says_so(ends):
    writer, reader = ends
    for _ in range(50):
        while writer.has_room():
            assert writer.put(bytes(LARGEST))
            assert writer.put(b"odd")
        taken(reader)  # the last of them counts as read only when the next one is taken
        assert writer.has_room()


def test_what_was_taken_stays_until_its_reader_is_done(ends):
    writer, reader = ends
    writer.put(b"a" * LARGEST)
    assert reader.news() == 1
    kept = reader.take()
    while writer.put(b"b" * 1000):
        pass
    assert bytes(kept) == b"a" * LARGEST
    reader.done()
    assert writer.put(b"b" * 1000)


def test_what_was_announced_can_be_read_when_the_writer_is_gone():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    writer = QueueWriter(ours, waits=True)
    _, descriptors, _, _ = socket.recv_fds(theirs, 64, 2)
    reader = QueueReader(*descriptors)
    writer.put(b"last words")
    writer.close()
    assert are_those(taken(reader), [b"last words"])
    assert taken(reader) == []
    reader.close()
    ours.close()
    theirs.close()


def test_a_reader_that_is_gone_already_is_an_error_and_leaves_nothing_open():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.close()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BrokenPipeError):
        QueueWriter(ours, waits=True)
    assert len(os.listdir("/proc/self/fd")) == before
    ours.close()


def test_messages_fit_into_a_queue():
    from graph.transport import wire

    assert wire.DATAGRAM + 1000 < queue.LARGEST


def test_slots_are_given_back_in_any_number_whenever_the_writer_looks(ends):
    writer, reader = ends
    for n in (0, 1, 5, 1024, 1500, 3000):
        given = Counter(slot % 7 for slot in range(n))
        for slot in given.elements():
            reader.give_back(slot)
        found = list(writer.given_back())
        while len(found) < n:  # more than there are words: the rest comes as others are given back
            reader.give_back(6)
            found += writer.given_back()
            given[6] += 1
            n += 1
        assert Counter(found) == given
    assert not list(writer.given_back())


def test_threads_give_back_slots_at_once_and_none_is_lost(ends):
    writer, reader = ends
    count, threads = 4000, 4

    def give(slot: int) -> None:
        for _ in range(count):
            reader.give_back(slot)

    givers = [Thread(target=give, args=(slot,)) for slot in range(threads)]
    found: Counter[int] = Counter()
    for giver in givers:
        giver.start()
    while any(giver.is_alive() for giver in givers):
        found.update(writer.given_back())
    for giver in givers:
        giver.join()
    extra = 0
    while found.total() < count * threads + extra:
        reader.give_back(9)
        extra += 1
        found.update(writer.given_back())
        assert extra < 2 * count * threads
    assert [found[slot] for slot in range(threads)] == [count] * threads
