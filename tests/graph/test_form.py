"""The form of messages: told once, then only numbers; whatever changes, what arrives is what was sent."""

import gc
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.node import Stamp
from graph.transport import packer
from graph.transport.outlet import Outlet
from graph.transport.ring import RingSpec
from tests.graph.test_transport import SLOT, Edge

BIG, SMALL = 6000, 40


@dataclass(frozen=True, slots=True)
class Lens:
    focal: tuple[float, float]
    name: str


@dataclass(frozen=True, slots=True)
class Table:
    values: np.ndarray


@dataclass(frozen=True, slots=True)
class Shot:
    pixels: np.ndarray
    gain: float = 1.0
    size_wh: tuple[int, ...] = (3, 4)
    lens: Any = None
    rows: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Other:
    pixels: np.ndarray


@pytest.fixture
def edge():
    edge = Edge(spec=RingSpec(8, SLOT, 0, "slots", 1))
    yield edge
    edge.close()


def lent(edge: Edge, fill: int, shape: tuple[int, ...] = (BIG,), dtype: str = "uint8") -> np.ndarray:
    array = edge.outlet.loan(shape, dtype)
    array[...] = fill
    return array


def kinds(edge: Edge, messages: list[Any], origin: str = "src") -> list[str]:
    """How each message is told, once it has been seen to arrive as it was."""
    found = []
    put = edge.link._queue.put

    def heard(data: bytes, **more: Any) -> bool:
        found.append("numbers" if data[7] & 128 else "whole")
        return put(data, **more)

    edge.link._queue.put = heard
    for seq, message in enumerate(messages):
        edge.outlet.offer(Stamp(origin, seq, 10 * seq, -seq), message, 7, None)
        edge.inlet.drain()
        packet = edge.mailbox.take()
        assert packet.stamp == Stamp(origin, seq, 10 * seq, -seq)
        assert packet.sent_ns == 7
        assert same(packet.message, message)
    edge.link._queue.put = put
    return found


def same(a: Any, b: Any) -> bool:
    if isinstance(b, np.ndarray):
        return type(a) is np.ndarray and a.dtype == b.dtype and np.array_equal(a, b) and not a.flags.writeable
    if hasattr(b, "__dataclass_fields__"):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(b))
    return type(a) is type(b) and repr(a) == repr(b)


def test_frames_are_told_in_numbers_from_the_second_on(edge):
    lens = Lens((1.0, 2.0), "left")
    shots = [Shot(lent(edge, 1), lens=lens), Shot(lent(edge, 2), lens=lens), Shot(lent(edge, 3), 1.0, (3, 4), lens)]
    assert kinds(edge, shots) == ["whole", "numbers", "numbers"]


def test_equal_values_need_not_be_the_same_objects(edge):
    shots = [Shot(lent(edge, n), float("1.5"), (n * 0, 4)) for n in range(3)]
    assert shots[0].size_wh is not shots[1].size_wh
    assert kinds(edge, shots) == ["whole", "numbers", "numbers"]


def test_small_arrays_come_along(edge):
    shots = [Shot(lent(edge, i), rows=np.full((2, 5), i, np.float32)) for i in range(3)]
    assert kinds(edge, shots) == ["whole", "numbers", "numbers"]
    assert kinds(edge, [Other(np.arange(i, i + 5)) for i in range(3)]) == ["whole", "numbers", "numbers"]
    assert kinds(edge, [Other(np.zeros((0, 4))) for _ in range(2)]) == ["whole", "numbers"]


def received(edge: Edge, message: Any) -> Any:
    edge.outlet.offer(Stamp("src", 0, 0), message, 7, None)
    edge.inlet.drain()
    return edge.mailbox.take().message


def test_a_small_array_stays_as_it_is_while_anything_looks_at_it(edge):
    """Its memory is used again, but not before."""
    received(edge, Other(np.zeros(7, np.int16)))
    kept = [received(edge, Other(np.full(7, i, np.int16))).pixels for i in range(6)]
    rows = [a[2:4] for a in kept[::2]]
    where = {a.__array_interface__["data"][0] for a in kept[1::2]}
    del kept
    gc.collect()
    again = [received(edge, Other(np.full(7, 10 + i, np.int16))).pixels for i in range(9)]
    assert [row.tolist() for row in rows] == [[i, i] for i in (0, 2, 4)]
    assert [a.tolist() for a in again] == [[10 + i] * 7 for i in range(9)]
    assert where < {a.__array_interface__["data"][0] for a in again}
    with pytest.raises(ValueError, match="read-only"):
        again[0][0] = 1


