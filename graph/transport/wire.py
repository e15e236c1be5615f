"""A message as bytes: small fields travel in the datagram, arrays stay where they are and only their place is told.

Fields are pickled, but no array is: pickle hands out their buffers (protocol 5), which go into slots or, when small,
behind the fields. Arrays of objects or of dates have no buffer and go with the fields. Only processes that one run has
started exchange these bytes, over sockets without an address.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import struct
from collections.abc import Callable, Iterator, Sequence
from time import monotonic_ns
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from graph.node import Stamp
from graph.transport import flat
from graph.transport.memory import Writer
from graph.transport.ring import ALIGNMENT, Bytes, Ref

MESSAGE, END, FLAT, SKIP = 1, 2, 3, 4
SLOT, DONE, TAKEN = 1, 2, 3
SMALL = 4096  # bytes; a smaller array is cheaper to copy into the datagram than to account for
DATAGRAM = 120_000  # bytes; about half of what Linux lets a socket hold
MOST_ARRAYS = 1000  # of one message; so their table fits into a datagram too

_PREFIX = struct.Struct("<BBI")  # kind, whether it has a ticket, number
_HEAD = struct.Struct("<HBI")  # buffers, whether the first holds the fields, bytes of the fields behind the table
_REF = struct.Struct("<IQQ")  # slot, offset, size
_INLINE = 0xFFFF_FFFF  # in place of a slot: the bytes follow the fields
_NOTE = struct.Struct("<BI")


class Unsendable(ValueError):
    """A message that cannot go to another process."""


class TooBig(Unsendable):
    """A message does not fit into the slots that were planned for it."""


class NoSlot(Exception):
    """All slots are in use."""


class Encoded(NamedTuple):
    """A message that is ready to be sent, to any number of processes."""

    kind: int
    body: bytes
    slots: Sequence[int]
    """Slots that its readers use, one entry for each time that a reader will give it back."""
    held: Sequence[int]
    """Slots that were acquired for it; released by the sender once all readers are counted."""

    def datagram(self, number: int, *, has_ticket: bool) -> bytes:
        """The bytes of the message as the `number`th of its edge."""
        return _PREFIX.pack(self.kind, has_ticket, number) + self.body


def end() -> bytes:
    """The datagram that says: nothing more will come."""
    return _PREFIX.pack(END, False, 0)


def skip(slots: Sequence[int]) -> bytes:
    """The datagram that says: these slots hold what this edge does not want."""
    return _PREFIX.pack(SKIP, False, 0) + struct.pack(f"<{len(slots)}I", *slots)


def prefix(data: memoryview) -> tuple[int, bool, int]:
    """Kind, whether it has a ticket, and number of a datagram."""
    kind, has_ticket, number = _PREFIX.unpack_from(data)
    return kind, bool(has_ticket), number


def skipped(data: memoryview) -> Sequence[int]:
    """The slots of a datagram of the kind SKIP."""
    return struct.unpack(f"<{(len(data) - _PREFIX.size) // 4}I", data[_PREFIX.size :])


def encode(ring: Writer, stamp: Stamp, message: Any, sent_ns: int) -> Encoded:
    """Put the arrays of `message` into slots, unless they lie there already, and the rest into bytes.

    Raises:
        NoSlot: All slots are in use.
        TooBig: An array needs more than a slot, or there are too many arrays.
    """
    packer = _Packer(ring)
    try:
        body = flat.dumps(stamp, sent_ns, message, packer.placed)
        return Encoded(FLAT, body, packer.slots, packer.held)
    except ValueError:
        for slot in packer.held:
            ring.release(slot)
    except BaseException:
        for slot in packer.held:
            ring.release(slot)
        raise
    packer = _Packer(ring)
    try:
        return packer.pack((tuple(stamp), sent_ns, message))
    except BaseException:
        for slot in packer.held:
            ring.release(slot)
        raise


def absence(stamp: Stamp) -> Encoded:
    """The message that there is none for a capture."""
    return Encoded(FLAT, flat.dumps(stamp, monotonic_ns(), None, None), (), ())


class _Packer:
    """Finds places for the arrays of one message."""

    def __init__(self, ring: Writer) -> None:
        self.ring = ring
        self.held: list[int] = []
        self.slots: list[int] = []
        self.at = 0
        """Where the slot acquired last is free from."""

    def pack(self, value: object) -> Encoded:
        buffers: list[pickle.PickleBuffer] = []
        file = io.BytesIO()
        pickler = pickle.Pickler(file, 5, buffer_callback=buffers.append)
        pickler.dispatch_table = {**copyreg.dispatch_table, np.ndarray: self.reduced}
        pickler.dump(value)
        fields = file.getvalue()
        refs: list[Ref] = []
        small: list[bytes] = []
        far = len(fields) > DATAGRAM // 2
        if far:
            refs.append(self.copied(np.frombuffer(fields, np.uint8)))
            fields = b""
        room = DATAGRAM // 4
        for buffer in buffers:
            raw = buffer.raw()
            if raw.nbytes <= SMALL and raw.nbytes <= room:
                room -= raw.nbytes
                small.append(raw.tobytes())
                refs.append(Ref(_INLINE, 0, raw.nbytes))
            else:
                array = np.frombuffer(raw, np.uint8)
                refs.append(self.ring.find(array) or self.copied(array))
        if len(refs) > MOST_ARRAYS:
            raise TooBig(
                f"it has {len(refs)} arrays, and at most {MOST_ARRAYS} can be told of; put them into one array"
            )
        table = b"".join([_REF.pack(*ref) for ref in refs])
        body = b"".join((_HEAD.pack(len(refs), far, len(fields)), table, fields, *small))
        return Encoded(MESSAGE, body, list({ref.slot for ref in refs if ref.slot != _INLINE}), self.held)

    def reduced(self, array: npt.NDArray[Any]) -> Any:
        """How an array is pickled: by its buffer. One with gaps is first copied, a large one into a slot."""
        if not array.flags.forc and not array.dtype.hasobject:
            if array.nbytes > SMALL:
                dense = self.ring.view(self.place(array.nbytes)).view(array.dtype).reshape(array.shape)
                np.copyto(dense, array)
                array = dense
            else:
                array = array.copy()
        return array.__reduce_ex__(5)

    def placed(self, array: npt.NDArray[Any]) -> Ref:
        """Where an array lies, or was copied to."""
        ref = self.ring.find(array) or self.copied(np.frombuffer(array, np.uint8))
        self.slots.append(ref.slot)
        return ref

    def copied(self, array: Bytes) -> Ref:
        ref = self.place(array.nbytes)
        self.ring.view(ref)[:] = array
        return ref

    def place(self, size: int) -> Ref:
        """Room for `size` bytes, in the slot acquired last or in a new one."""
        slot_bytes = self.ring.spec.slot_bytes
        if not self.held or self.at + size > slot_bytes:
            if size > slot_bytes:
                raise TooBig(f"{size} bytes do not fit into a slot of {slot_bytes} bytes")
            slot = self.ring.acquire()
            if slot is None:
                raise NoSlot
            self.held.append(slot)
            self.at = 0
        ref = Ref(self.held[-1], self.held[-1] * slot_bytes + self.at, size)
        self.at += -(-size // ALIGNMENT) * ALIGNMENT
        return ref


class Received(NamedTuple):
    """What a datagram says."""

    kind: int
    number: int
    has_ticket: bool
    stamp: Stamp | None = None
    message: Any = None
    sent_ns: int = 0


def decode(data: memoryview, lease: Callable[[Ref], Bytes]) -> Received:
    """The message in `data`, with arrays that are read-only views of the slots, by `lease`. `data` may be reused."""
    kind, has_ticket, number = _PREFIX.unpack_from(data)
    if kind == END:
        return Received(END, number, has_ticket=False)
    if kind == FLAT:
        stamp, sent_ns, message = flat.loads(data[_PREFIX.size :], lease)
        return Received(MESSAGE, number, bool(has_ticket), stamp, message, sent_ns)
    count, far, length = _HEAD.unpack_from(data, _PREFIX.size)
    at = _PREFIX.size + _HEAD.size
    table = [Ref(*_REF.unpack_from(data, at + i * _REF.size)) for i in range(count)]
    at += count * _REF.size
    fields: Any = data[at : at + length]
    at += length
    leased = {span.slot: (span.offset, lease(span).data) for span in _spans(table)}
    buffers: list[Any] = []
    for slot, offset, size in table:
        if slot == _INLINE:
            buffers.append(bytes(data[at : at + size]))
            at += size
        else:
            start, view = leased[slot]
            buffers.append(view[offset - start : offset - start + size])
    if far:
        fields = buffers.pop(0)
    stamp, sent_ns, message = pickle.loads(fields, buffers=buffers)
    return Received(MESSAGE, number, has_ticket=bool(has_ticket), stamp=Stamp(*stamp), message=message, sent_ns=sent_ns)


def _spans(table: Sequence[Ref]) -> Iterator[Ref]:
    """What the arrays take of each slot; one lease for all of them, so that a slot is given back by one note."""
    for slot in {ref.slot for ref in table} - {_INLINE}:
        start = min(ref.offset for ref in table if ref.slot == slot)
        yield Ref(slot, start, max(ref.offset + ref.size for ref in table if ref.slot == slot) - start)


def note(kind: int, value: int) -> bytes:
    """What a consumer tells its producer: SLOT (no longer read), DONE (its capture has ended) or TAKEN (how many)."""
    return _NOTE.pack(kind, value & 0xFFFF_FFFF)


def notes(data: bytes) -> Iterator[tuple[int, int]]:
    """The notes in a datagram."""
    return _NOTE.iter_unpack(data)
