"""What packets cross processes by: slots, bytes, leases and bells; here both ends are in one process."""

import gc
import os
import pickle
import random
import select
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from graph.bell import Bell, SocketBell
from graph.mailbox import Mailbox
from graph.node import Stamp
from graph.plan import PlannedEdge
from graph.tally import OFFERED, EdgeTally
from graph.transport import fence, flat, memory, packer, queue, wire
from graph.transport.inlet import Inlet
from graph.transport.link import Link
from graph.transport.memory import Reader, Writer
from graph.transport.outlet import Outlet
from graph.transport.ring import RingSpec
from tests.transports import TRANSPORTS

STAMP = Stamp("src", 7, 123, -5)
SLOT = 64 << 10


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    return request.param


@pytest.fixture
def ends(transport):
    """The two sides of a ring of 6 slots."""
    return made(RingSpec(6, SLOT, 2, transport, 1))


def made(spec: RingSpec) -> tuple[Writer, Reader]:
    handle = memory.create(spec)
    try:
        return memory.writer(handle, spec), memory.reader(handle, spec)
    finally:
        memory.close(handle)


class RingUse(RuleBasedStateMachine):
    """Any use of a ring: a slot is in one hand at a time, and comes back when the last hand opens."""

    def __init__(self) -> None:
        super().__init__()
        self.ring, _ = made(RingSpec(3, 4096, 0))
        self.uses: Counter[int] = Counter()
        self.loans: list[tuple[int, list[np.ndarray]]] = []

    def slot_of(self, array: np.ndarray) -> int:
        return self.ring.find(array).slot

    @property
    def taken(self) -> set[int]:
        return set(+self.uses) | {slot for slot, _ in self.loans}

    @rule()
    def acquire(self) -> None:
        slot = self.ring.acquire()
        assert (slot is None) == (len(self.taken) == 3)
        if slot is not None:
            assert slot not in self.taken
            self.uses[slot] += 1

    @rule(size=st.integers(0, 4096))
    def loan(self, size: int) -> None:
        array = self.ring.loan((size,))
        assert (array is None) == (len(self.taken) == 3)
        if array is not None and size:
            slot = self.slot_of(array)
            assert slot not in self.taken
            array[:] = slot
            self.loans.append((slot, [array]))

    @precondition(lambda self: +self.uses)
    @rule(data=st.data())
    def use(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(+self.uses)))
        self.ring.use(slot)
        self.uses[slot] += 1

    @precondition(lambda self: +self.uses)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(+self.uses)))
        self.ring.release(slot)
        self.uses[slot] -= 1

    @precondition(lambda self: self.loans)
    @rule(data=st.data(), step=st.sampled_from([1, 2, -1]))
    def view(self, data: st.DataObject, step: int) -> None:
        _, arrays = data.draw(st.sampled_from(self.loans))
        arrays.append(arrays[-1][::step])

    @precondition(lambda self: self.loans)
    @rule(data=st.data())
    def drop_an_array(self, data: st.DataObject) -> None:
        i = data.draw(st.integers(0, len(self.loans) - 1))
        _, arrays = self.loans[i]
        del arrays[data.draw(st.integers(0, len(arrays) - 1))]
        if not arrays:
            del self.loans[i]

    @precondition(lambda self: self.loans)
    @rule(data=st.data())
    def send_a_loan(self, data: st.DataObject) -> None:
        slot, _ = data.draw(st.sampled_from(self.loans))
        self.ring.use(slot)
        self.uses[slot] += 1

    @invariant()
    def no_slot_leaks(self) -> None:
        assert self.ring.has_free == (len(self.taken) < 3)

    @invariant()
    def nobody_else_writes(self) -> None:
        assert all((array == slot).all() for slot, arrays in self.loans for array in arrays)

    def teardown(self) -> None:
        for _, arrays in self.loans:  # what was drawn from them is remembered elsewhere
            arrays.clear()
        for slot in self.uses.elements():
            self.ring.release(slot)
        assert {self.ring.acquire() for _ in range(3)} == {0, 1, 2}


TestRingUse = RingUse.TestCase
TestRingUse.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@dataclass(frozen=True)
class Inner:
    name: str
    image: Any


@dataclass(frozen=True, slots=True)
class Text:
    """Its characters go through the queue, and not into a slot as those of other messages do."""

    characters: str


@dataclass(frozen=True)
class Outer:
    inner: Inner
    arrays: tuple[Any, ...]
    blob: bytes = b""
    again: Any = None


def crossed(sides: tuple[Writer, Reader], message: Any) -> Any:
    """The message as its consumer gets it; all slots have come back once it is dropped."""
    writer, reader = sides
    encoded = packer.Packer(writer).whole(STAMP, message, 99, has_ticket=True)
    writer.publish(encoded.slots)
    for slot in encoded.slots:
        writer.use(slot)
    for slot in encoded.held:
        writer.release(slot)
    datagram = bytearray(encoded.datagram)
    assert len(datagram) <= queue.LARGEST
    reader.on_end(writer.release)
    fields = wire.opened(memoryview(datagram))
    kind, has_ticket, *stamp, sent_ns, parts = fields
    got = wire.decoded[kind](parts, reader.lease)
    datagram[:] = bytes(len(datagram))  # the buffer is used again for the next one
    assert (has_ticket, tuple(stamp), sent_ns) == (True, STAMP, 99)
    return got


