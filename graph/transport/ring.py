"""Slots of shared memory for the arrays of one output: written once by the producer, read in place by any number.

The memory is a file without a name. It is handed on as a descriptor, and the kernel frees it with its last user: there
is nothing to unlink, nothing to sweep, and no daemon that tracks it.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Transport = Literal["slots", "iceoryx2"]
"""Where the arrays of an output lie: here, or in samples of iceoryx2, see `iceoryx`."""

ALIGNMENT = 64  # a cache line, and what vector instructions want
MADV_POPULATE_READ, MADV_POPULATE_WRITE = 22, 23  # Linux 5.14; not named by the module mmap


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


class Ref(NamedTuple):
    """Where one array lies."""

    slot: int
    offset: int
    """From the start of the memory, in bytes."""
    size: int


def create(spec: RingSpec) -> int:
    """A descriptor of new memory for a ring; whoever calls closes it."""
    fd = os.memfd_create("cauce-ring")
    os.ftruncate(fd, max(spec.size, mmap.PAGESIZE))
    return fd


class RingWriter:
    """The producer's side. It alone knows which slots are in use, so nothing is shared but the pixels."""

    awaits_readers = False

    def __init__(self, fd: int, spec: RingSpec) -> None:
        self.spec = spec
        self._memory = mmap.mmap(fd, max(spec.size, mmap.PAGESIZE))
        self._bytes: Bytes = np.frombuffer(self._memory, np.uint8)
        self._address = self._bytes.__array_interface__["data"][0]
        _touch(self._memory, spec, MADV_POPULATE_WRITE)
        self._uses = [0] * spec.slots
        self._free = list(reversed(range(spec.slots)))  # the one used last comes first: its pages are there, and warm
        self._returned: deque[int] = deque()
        self._loans: dict[int, Any] = {}
        self._lock = Lock()

    def acquire(self) -> int | None:
        """A slot with one use, or None when all are in use."""
        self._collect()
        with self._lock:
            if not self._free:
                return None
            slot = self._free.pop()
            self._uses[slot] = 1
            return slot

    @property
    def has_free(self) -> bool:
        """Whether `acquire` would give a slot."""
        self._collect()
        return bool(self._free)

    def use(self, slot: int) -> None:
        """Count one more user of a slot."""
        with self._lock:
            self._uses[slot] += 1

    def release(self, slot: int) -> None:
        """Count one user less; the last one frees the slot."""
        with self._lock:
            self._uses[slot] -= 1
            if not self._uses[slot]:
                self._free.append(slot)

    def publish(self, slots: Sequence[int]) -> Sequence[int]:
        """Nothing to do: readers look at the memory itself, where a datagram says."""
        return ()

    def loan(self, size: int) -> Bytes | None:
        """`size` writable bytes of a slot, which is in use as long as an array on them lives; None: none is free."""
        if size > self.spec.slot_bytes or (slot := self.acquire()) is None:
            return None
        owner: Bytes = np.frombuffer(self._memory, np.uint8, size, slot * self.spec.slot_bytes)
        self._loans[slot] = weakref.ref(owner, _returning(self._returned, slot))
        return np.frombuffer(owner, np.uint8)  # a buffer of its own: views of a view would forget the owner

    def find(self, array: Bytes) -> Ref | None:
        """Where `array`, contiguous bytes, lies in the ring; None: elsewhere."""
        offset = array.__array_interface__["data"][0] - self._address
        if not 0 <= offset < self.spec.size:
            return None
        return Ref(offset // self.spec.slot_bytes, offset, array.nbytes)

    def view(self, ref: Ref) -> Bytes:
        """The bytes at `ref`, writable, for as long as its slot is in use."""
        return self._bytes[ref.offset : ref.offset + ref.size]

    def _collect(self) -> None:
        """Free the slots of loans that have ended. A destructor may run anywhere, so it only leaves a note."""
        while self._returned:
            self.release(self._returned.popleft())


def _returning(returned: deque[int], slot: int) -> Callable[[Any], None]:
    return lambda _: returned.append(slot)


class RingReader:
    """A consumer's side: read-only views of what the producer wrote."""

    def __init__(self, fd: int, spec: RingSpec) -> None:
        self.spec = spec
        self._memory = mmap.mmap(fd, max(spec.size, mmap.PAGESIZE), prot=mmap.PROT_READ)
        self._bytes: Bytes = np.frombuffer(self._memory, np.uint8)
        _touch(self._memory, spec, MADV_POPULATE_READ)
        self._leases: dict[int, Any] = {}
        self._count = 0

    def lease(self, ref: Ref, on_end: Callable[[], None]) -> Bytes:
        """The bytes at `ref`; `on_end` is called once, in any thread, when no array on them is left."""
        array = np.frombuffer(self._memory, np.uint8, ref.size, ref.offset)
        key = self._count = self._count + 1
        leases = self._leases

        def ended(_: Any) -> None:
            del leases[key]
            on_end()

        leases[key] = weakref.ref(array, ended)
        return array

    def skip(self, slot: int) -> None:
        """Nothing to do: what is not leased stays where it is."""

    def settle(self) -> None:
        """Nothing to do, as nothing is passed over."""

    def close(self) -> None:
        """Nothing to do: the memory goes with the reader and the last array on it."""


def _touch(memory: mmap.mmap, spec: RingSpec, advice: int) -> None:
    """Have the pages of the first slots mapped now; the first frame would wait for it."""
    size = min(spec.touched, spec.slots) * spec.slot_bytes
    if size:
        try:
            memory.madvise(advice, 0, size)
        except OSError:  # a kernel from before 2021: the first frames take longer
            pass
