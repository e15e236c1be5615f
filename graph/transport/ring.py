"""Slots of shared memory for the arrays of one output: written once by the producer, read in place by any number.

The memory is a file without a name. It is handed on as a descriptor, and the kernel frees it with its last user: there
is nothing to unlink, nothing to sweep, and no daemon that tracks it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from graph.transport import pages
from graph.transport.views import Array, Views

Bytes = npt.NDArray[np.uint8]
Transport = Literal["slots", "iceoryx2"]
"""Where the arrays of an output lie: here, or in samples of iceoryx2, see `iceoryx`."""

ALIGNMENT = 64  # a cache line, and what vector instructions want

BYTE = np.dtype(np.uint8)


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
        self._address = self._bytes.__array_interface__["data"][0]
        self._uses = [0] * spec.slots
        self._free = list(reversed(range(spec.slots)))  # the one used last comes first: its pages are there, and warm
        self._begun = min(spec.touched, spec.slots)
        """How many slots have pages: those from the start, and those that were ever used."""
        self._returned: deque[int] = deque()
        self.loans: dict[int, tuple[int, int]] = {}
        """See `Writer.loans`."""
        self._lent = [0] * spec.slots
        """The identity of the array in each slot that is lent."""
        self._views = Views(self._memory, self._loan_ended)
        self._lock = Lock()

    def acquire(self, *, is_frugal: bool = False) -> int | None:
        """See `Writer.acquire`."""
        with self._lock:
            if self._returned:
                self._collect()
            free = self._free
            if len(free) <= (self.spec.slots - self._begun if is_frugal else 0):
                return None
            slot = free.pop()
            self._uses[slot] = 1
            if slot >= self._begun:
                self._begun = slot + 1
            return slot

    @property
    def has_free(self) -> bool:
        """Whether `acquire` would give a slot."""
        if self._free:
            return True
        with self._lock:
            self._collect()
            return bool(self._free)

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

    def loan(self, shape: tuple[int, ...], dtype: np.dtype[Any] = BYTE, *, is_frugal: bool = False) -> Array | None:
        """See `Writer.loan`."""
        slot = self.acquire(is_frugal=is_frugal)
        if slot is None:
            return None
        offset = slot * self._slot_bytes
        array = self._views.take(slot, offset, shape, dtype)
        self._lent[slot] = key = id(array)
        self.loans[key] = slot, offset
        return array

    def find(self, array: Array) -> Ref | None:
        """See `Writer.find`."""
        base = array.base
        if base is None:  # it has memory of its own
            return None
        place = self.loans.get(id(base))
        if place is not None and base.nbytes == array.nbytes:  # all of what was lent, in another shape
            return Ref(*place, array.nbytes)
        # Asking an array for its address takes longer than all the rest of a message.
        offset = array.__array_interface__["data"][0] - self._address
        if not 0 <= offset < self.spec.size:
            return None
        return Ref(offset // self.spec.slot_bytes, offset, array.nbytes)

    def view(self, ref: Ref) -> Bytes:
        """The bytes at `ref`, writable, for as long as its slot is in use."""
        return self._bytes[ref.offset : ref.offset + ref.size]

    def _loan_ended(self, slot: int) -> None:
        del self.loans[self._lent[slot]]  # at once: the next array may have the same identity
        self._returned.append(slot)

    def _collect(self) -> None:
        """Free the slots of loans that have ended: a destructor may run anywhere, so it only leaves a note."""
        while self._returned:
            self._end_use(self._returned.popleft())


class RingReader:
    """A consumer's side: read-only views of what the producer wrote."""

    settle = None  # nothing is passed over, and nothing is ever gone

    def __init__(self, fd: int, spec: RingSpec) -> None:
        self.spec = spec
        memory = pages.mapped(fd, spec.size, spec.touched_bytes, writes=False)
        self._views = Views(memory, lambda _: None)
        self.lease = self._views.take

    def on_end(self, told: Callable[[int], None]) -> None:
        """Have `told` called with its slot, once for each array, when no view of it is left."""
        self._views.on_end = told

    def skip(self, slot: int) -> None:
        """Nothing to do: what is not leased stays where it is."""

    def close(self) -> None:
        """Read no more: the memory goes with the last array on it."""
        self._views.close()