def free(writer: Writer) -> int:
    """How many slots are free."""
    gc.collect()
    slots = []
    while (slot := writer.acquire()) is not None:
        slots.append(slot)
    for slot in slots:
        writer.release(slot)
    return len(slots)


def shaped(kind: str, shape: tuple[int, ...], order: str) -> np.ndarray:
    count = int(np.prod(shape, dtype=int))
    whole = np.arange(count)
    if kind == "O":
        array = np.array([{"i": int(i)} for i in whole], dtype=object)
    elif kind == "structured":
        array = np.zeros(count, [("x", "<f4"), ("name", "U3"), ("box", "<i2", (2,))])
        array["x"], array["name"], array["box"][:, 0] = whole, "abc", whole % 100
    else:
        array = whole.astype(kind)
    array = array.reshape(shape)
    if order == "F":
        return np.asfortranarray(array)
    if not shape:
        return array
    if order == "gaps":
        return array[..., ::2]
    if order == "negative":
        return array[::-1]
    if order == "broadcast":
        return np.broadcast_to(array, (2, *shape))
    return array


arrays = st.builds(
    shaped,
    st.sampled_from(["u1", "<f4", ">i8", "?", "c16", "U2", "S3", "O", "structured", "M8[ns]", "m8[s]", "f2"]),
    st.sampled_from([(), (0,), (3,), (0, 4), (7, 5), (2, 3, 4), (300, 20)]),
    st.sampled_from(["C", "F", "gaps", "negative", "broadcast"]),
)
leaves = st.one_of(arrays, st.none(), st.integers(), st.floats(allow_nan=False), st.binary(max_size=40), st.text())


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and bool(np.array_equal(a, b))
    if isinstance(a, Outer | Inner):
        return type(a) is type(b) and all(same(v, vars(b)[k]) for k, v in vars(a).items())
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def all_arrays(value: Any) -> list[np.ndarray]:
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, Outer | Inner):
        return all_arrays(list(vars(value).values()))
    return [a for v in value for a in all_arrays(v)] if isinstance(value, list | tuple) else []


@settings(max_examples=150, deadline=None)
@given(st.lists(leaves, max_size=5), arrays, st.booleans())
def test_any_message_arrives_as_it_was_and_cannot_be_written_to(values, image, twice):
    sides = made(RingSpec(8, 4 * SLOT, 0))
    message = Outer(Inner("x", image), tuple(values), again=image if twice else None)
    got = crossed(sides, message)
    assert same(message, got)
    by_value = "OMm"  # objects and dates have no buffer: each consumer gets its own
    assert not any(a.flags.writeable for a in all_arrays(got) if a.dtype.kind not in by_value)
    if twice:
        assert got.again is got.inner.image
    del got
    assert free(sides[0]) == 8


@pytest.mark.parametrize("size", [0, 1, flat.SMALL, flat.SMALL + 1, SLOT])
def test_arrays_of_any_size_that_fits(size, ends):
    got = crossed(ends, np.arange(size, dtype=np.uint8))
    assert same(got, np.arange(size, dtype=np.uint8))
    assert free(ends[0]) == 6 - (size > flat.SMALL)


def test_fields_larger_than_a_datagram_go_through_a_slot(transport):
    sides = made(RingSpec(2, 1 << 20, 0, transport, 1))
    blob = os.urandom(500_000)
    got = crossed(sides, Outer(Inner("n" * 100_000, np.arange(5000)), (np.arange(3),), blob))
    assert got.blob == blob
    assert same(got.inner.image, np.arange(5000))
    assert free(sides[0]) == 1
    del got
    assert free(sides[0]) == 2


def test_many_small_arrays_arrive(ends):
    many = [np.full(9, i) for i in range(900)]
    assert same(crossed(ends, many), many)


def test_too_many_arrays_are_refused_and_take_no_slot(ends):
    with pytest.raises(wire.TooBig, match="it has 1500 arrays, and at most 1000 can be told of"):
        packer.Packer(ends[0]).whole(STAMP, [np.full(9, i) for i in range(1500)], 0, has_ticket=False)
    assert free(ends[0]) == 6


def test_an_array_in_the_ring_is_not_copied_and_neither_are_views_of_it(ends):
    writer, _ = ends
    array = writer.loan((SLOT,)).view(np.uint16).reshape(128, -1)
    array[:] = 5
    encoded = packer.Packer(writer).whole(STAMP, [array, array[64:], array.T], 0, has_ticket=False)
    assert encoded.held == []
    assert encoded.slots == [writer.find(array.view(np.uint8)).slot]
    got = crossed(ends, [array, array[64:], array.T])
    array[:] = 6  # nobody should, but so it shows that all of them are the same memory
    assert all((a == 6).all() for a in got)


