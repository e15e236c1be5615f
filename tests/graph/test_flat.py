"""Messages on their way between processes: nearly all go without pickle, and all arrive as they were."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import pytest

from graph.node import Stamp
from graph.transport import packer, wire
from graph.transport.ring import RingReader, RingSpec, RingWriter
from nodes.messages import DepthMap, Detections, Frame, Hazard, Hazards, Utterance
from nodes.ops.camera import Pinhole

STAMP = Stamp("camera.left", 7, 123_456_789_012, -5)
SPEC = RingSpec(3, 1 << 18, 1)


class Level(IntEnum):
    LOW = 1


class Pair(NamedTuple):
    a: int
    b: str


@dataclass(frozen=True, slots=True)
class Anything:
    x: Any


@dataclass(frozen=True, slots=True)
class Child(Anything):
    y: np.ndarray


@dataclass(frozen=True, slots=True)
class Late:
    y: np.ndarray
    x: Any


@dataclass(frozen=True)
class Open:
    """Without slots: more may hang on it than its fields."""

    x: Any


@dataclass(frozen=True, slots=True)
class Own:
    """Decides itself what is pickled."""

    x: int
    secret: int = field(default=0, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return Own, (self.x,)


@pytest.fixture
def ends():
    fd = os.memfd_create("test")
    os.ftruncate(fd, SPEC.size)
    yield RingWriter(fd, SPEC), RingReader(fd, SPEC)
    os.close(fd)


def sent(ends: tuple[RingWriter, RingReader], message: Any) -> tuple[Any, int, list[int]]:
    """The message as it arrives, the kind of its datagram, and the slots that its arrays were in."""
    ring, reader = ends
    encoded = packer.Packer(ring).whole(STAMP, message, 99, has_ticket=True)
    fields = wire.opened(memoryview(encoded.datagram))
    kind, has_ticket, *stamp, sent_ns, parts = fields
    got = wire.decoded[kind](parts, reader.lease)
    assert (has_ticket, tuple(stamp), sent_ns) == (True, STAMP, 99)
    for slot in encoded.held:
        ring.release(slot)
    return got, kind, list(encoded.slots)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b) and not b.flags.writeable
    if type(a) is tuple:
        return type(b) is tuple and len(a) == len(b) and all(map(same, a, b))
    if is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return type(a) is type(b) and a == b


def large(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


FLAT: dict[str, Callable[[], Any]] = {
    "words": lambda: Utterance("A step, two metres."),
    "no objects": lambda: Detections(np.zeros((0, 4), "f4"), np.zeros(0, "f4"), np.zeros(0, "i4"), ("a",), (9, 9)),
    "small arrays": lambda: Detections(
        np.ones((2, 4), "f4"), np.ones(2, "f4"), np.array([0, 1], "i4"), ("a", "b"), (9, 9)
    ),
    "a frame": lambda: Frame(large(100, 90, 3)),
    "a dataclass in it": lambda: Frame(large(100, 90, 3), False, Pinhole((90, 100), 80.0, 80.0, 44.5, 49.5)),
    "floats": lambda: DepthMap(np.linspace(0, 1, 12_000, dtype="f4").reshape(100, 120), "relative", (9, 9)),
    "an inherited field": lambda: Child((1, "x", None), large(70, 70)),
    "two large arrays": lambda: Child(large(80, 80), large(70, 70)),
    "big-endian": lambda: Anything(np.arange(4, dtype=">i4")),
    "a part without gaps": lambda: Anything(large(100, 80)[20:]),
}
PICKLED: dict[str, Callable[[], Any]] = {
    "dataclasses in a tuple": lambda: Hazards((Hazard("step", -5.0, (0.0, 1.0, 2.0, 3.0), 0.5),)),
    "no slots": lambda: Open(3),
    "its own pickling": lambda: Own(3, secret=4),
    "no dataclass": lambda: Pair(1, "x"),
    "an enum": lambda: Anything(Level.LOW),
    "a number of numpy's": lambda: Anything(np.float32(0.5)),
    "arrays in a tuple": lambda: Anything((np.arange(3), np.arange(2000))),
    "a number of numpy's in a tuple": lambda: Anything((1, (np.float64(2.5), "x"))),
    "bytes that may change, in a tuple": lambda: Anything((bytearray(b"abc"),)),
    "gaps": lambda: Anything(large(100, 200)[:, ::2]),
    "columns first": lambda: Anything(np.asfortranarray(large(100, 80))),
    "a record": lambda: Anything(np.zeros(3, [("a", "i4"), ("b", "f8")])),
    "a long text": lambda: Anything("x" * 200_000),
}


@pytest.mark.parametrize("name", FLAT)
def test_what_is_flat_goes_without_pickle_and_arrives_as_it_was(ends, name):
    message = FLAT[name]()
    got, kind, _ = sent(ends, message)
    assert kind in (wire.FLAT, wire.FORM)
    assert same(message, got)


@pytest.mark.parametrize("name", PICKLED)
def test_what_is_not_flat_is_pickled_and_arrives_as_it_was(ends, name):
    message = PICKLED[name]()
    got, kind, _ = sent(ends, message)
    assert kind == wire.PICKLED
    if name == "its own pickling":
        assert (got.x, got.secret) == (3, 0)
    elif name == "no slots" or name == "dataclasses in a tuple":
        assert got == message
    else:
        assert same(message, got)


def test_a_loan_is_not_copied(ends):
    ring, _ = ends
    loan = ring.loan((9000,))
    loan[:] = 7
    slot = ring.find(loan).slot
    got, _, slots = sent(ends, Anything(loan))
    assert slots == [slot]
    loan[0] = 9
    assert got.x[0] == 9


def test_what_was_begun_flat_and_is_then_pickled_leaves_no_slot_behind(ends):
    ring, _ = ends
    for _ in range(2 * SPEC.slots):  # the large array is placed before the tuple turns out not to be flat
        got, kind, _ = sent(ends, Late(large(100, 100), (Level.LOW,)))
        assert kind == wire.PICKLED
        assert type(got.x[0]) is Level
    assert [ring.acquire() for _ in range(SPEC.slots)].count(None) == 0


def test_an_array_larger_than_a_slot_is_refused(ends):
    with pytest.raises(wire.TooBig, match="300000 bytes do not fit into a slot of 262144"):
        packer.Packer(ends[0]).whole(STAMP, Anything(np.zeros(300_000, np.uint8)), 0, has_ticket=False)


def test_when_all_slots_are_in_use_it_says_so(ends):
    held = [ends[0].acquire() for _ in range(SPEC.slots)]
    assert None not in held
    with pytest.raises(wire.NoSlot):
        packer.Packer(ends[0]).whole(STAMP, Anything(large(100, 100)), 0, has_ticket=False)