@pytest.mark.parametrize(
    "change",
    [
        {"gain": 2.0},
        {"gain": -0.0},
        {"gain": True},
        {"size_wh": (3.0, 4)},
        {"size_wh": (True, 4)},
        {"size_wh": (3, 4, 5)},
        {"lens": Lens((1.0, 2.5), "left")},
        {"rows": np.zeros(3)},
        {"lens": Table(np.zeros(2))},
    ],
    ids=str,
)
def test_what_changes_is_told(edge, change):
    plain = {"gain": 0.0 if change.get("gain") == 0 else 1.0}
    if "lens" in change:
        plain["lens"] = Lens((1.0, 2.0), "left")
    shots = [Shot(lent(edge, 1), **plain), Shot(lent(edge, 2), **{**plain, **change})]
    assert kinds(edge, shots) == ["whole", "whole"]


def test_other_shapes_types_and_places_are_told(edge):
    arrays = [lent(edge, 1), lent(edge, 2, (BIG // 2, 2)), lent(edge, 3, (BIG // 2, 2), "int8")]
    arrays.append(lent(edge, 4, (BIG // 4, 2, 2)))
    arrays.append(np.full((BIG // 4, 2, 2), 5, np.uint8))  # not lent, so copied
    assert kinds(edge, [Other(a) for a in arrays]) == ["whole"] * 5


def test_a_loan_that_was_given_another_shape_arrives_in_it(edge):
    first, second = lent(edge, 1), lent(edge, 2)
    second.shape = (2, BIG // 2)
    assert kinds(edge, [Other(first), Other(second)]) == ["whole", "whole"]


def test_origins_and_classes_have_forms_of_their_own(edge):
    assert kinds(edge, [Other(lent(edge, 1)), Shot(lent(edge, 2))]) == ["whole", "whole"]
    assert kinds(edge, [Other(lent(edge, 3)), Shot(lent(edge, 4))]) == ["numbers", "numbers"]
    assert kinds(edge, [Other(lent(edge, 5))], origin="left") == ["whole"]
    assert kinds(edge, [Other(lent(edge, 6))], origin="left") == ["numbers"]


def test_a_form_that_changes_often_is_given_up(edge):
    messages = [Other(np.zeros(1 + i)) for i in range(packer.MOST_FORMS + 1)]
    assert set(kinds(edge, messages)) == {"whole"}
    assert kinds(edge, [messages[-1]] * 3) == ["whole"] * 3
    assert kinds(edge, [Shot(lent(edge, 1)), Shot(lent(edge, 2))]) == ["whole", "numbers"]


def test_a_new_consumer_is_told_again(edge):
    assert kinds(edge, [Other(lent(edge, 1)), Other(lent(edge, 2))]) == ["whole", "numbers"]
    edge.inlet.close()
    edge.connect()
    edge.link.drain()
    assert kinds(edge, [Other(lent(edge, 3)), Other(lent(edge, 4))]) == ["whole", "numbers"]


def test_whoever_missed_the_message_that_told_is_told(edge):
    """Two consumers, of whom one comes later; neither has the other told twice."""
    second = Edge(spec=edge.spec)
    second.inlet.close()
    second.link.drain()
    second.link._ring = edge.ring
    edge.outlet = Outlet(edge.ring, [edge.link, second.link])
    for seq in range(2):
        edge.offer(seq, Other(lent(edge, seq)))
    second.handle, handle = edge.handle, second.handle
    second.connect()
    told: list[tuple[str, bool]] = []
    for name, link in (("first", edge.link), ("second", second.link)):
        put = link._queue.put
        link._queue.put = lambda data, put=put, name=name: told.append((name, data[7] & 128 != 0)) or put(data)
    for seq in (2, 3):
        edge.offer(seq, Other(lent(edge, seq)))
    assert told == [("first", True), ("second", False), ("first", True), ("second", True)]
    second.inlet.drain()
    assert second.mailbox.take().message.pixels[0] == 2
    second.handle = handle
    second.close()


def test_slots_come_back_however_they_were_told(edge):
    for seq in range(40):
        edge.offer(seq, Shot(lent(edge, seq), rows=np.zeros(3)))
        message = edge.take().rows if seq % 2 else edge.take().pixels[1:]
        assert message is not None
    del message
    gc.collect()
    edge.link.drain()
    assert not edge.link._uses._counts
    assert not edge.ring.loans
    assert edge.tally.lost == 0


sizes = st.sampled_from([0, 3, SMALL, BIG])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(sizes, sizes, st.sampled_from([0.0, 1.0, 2]), st.booleans(), st.booleans()), max_size=12))
def test_any_sequence_arrives_as_it_was(steps):
    edge = Edge()
    for seq, (size, rows, gain, is_lent, is_other) in enumerate(steps):
        pixels = lent(edge, seq, (size,)) if is_lent else np.full(size, seq, np.uint8)
        message = Other(pixels) if is_other else Shot(pixels, gain, rows=np.arange(rows))
        edge.offer(seq, message)
        edge.inlet.drain()
        assert same(edge.mailbox.take().message, message)
        del pixels, message
    edge.close()
    assert SLOT > BIG
