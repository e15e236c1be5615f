"""Slots of shared memory for the arrays of one output: written once by the producer, read in place by any number.

The memory is a file without a name. It is handed on as a descriptor, and the kernel frees it with its last user: there
is nothing to unlink, nothing to sweep, and no daemon that tracks it.
"""

from __future__ import annotations

import math
import os
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from graph.transport import pages

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
Transport = Literal["slots", "iceoryx2"]
"""Where the arrays of an output lie: here, or in samples of iceoryx2, see `iceoryx`."""

ALIGNMENT = 64  # a cache line, and what vector instructions want

_BYTE = np.dtype(np.uint8)


class RingSpec(NamedTuple):
    """How much memory the arrays of one output need."""

    slots: int
    """As many as can be in use at once: being written, on the way, waiting, and being read."""
    slot_bytes: int
    touched: int
    """Slots whose pages exist from the start; the others cost memory and time only once they are needed."""
    transport: Transport = "slots"
    readers: int = 0
    """Edges that leave with this output."""

    @property
    def size(self) -> int:
        """All bytes."""
        return self.slots * self.slot_bytes

    @property
    def touched_bytes(self) -> int:
        """The first bytes, whose pages exist from the start."""
        return min(self.touched, self.slots) * self.slot_bytes


class Ref(NamedTuple):
    """Where one array lies."""

    slot: int
    offset: int
    """From the start of the memory, in bytes."""
    size: int


def dtype_of(name: Any) -> np.dtype[Any]:
    """What numpy.dtype says, at once for the one that most arrays have."""
    return _BYTE if name == "uint8" else np.dtype(name)


class Lease(weakref.ref[Array]):
    """Knows where an array lies."""

    __slots__ = ("key", "place", "slot")
    key: int
    place: tuple[int, int]
    """Of an array that may be sent on: slot, and offset from the start of the memory, in bytes."""
    slot: int


class Leases(dict[int, Lease]):
    """Arrays in slots, by their identity, each until no array is left that is a view of it.

    `on_end` is told the slot then, in any thread, by a destructor: it must neither wait nor raise.
    """

    def __init__(self, on_end: Callable[[int], None]) -> None:
        super().__init__()
        self.on_end = on_end

    def add(self, array: Array, slot: int) -> Lease:
        """Watch an array whose memory is no array's, so that it is the base of all its views."""
        lease = Lease(array, self._ended)
        lease.slot = slot
        lease.key = key = id(array)
        self[key] = lease
        return lease

    def _ended(self, lease: Lease) -> None:
        del self[lease.key]  # at once: the next array may have the same identity
        self.on_end(lease.slot)


class _Kept(np.ndarray[Any, Any]):
    """An array that stays, so that views of it can be given out: plain arrays, each of them the base of its own views.

    To make such a view takes a third of what an array of the same memory takes. numpy hands on as a base what has the
    class of the view, so that a view of a plain array would not count as one of those that were given out.
    """


class Places(dict[tuple[int, tuple[int, ...], np.dtype[Any]], _Kept]):
    """The memory of a ring as arrays, by offset, shape and dtype."""

    MOST = 1024

    def __init__(self, memory: memoryview) -> None:
        super().__init__()
        self._memory = memory

    def __missing__(self, key: tuple[int, tuple[int, ...], np.dtype[Any]]) -> _Kept:
        offset, shape, dtype = key
        if len(self) >= self.MOST:  # arrays of ever new shapes
            self.clear()
        return self.setdefault(key, _Kept(shape, dtype, self._memory, offset))


def create(spec: RingSpec) -> int:
    """A descriptor of new memory for a ring; whoever calls closes it."""
    fd = os.memfd_create("cauce-ring")
    os.ftruncate(fd, pages.file_bytes(spec.size))
    return fd


