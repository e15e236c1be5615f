"""A message as bytes: small fields travel in the datagram, arrays stay where they are and only their place is told.

A datagram is one tuple of plain values, written by `marshal`, or some whole numbers where the reader knows the rest
(`form`). Where a message is more than plain values it is pickled, but no array is: pickle hands out their buffers
(protocol 5), which go into slots or, when small, behind the fields. Arrays of objects or of dates have no buffer and go
with the fields. Only processes that one run has started exchange these bytes, through memory and sockets without an
address.
"""

from __future__ import annotations

import marshal
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic_ns
from typing import Any, NamedTuple

import numpy as np

from graph.node import Stamp
from graph.transport import flat
from graph.transport.flat import Lease
from graph.transport.form import Form
from graph.transport.ring import Ref

FLAT, FORM, PICKLED, SKIP, END = 1, 2, 3, 4, 5
LOOK, DONE = 1, 2
DATAGRAM = 120_000  # bytes; less than a queue takes
VERSION = 2  # of marshal: later ones look for values that are repeated, which takes longer than to write them
_NOTHING = (None,) * 7
INLINE = 0xFFFF_FFFF  # in place of a slot: the bytes follow the fields
_NOTE = struct.Struct("<BI")
_BYTES = np.dtype(np.uint8)


class Unsendable(ValueError):
    """A message that cannot go to another process."""


class TooBig(Unsendable):
    """A message does not fit into the slots that were planned for it."""


class NoSlot(Exception):
    """All slots are in use."""


class Encoded(NamedTuple):
    """A message that is ready to be sent, to any number of processes."""

    datagram: bytes
    slots: Sequence[int] = ()
    """Slots that its readers use, one entry for each time that a reader will give it back."""
    held: Sequence[int] = ()
    """Slots that were acquired for it; released by the sender once all readers are counted."""
    kept: Sequence[object] = ()
    """What it lends, which must be there as long as any of its slots is read."""
    form: Form | None = None
    """Of which it is, where it is of one."""
    is_whole: bool = True
    """Whether it can be read by one who does not know the form, and tells of it."""


def end() -> bytes:
    """The datagram that says: nothing more will come."""
    return marshal.dumps((END, *_NOTHING), VERSION)


def skip(slots: Sequence[int]) -> bytes:
    """The datagram that says: these slots hold what this edge does not want."""
    return marshal.dumps((SKIP, tuple(slots), *_NOTHING[1:]), VERSION)


def absence(stamp: Stamp) -> Encoded:
    """The message that there is none for a capture."""
    return Encoded(marshal.dumps((FLAT, False, *stamp, monotonic_ns(), None), VERSION))


opened: Callable[[memoryview], tuple[Any, ...]] = marshal.loads
"""What a datagram says: its kind, and then for each kind, filled up to eight,

FLAT, FORM, PICKLED: whether it has a ticket, the stamp, when it was sent, and the message, None where there is none,
for `decoded`, and for FORM the number of the form before it; SKIP: the slots; END: nothing.
Where the first of its words is negative it is not for this, but for `form`.
"""


def unpickled(parts: tuple[Any, ...], lease: Lease) -> Any:
    """The message that `Packer.pickled` took apart."""
    fields, table, small = parts
    refs = [Ref(*ref) for ref in table]
    leased = {s.slot: (s.offset, lease(s.slot, s.offset, (s.size,), _BYTES).data) for s in _spans(refs)}
    inline = iter(small)
    buffers: list[Any] = []
    for slot, offset, size in refs:
        if slot == INLINE:
            buffers.append(next(inline))
        else:
            start, view = leased[slot]
            buffers.append(view[offset - start : offset - start + size])
    return pickle.loads(buffers.pop(0) if fields is None else fields, buffers=buffers)


def _spans(table: Sequence[Ref]) -> Iterator[Ref]:
    """What the arrays take of each slot; one lease for all of them, so that a slot is given back by one note."""
    for slot in {ref.slot for ref in table} - {INLINE}:
        start = min(ref.offset for ref in table if ref.slot == slot)
        yield Ref(slot, start, max(ref.offset + ref.size for ref in table if ref.slot == slot) - start)


decoded: Mapping[int, Callable[[Any, Lease], Any]] = {
    FLAT: flat.put_together,
    FORM: lambda what, lease: flat.put_together(what[1], lease),
    PICKLED: unpickled,
}
"""The message of an opened datagram, by its kind, with arrays that are read-only, by `lease`."""


def note(kind: int, value: int) -> bytes:
    """What a consumer tells its producer: LOOK (it reads; the queue has changed) or DONE (which message)."""
    return _NOTE.pack(kind, value & 0xFFFF_FFFF)


def notes(data: bytes) -> Iterator[tuple[int, int]]:
    """The notes in a datagram."""
    return _NOTE.iter_unpack(data)