def test_an_array_with_gaps_is_copied_once_without_them(ends):
    writer, _ = ends
    array = writer.loan((SLOT,))
    array[:] = np.arange(SLOT) % 251
    got = crossed(ends, array[::2])
    assert same(got, array[::2])
    assert free(writer) == 4  # the loan, and the copy
    del array
    assert free(writer) == 5


def test_an_array_larger_than_a_slot_is_refused_with_both_sizes(ends):
    with pytest.raises(wire.TooBig, match=rf"{SLOT + 1} bytes do not fit into a slot of {SLOT} bytes"):
        packer.Packer(ends[0]).whole(
            STAMP, [np.zeros(5000, np.uint8), np.zeros(SLOT + 1, np.uint8)], 0, has_ticket=False
        )
    assert free(ends[0]) == 6


def test_no_slot_is_kept_by_a_message_that_found_too_few(ends):
    with pytest.raises(wire.NoSlot):
        packer.Packer(ends[0]).whole(STAMP, [np.zeros(SLOT, np.uint8) for _ in range(7)], 0, has_ticket=False)
    assert free(ends[0]) == 6


def test_no_slot_is_kept_by_a_message_that_cannot_be_pickled(ends):
    with pytest.raises((pickle.PicklingError, AttributeError)):
        packer.Packer(ends[0]).whole(STAMP, [np.zeros(SLOT, np.uint8), lambda: None], 0, has_ticket=False)
    assert free(ends[0]) == 6


def test_a_lease_lasts_as_long_as_the_last_view_of_the_last_array(ends):
    writer, _ = ends
    got = crossed(ends, Outer(Inner("a", np.arange(2000)), (np.arange(3000), np.arange(4))))
    assert free(writer) == 5
    kept = got.inner.image[::3][4:].reshape(-1, 3)
    small = got.arrays[1]
    del got
    assert free(writer) == 5
    last = memoryview(kept)
    del kept
    assert free(writer) == 5
    assert last.tolist()[0] == [12, 15, 18]
    del last
    assert free(writer) == 6  # the small array came with the fields
    assert same(small, np.arange(4))


def test_what_outlives_both_ends_of_the_ring_stays_readable(transport):
    sides = made(RingSpec(2, SLOT, 1, transport, 1))
    got = crossed(sides, np.arange(8000))
    loan = sides[0].loan((100,))
    del sides
    gc.collect()
    loan[:] = 1  # no BufferError, and no fault
    assert same(got, np.arange(8000))