class RingWriter:
    """The producer's side. It alone knows which slots are in use, so nothing is shared but the pixels."""

    awaits_readers = False

    def __init__(self, fd: int, spec: RingSpec) -> None:
        self.spec, self._slot_bytes = spec, spec.slot_bytes
        self._memory = pages.mapped(fd, spec.size, spec.touched_bytes, writes=True)
        self._bytes: Bytes = np.frombuffer(self._memory, np.uint8)
        self._places = Places(self._memory)
        self._address = self._bytes.__array_interface__["data"][0]
        self._uses = [0] * spec.slots
        self._free = list(reversed(range(spec.slots)))  # the one used last comes first: its pages are there, and warm
        self._begun = min(spec.touched, spec.slots)
        """How many slots have pages: those from the start, and those that were ever used."""
        self._returned: deque[int] = deque()
        self.loans = Leases(self._returned.append)
        """See `Writer.loans`."""
        self._lock = Lock()

    def acquire(self) -> int | None:
        """A slot with one use, or None when all are in use."""
        with self._lock:
            self._collect()
            if not self._free:
                return None
            slot = self._free.pop()
            self._uses[slot] = 1
            self._begun = max(self._begun, slot + 1)
            return slot

    @property
    def has_free(self) -> bool:
        """Whether `acquire` would give a slot."""
        with self._lock:
            self._collect()
            return bool(self._free)

    @property
    def is_scarce(self) -> bool:
        """See `Writer.is_scarce`."""
        with self._lock:
            self._collect()
            return len(self._free) <= self.spec.slots - self._begun

    def use(self, slot: int) -> None:
        """Count one more user of a slot."""
        with self._lock:
            self._uses[slot] += 1

    def release(self, slot: int) -> None:
        """Count one user less; the last one frees the slot."""
        with self._lock:
            self._end_use(slot)

    def _end_use(self, slot: int) -> None:
        uses = self._uses[slot] = self._uses[slot] - 1
        if not uses:
            self._free.append(slot)

    def publish(self, slots: Sequence[int]) -> Sequence[int]:
        """Nothing to do: readers look at the memory itself, where a datagram says."""
        return ()

    def loan(self, shape: tuple[int, ...], dtype: Any = "uint8") -> Array | None:
        """A writable array in a slot, which is in use as long as it or a view of it lives; None: none is free."""
        kind = dtype_of(dtype)
        size = math.prod(shape) * kind.itemsize
        if size > self._slot_bytes or (slot := self.acquire()) is None:
            return None
        offset = slot * self._slot_bytes
        array: Array = self._places[offset, shape, kind].view(np.ndarray)
        self.loans.add(array, slot).place = slot, offset
        return array

    def find(self, array: Array) -> Ref | None:
        """See `Writer.find`."""
        base = array.base
        if base is None:  # it has memory of its own
            return None
        lease = self.loans.get(id(base))
        if lease is not None and base.nbytes == array.nbytes:  # all of what was lent, in another shape
            return Ref(*lease.place, array.nbytes)
        # Asking an array for its address takes longer than all the rest of a message.
        offset = array.__array_interface__["data"][0] - self._address
        if not 0 <= offset < self.spec.size:
            return None
        return Ref(offset // self.spec.slot_bytes, offset, array.nbytes)

    def view(self, ref: Ref) -> Bytes:
        """The bytes at `ref`, writable, for as long as its slot is in use."""
        return self._bytes[ref.offset : ref.offset + ref.size]

    def _collect(self) -> None:
        """Free the slots of loans that have ended: a destructor may run anywhere, so it only leaves a note."""
        while self._returned:
            self._end_use(self._returned.popleft())


class RingReader:
    """A consumer's side: read-only views of what the producer wrote."""

    def __init__(self, fd: int, spec: RingSpec) -> None:
        self.spec = spec
        self._places = Places(pages.mapped(fd, spec.size, spec.touched_bytes, writes=False))
        self._leases = Leases(lambda _: None)

    def on_end(self, told: Callable[[int], None]) -> None:
        """Have `told` called with its slot, once for each array, when no view of it is left."""
        self._leases.on_end = told

    def lease(self, slot: int, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """The array at an offset."""
        array: Array = self._places[offset, shape, dtype].view(np.ndarray)
        self._leases.add(array, slot)
        return array

    def skip(self, slot: int) -> None:
        """Nothing to do: what is not leased stays where it is."""

    def settle(self) -> bool:
        """Nothing to do, as nothing is passed over, and nothing is ever gone."""
        return True

    def close(self) -> None:
        """Nothing to do: the memory goes with the reader and the last array on it."""