class Edge:
    """An edge across processes with both of its ends in this one; nobody waits at its bells."""

    make_bell: type[SocketBell] = SocketBell

    def __init__(
        self, policy: str = "latest", capacity: int = 4, spec: RingSpec | None = None, transport: str = "slots"
    ) -> None:
        self.edge = PlannedEdge("src", "", "out", "x", object, policy, capacity)
        self.spec = spec or RingSpec(4, SLOT, 0, transport, 1)
        self.bell = self.make_bell("test")
        self.mailbox = Mailbox(capacity, bell=self.bell, policy=policy)
        self.tally = EdgeTally()
        self.errors: list[Exception] = []
        self.start_producer()
        self.connect()

    def start_producer(self) -> None:
        self.handle = memory.create(self.spec)
        self.ring = memory.writer(self.handle, self.spec)
        self.link = Link(self.edge, self.ring, Bell(), self.tally)
        self.outlet = Outlet(self.ring, [self.link])

    def connect(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.inlet = self.inlet_at(theirs)
        self.link.connect(ours, is_new=False, counts_captures=False)

    def inlet_at(self, end: socket.socket) -> Inlet:
        reader = memory.reader(self.handle, self.spec)
        return Inlet(self.mailbox, self.bell, end, reader, on_error=self.errors.append)

    def offer(self, seq: int, message: Any) -> None:
        self.outlet.offer(Stamp("src", seq, seq), message, 0, None)

    def take(self) -> Any:
        self.inlet.drain()
        packet = self.mailbox.take()
        return None if packet is None else packet.message

    def close(self) -> None:
        self.link.close()
        self.inlet.close()
        self.bell.close()
        memory.close(self.handle)


@pytest.fixture
def edge(transport):
    edge = Edge(transport=transport)
    yield edge
    edge.close()


def test_a_frame_that_is_kept_costs_one_slot_and_newer_ones_pass(edge):
    kept = []
    for seq in range(30):
        edge.offer(seq, np.full(SLOT, seq % 250, np.uint8))
        got = edge.take()
        assert (got == seq % 250).all()
        if seq == 3:
            kept.append(got)
    assert (kept[0] == 3).all()
    assert edge.tally.dropped["full"] == 0


def test_without_a_slot_messages_are_lost_as_full_and_counted(edge):
    kept = []
    for seq in range(6):
        edge.offer(seq, np.full(SLOT, seq, np.uint8))
        kept.append(edge.take())
    assert [int(k[0]) for k in kept[:4]] == [0, 1, 2, 3]
    assert edge.tally.dropped["full"] == 2
    kept.clear()
    edge.offer(6, np.full(SLOT, 6, np.uint8))
    assert edge.take()[0] == 6


def test_slots_that_came_back_are_lent_again_before_others_need_new_pages():
    edge = Edge(spec=RingSpec(8, SLOT, 2, "slots", 1))
    used = set()
    for seq in range(20):
        loan = edge.outlet.loan((SLOT,), "uint8")
        used.add(edge.ring.loans[id(loan)][0])
        edge.offer(seq, loan)
        del loan
        assert edge.take() is not None
    assert used == {0}  # each time the one that came back last, which is warm
    kept = [edge.outlet.loan((SLOT,), "uint8") for _ in range(8)]
    assert {edge.ring.loans[id(loan)][0] for loan in kept} == set(range(8))  # the others are there when they are needed
    assert id(edge.outlet.loan((SLOT,), "uint8")) not in edge.ring.loans
    del kept
    edge.close()


def test_a_consumer_that_is_gone_gives_all_back(edge):
    for seq in range(3):
        edge.offer(seq, np.zeros(SLOT, np.uint8))
    kept = edge.take()
    edge.inlet.close()
    edge.link.drain()
    assert free(edge.ring) == 4
    assert edge.link.has_room()
    edge.offer(3, np.ones(SLOT, np.uint8))
    assert edge.tally.dropped["lost"] == 1
    assert not kept.any()


@pytest.mark.parametrize("size", [10, 50_000])
def test_a_blocking_edge_loses_nothing_however_large_its_fields(size, transport):
    edge = Edge("block", capacity=500, transport=transport)
    sent, got = 0, []
    while len(got) < 600:
        while sent < 600 and edge.link.has_room():
            edge.offer(sent, str(sent) + "x" * size)
            sent += 1
        message = edge.take()
        assert message is not None
        got.append(int(message.rstrip("x")))
    assert got == list(range(600))
    assert edge.tally.lost == 0
    edge.close()


def wait(bell: Bell) -> None:
    """Wait as a worker does; whoever is not woken in time is not woken at all."""
    began = time.monotonic()
    bell.wait(20)
    assert time.monotonic() - began < 19


@pytest.mark.parametrize("is_direct", [False, True], ids=["mailbox", "past it"])
@pytest.mark.parametrize(("capacity", "most"), [(1, 10), (2, 50_000), (500, 10), (500, 50_000), (500, 110_000)])
def test_a_producer_that_waits_for_room_is_told_of_it(capacity, most, is_direct):
    """It waits at its bell and never looks by itself: one note too few, and neither side goes on."""
    edge, bell, sent = (Beside if is_direct else Edge)("block", capacity), SocketBell("producer"), 0
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    edge.link.close()
    edge.inlet.close()
    edge.link = Link(edge.edge, edge.ring, bell, edge.tally)
    edge.outlet = Outlet(edge.ring, [edge.link])
    edge.inlet = edge.inlet_at(theirs)
    edge.link.connect(ours, is_new=False, counts_captures=False)
    got: list[Text] = edge.node.got if is_direct else []
    chance = random.Random(most)

    def consume() -> None:
        while len(got) < 600:
            packet = edge.mailbox.take()
            if packet is None:
                wait(edge.bell)
            else:
                got.append(packet.message)
                time.sleep(chance.choice((0, 0, 0.001)))

    consumer = threading.Thread(target=consume, daemon=True)
    consumer.start()
    while sent < 600:
        while not edge.outlet.has_room():
            wait(bell)
        edge.offer(sent, Text(str(sent) + "x" * chance.randint(most // 2, most)))
        sent += 1
    consumer.join(20)
    assert [int(message.characters.rstrip("x")) for message in got] == list(range(600))
    edge.close()
    bell.close()


@pytest.mark.parametrize("most", [40_000, 80_000, 110_000])
def test_whoever_reads_a_full_queue_at_once_tells_of_the_room(most):
    """Wherever the queue begins again, and although it is not taken out of the mailbox."""
    edge, chance = Edge("block", capacity=10_000), random.Random(most)
    for _ in range(300):
        while edge.link.has_room():
            edge.offer(0, Text("x" * chance.randint(most // 4, most)))
        assert not is_told(edge.link)
        edge.inlet.drain()
        assert is_told(edge.link)
        edge.link.drain()
        assert edge.link.has_room()
        edge.mailbox.packets.clear()
    assert edge.tally.lost == 0
    edge.close()


def test_a_blocking_edge_has_room_for_its_capacity(transport):
    edge = Edge("block", capacity=3, transport=transport)
    for seq in range(3):
        assert edge.link.has_room()
        edge.offer(seq, seq)
    assert not edge.link.has_room()
    edge.take()
    assert edge.link.has_room()
    edge.close()


def test_room_is_known_of_without_a_note_and_a_note_comes_only_where_it_is_waited_for():
    edge = Edge("block", capacity=2)
    edge.link.drain()  # the first note, by which the consumer says that it reads
    for n in range(20):
        assert edge.link.has_room()
        edge.offer(n, "a")
        edge.take()
    assert not is_told(edge.link)
    edge.offer(20, "a")
    edge.offer(21, "a")
    assert not edge.link.has_room()
    assert not is_told(edge.link)
    edge.take()
    assert is_told(edge.link)
    edge.close()


def test_what_several_threads_of_a_consumer_take_at_once_is_all_counted():
    edge, count, threads = Edge("block", capacity=2), 2000, 4
    edge.inlet.drain()

    def take() -> None:
        for _ in range(count):
            edge.mailbox.on_taken()

    takers = [threading.Thread(target=take) for _ in range(threads)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert edge.link._queue.has_taken(count * threads)
    assert not edge.link._queue.has_taken(count * threads + 1)
    edge.close()


def test_where_a_question_might_be_missed_all_is_told(monkeypatch):
    """Without membarrier(2) a producer that waits could look before what a consumer has just done is seen."""
    monkeypatch.setattr(fence, "is_possible", lambda: False)
    edge = Edge("block", capacity=2)
    edge.link.drain()
    for n in range(5):
        edge.offer(n, "a")
        edge.take()
        assert is_told(edge.link)
        edge.link.drain()
    edge.close()
    edge = Edge("latest", capacity=2)  # of which nobody waits for room
    edge.link.drain()
    edge.offer(0, "a")
    edge.take()
    assert not is_told(edge.link)
    edge.close()


def is_told(link: Link) -> bool:
    """Whether a note of the consumer waits to be read."""
    return bool(select.select([link._socket], [], [], 0)[0])


def test_a_new_producer_gets_no_room_for_what_the_old_one_had_sent(transport):
    edge = Edge("block", capacity=2, transport=transport)
    edge.offer(0, "a")
    edge.offer(1, "b")
    edge.inlet.drain()
    edge.inlet.close()
    edge.link.close()
    edge.start_producer()
    edge.connect()
    edge.offer(2, "c")
    edge.offer(3, "d")
    assert not edge.link.has_room()
    assert [edge.take(), edge.take()] == ["a", "b"]
    assert not edge.link.has_room()
    assert edge.take() == "c"
    assert edge.link.has_room()
    edge.close()


def test_the_end_reaches_a_consumer_that_has_stopped_reading_for_a_while():
    edge = Edge(capacity=1000)
    edge.inlet.close()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    edge.link.connect(ours, is_new=False, counts_captures=False)
    while not edge.tally.dropped["full"]:
        edge.offer(0, "x" * 20_000)
    edge.outlet.close()
    assert not edge.mailbox.closed
    edge.inlet = edge.inlet_at(theirs)
    until(lambda: edge.take() is None and edge.mailbox.closed)
    edge.close()


def test_a_consumer_that_comes_after_the_end_is_told(edge):
    edge.outlet.close()
    edge.inlet.close()
    edge.inlet.drain()
    edge.mailbox.closed = False
    edge.connect()
    edge.inlet.drain()
    assert edge.mailbox.closed


class Poison:
    def __reduce__(self) -> Any:
        return int, ("poison",)


def test_what_cannot_be_read_is_told_and_the_next_is_read(edge):
    edge.offer(0, Poison())
    edge.offer(1, "good")
    assert edge.take() == "good"
    assert [str(e) for e in edge.errors] == ["invalid literal for int() with base 10: 'poison'"]
    assert edge.mailbox.dropped["error"] == 1


def test_what_cannot_be_sent_is_told_with_the_edge_and_counted(edge):
    with pytest.raises(wire.Unsendable, match=r"its Outer cannot go to another process \(src->out.x\): .*local"):
        edge.offer(0, Outer(Inner("x", lambda: None), ()))
    with pytest.raises(wire.TooBig) as caught:
        edge.offer(1, Outer(Inner("x", np.zeros(SLOT + 8, np.uint8)), ()))
    assert str(caught.value) == (
        f"its Outer does not fit the memory planned for src->out.x: {SLOT + 8} bytes do not fit into a slot of "
        f"{SLOT} bytes; correct what `emits` of the node says of it, or `size_bytes` of Outer"
    )
    assert edge.tally.dropped["error"] == 2
    assert edge.tally.sent == 0


def test_many_arrays_in_one_slot_are_given_back_by_one_note(edge):
    """Hundreds of notes would not fit into the socket at once, and those that do not would be slots that never end."""
    spec = RingSpec(2, 8 << 20, 0, edge.spec.transport, 1)
    edge.close()
    edge.__init__(spec=spec)
    for seq in range(4):
        edge.offer(seq, [np.full(5000, i % 256, np.uint8) for i in range(900)])
        got = edge.take()
        assert all((a == i % 256).all() for i, a in enumerate(got))
        del got
    assert edge.tally.lost == 0


def until(condition: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)


@pytest.mark.parametrize("is_urgent", [True, False])
def test_no_wake_up_is_lost_among_many_ringers_and_sockets(is_urgent):
    """Each ringer waits until it was heard before it rings again, so a single wake-up lost would be a hang."""
    bell = SocketBell("test")
    count, rounds, sockets = 4, 300, []
    asked, heard = [0] * count, [0] * count
    got = [0] * count
    stop = threading.Event()

    def listener(i: int, end: socket.socket) -> Any:
        def read() -> None:
            while True:
                try:
                    end.recv(64)
                except BlockingIOError:
                    return
                got[i] += 1
                bell.ring()

        return read

    def wait() -> None:
        while not stop.is_set():
            for i in range(count):
                heard[i] = asked[i]
            bell.wait(None)

    def ring_in_turn(i: int) -> None:
        for n in range(1, rounds + 1):
            asked[i] = n
            bell.ring()
            until(lambda n=n: heard[i] >= n)

    def send_in_turn(i: int) -> None:
        for n in range(1, rounds + 1):
            sockets[i].send(b"x")
            until(lambda n=n: got[i] >= n)

    for i in range(count):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(False)
        sockets += [ours]
        sockets[i : i + 1] = [ours]
        bell.watch(theirs.fileno(), listener(i, theirs), is_urgent=is_urgent or i % 2 == 0)
        asked.append(theirs)  # kept open
    waiter = threading.Thread(target=wait)
    waiter.start()
    ringers = [threading.Thread(target=f, args=(i,)) for i in range(count) for f in (ring_in_turn, send_in_turn)]
    for ringer in ringers:
        ringer.start()
    for ringer in ringers:
        ringer.join()
    stop.set()
    bell.ring()
    waiter.join()
    bell.close()
    assert (got, heard) == ([rounds] * count, [rounds] * count)
    for end in [*sockets, *asked[count:]]:
        end.close()


def test_what_the_worker_waits_for_is_armed_again_when_the_thread_beside_it_was_quicker():
    """What is read need not ring: a slot that comes back wakes nobody, and the room that comes next must."""
    bell = SocketBell("test")
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    (ours, theirs), (urgent, heard) = pairs
    held, waits, stop, read = threading.Event(), threading.Event(), threading.Event(), []

    def hold_up() -> None:
        heard.recv(64)
        held.set()
        waits.wait()  # so that this thread is the last to poll, which is who is woken

    bell.watch(heard.fileno(), hold_up, is_urgent=True)
    bell.watch(theirs.fileno(), lambda: read.append(theirs.recv(64)), is_urgent=False)
    urgent.send(b"x")
    assert held.wait(20)

    def wait() -> None:
        while not stop.is_set():
            bell.wait()

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    until(lambda: bell._waits)
    time.sleep(0.1)
    waits.set()
    time.sleep(0.1)
    for n in range(3):
        ours.send(b"x")
        until(lambda n=n: len(read) > n)
    stop.set()
    bell.ring()
    waiter.join()
    bell.close()
    assert read == [b"x"] * 3
    for end in (*pairs[0], *pairs[1]):
        end.close()


def test_what_the_thread_beside_has_heard_since_the_worker_looked_is_not_lost():
    """A note says that there is room, and comes when the worker has found none and is about to wait for it."""
    bell, (ours, theirs) = SocketBell("test"), socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    is_short, heard = True, threading.Event()

    def drain() -> None:
        nonlocal is_short
        theirs.recv(64)
        is_short = False
        heard.set()

    bell.watch(theirs.fileno(), drain, is_urgent=False, when=lambda: is_short)
    bell.wait(0)
    bell.wait(0)  # armed, and woken by something else
    ours.send(b"x")
    assert heard.wait(20)
    begin = time.monotonic()
    bell.wait(20)  # the worker, which does not know of it
    assert time.monotonic() - begin < 10
    bell.close()
    ours.close()
    theirs.close()


def test_a_consumer_that_did_not_read_yet_is_told_what_it_has_missed():
    """Else a join behind it would wait for that, and keep what its source waits for."""
    edge = Edge()
    edge.inlet.close()
    edge.link.close()
    memory.close(edge.handle)
    edge.edge = replace(edge.edge, tells_absence=True)
    edge.mailbox.tells_absence = edge.mailbox._is_special = True
    edge.start_producer()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    edge.link.connect(ours, is_new=True, counts_captures=False)
    edge.link._is_heard = False  # as where what is published before a reader is there never reaches it
    edge.offer(0, "lost")
    edge.offer(1, "lost")
    edge.inlet = edge.inlet_at(theirs)
    edge.offer(2, "comes")
    edge.inlet.drain()
    assert [(p.stamp.seq, p.message) for p in edge.mailbox.packets] == [(1, None), (2, "comes")]
    assert edge.tally.dropped["lost"] == 2
    edge.close()


def test_every_begins_with_the_first_message_of_a_new_producer():
    edge = Edge()
    edge.inlet.close()
    edge.link.close()
    memory.close(edge.handle)
    edge.edge = replace(edge.edge, every=3)
    edge.tally.cells[OFFERED] = 4
    edge.start_producer()
    edge.connect()
    for seq in range(6):
        edge.offer(seq, seq)
    assert [edge.take() for _ in range(2)] == [0, 3]
    assert edge.tally.thinned == 4
    edge.close()


def test_what_is_armed_is_not_armed_again_before_it_has_had_its_event(monkeypatch):
    """To arm a descriptor at which there is something wakes the thread beside the worker."""
    bell, (ours, theirs), armed, read = Alone("test"), socket.socketpair(), [], []
    arm = bell._arm
    monkeypatch.setattr(bell, "_arm", lambda fd: armed.append(fd) or arm(fd))
    bell.watch(theirs.fileno(), lambda: read.append(theirs.recv(64)), is_urgent=False)
    for n in range(3):
        for _ in range(4):
            bell.wait(0)
        assert (len(armed), len(read)) == (n + 1, n)
        ours.send(b"x")
        bell.wait(1)
        assert len(read) == n + 1
    bell.forget(theirs.fileno())
    bell._arm(theirs.fileno())  # as a thread would that waits at this very moment
    bell.watch(theirs.fileno(), lambda: read.append(theirs.recv(64)), is_urgent=False)  # the number of another one
    bell.wait(0)
    bell.wait(0)
    assert len(armed) == 5
    bell.close()
    ours.close()
    theirs.close()


class Node:
    """Stands for a node that may be given messages past its mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox, self.is_idle, self.got = mailbox, True, []

    def take_over(self, stamp: Stamp, message: Any, sent_ns: int, ticket: Any) -> None:
        self.mailbox.was_handed()
        self.got.append(message)


class Alone(SocketBell):
    """A bell without a thread beside the one that waits, which might be quicker on a busy machine."""

    def _listen(self) -> None:
        self._queue.get()


class Direct(Edge):
    """An edge whose consumer takes messages over while its worker, which is this thread, waits."""

    make_bell = Alone

    def inlet_at(self, end: socket.socket) -> Inlet:
        self.node = Node(self.mailbox)
        reader = memory.reader(self.handle, self.spec)
        return Inlet(self.mailbox, self.bell, end, reader, on_error=self.errors.append, taker=self.node)

    def connect(self) -> None:
        super().connect()
        self.inlet.drain()
        self.link.drain()
        self.bell.wait(0)

    def waiting(self) -> list[Any]:
        return [packet.message for packet in self.mailbox.packets]

    def receive(self, *messages: Any) -> None:
        """Wait for messages that are sent meanwhile."""

        def send() -> None:
            until(lambda: self.bell._waits)
            for message in messages:
                self.offer(0, message)

        sender = threading.Thread(target=send)
        sender.start()
        while sender.is_alive() or not (self.node.got or self.mailbox.packets):
            self.bell.wait(0.2)


class Beside(Direct):
    """The same with a thread beside the worker, which takes in what comes while that is at work."""

    make_bell = SocketBell


@pytest.fixture
def direct():
    edge = Direct()
    yield edge
    edge.close()


def test_a_message_that_comes_alone_goes_past_the_mailbox(direct):
    direct.receive("alone")
    assert (direct.node.got, direct.waiting()) == (["alone"], [])
    tally = direct.mailbox.tally
    assert (tally.offered, tally.settled, tally.delivered, tally.handed) == (1, 1, 1, 1)


def test_a_node_that_is_busy_finds_it_in_the_mailbox(direct):
    direct.node.is_idle = False
    direct.receive("later")
    assert (direct.node.got, direct.waiting()) == ([], ["later"])


def test_nothing_overtakes_what_waits(direct):
    direct.mailbox.offer(STAMP, "first", 0, None)
    direct.bell.wait(0)
    direct.receive("second")
    direct.inlet.drain()
    assert (direct.node.got, direct.waiting()) == ([], ["first", "second"])


def test_several_at_once_go_into_the_mailbox(direct):
    for n in range(3):
        direct.offer(n, n)
    direct.bell.wait(0.2)
    assert (direct.node.got, direct.waiting()) == ([], [0, 1, 2])


def test_a_node_pulls_one_message_after_the_other_and_the_others_wait_in_the_queue():
    edge = Direct("block", 4)
    for n in range(3):
        edge.offer(n, n)
    for n in range(3):
        assert edge.inlet.pull()
        assert (edge.node.got, edge.waiting()) == (list(range(n + 1)), [])
    assert not edge.inlet.pull()
    edge.offer(3, 3)
    edge.offer(4, 4)
    assert edge.inlet.pull()
    edge.inlet.drain()  # such as when its producer ends
    assert (edge.node.got, edge.waiting()) == ([0, 1, 2, 3], [4])
    edge.close()


def test_a_node_pulls_nothing_past_what_the_thread_beside_it_has_taken_in():
    edge = Direct("block", 4)
    edge.offer(0, "first")
    edge.inlet.drain()
    edge.offer(1, "second")
    assert edge.inlet.pull()  # there is something, but not here
    assert (edge.node.got, edge.waiting()) == ([], ["first"])
    edge.mailbox.take()
    assert edge.inlet.pull()
    assert edge.node.got == ["second"]
    edge.close()


def test_what_says_that_there_is_nothing_is_pulled_and_told_on():
    edge = Direct("block", 4)
    edge.mailbox.tells_absence = edge.mailbox._is_special = True
    edge.link._queue.put(wire.absence(STAMP).datagram)
    assert edge.inlet.pull()
    assert (edge.node.got, edge.waiting()) == ([], [None])
    edge.mailbox.take()
    edge.outlet.close()
    assert edge.inlet.pull()
    assert edge.mailbox.closed
    edge.close()


def test_room_is_told_also_past_the_mailbox():
    """Of a producer that must lose nothing: by count, and by the bytes of long messages."""
    for size, capacity in ((10, 2), (50_000, 1000)):
        edge = Direct("block", capacity)
        for n in range(20):
            edge.node.got.clear()
            assert edge.link.has_room()
            edge.receive(str(n % 10) * size)
            assert len(edge.node.got) == 1
        assert edge.tally.lost == 0
        edge.close()


def test_a_producer_without_room_for_more_bytes_is_told_of_it_past_the_mailbox():
    """The queue may be full of two such messages, where the mailbox would have room for a thousand."""
    edge, message, refusals = Direct("block", 1000), Text("x" * 110_000), 0
    queue, news, tell = edge.inlet._queue, edge.inlet._queue.news, edge.inlet.tell
    edge.bell.forget(queue.event)  # no thread but this one wakes
    second, waits = False, False

    def just_before_the_second() -> int:
        nonlocal second, waits, refusals
        count = news()
        if not second:
            second = True
            edge.offer(0, message)
            waits = not edge.link.has_room()
            refusals += waits
        return count

    def told(kind: int, value: int = 0) -> None:
        """The producer is woken, and looks once."""
        nonlocal waits
        tell(kind, value)
        edge.link.drain()
        waits = waits and not edge.link.has_room()

    queue.news, edge.inlet.tell = just_before_the_second, told
    for sent in range(1, 31):
        second, waits = False, False
        edge.offer(0, message)
        edge.inlet._pass_on(queue, edge.node)
        edge.inlet._pass_on(queue, edge.node)
        assert edge.mailbox.tally.handed == 2 * sent
        assert not waits
    assert refusals > 3
    assert edge.tally.lost == 0
    edge.close()


def test_copied_messages_take_slots_that_came_back_before_others_need_new_pages():
    edge = Edge(spec=RingSpec(8, SLOT, 2, "slots", 1))
    for seq in range(20):
        edge.offer(seq, np.full(SLOT, seq, np.uint8))
        assert edge.take()[0] == seq
    assert edge.ring._begun == 2
    kept = []
    for seq in range(8):
        edge.offer(seq, np.full(SLOT, seq, np.uint8))
        kept.append(edge.take())
    assert [int(array[0]) for array in kept] == list(range(8))  # the others are there when they are needed
    edge.close()


def test_an_array_that_was_made_ahead_is_told_of_once_and_not_when_its_reader_ends():
    spec = RingSpec(2, SLOT, 1)
    _, reader = made(spec)
    told: list[int] = []
    reader.on_end(told.append)
    for n in range(3):
        array = reader.lease(1, SLOT, (100,), np.dtype("u1"))
        twin = reader.lease(1, SLOT, (100,), np.dtype("u1"))
        assert array is not twin
        view = array[3:]
        del array
        assert told == [1, 1] * n
        del view, twin
        assert told == [1, 1] * (n + 1)
    last = reader.lease(0, 0, (5,), np.dtype("u1"))
    reader.close()
    del last
    gc.collect()
    assert told == [1] * 6


def test_the_memory_of_a_reader_that_was_closed_goes_with_its_last_array():
    def mapped() -> int:
        with open("/proc/self/maps") as maps:
            return sum("cauce-ring" in line for line in maps)

    gc.collect()
    before = mapped()
    handle = memory.create(RingSpec(2, SLOT, 1))
    reader = memory.reader(handle, RingSpec(2, SLOT, 1))
    memory.close(handle)
    array = reader.lease(0, 0, (5,), np.dtype("u1"))
    other = reader.lease(1, SLOT, (5,), np.dtype("u1"))
    del other
    reader.close()
    del reader
    assert mapped() == before + 1
    assert not array.any()
    del array
    gc.collect()
    assert mapped() == before
