"""A writer and a reader of samples of iceoryx2, see `iceoryx`."""

from __future__ import annotations

import ctypes
import math
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np

from graph.transport.iceoryx import PAGE, Gone, Service, buffer, number_of
from graph.transport.pages import MADV_POPULATE_WRITE
from graph.transport.ring import ALIGNMENT, BYTE, Bytes, Ref, RingSpec
from graph.transport.views import Array

NUMBERS = 0xFFFF_FFFF  # a datagram has 32 bits for a slot, and the last value means something else


class _Filling:
    """One use of a slot, from `acquire` until nobody reads it any more."""

    __slots__ = ("bytes", "sample", "start", "uses")

    def __init__(self, sample: Any, number: int, size: int) -> None:
        ctypes.c_uint64.from_address(sample.user_header_ptr).value = number
        skip = -sample.payload_ptr % ALIGNMENT
        self.sample = sample
        self.start: int = sample.payload_ptr + skip
        self.bytes: Bytes = np.frombuffer(buffer(self.start, size, None), np.uint8)
        self.uses = 1


class Leases:
    """Who looks at slots: arrays, each until no array is left that is a view of it.

    `on_end` is told the slot then, in any thread, by a destructor: it must neither wait nor raise.
    """

    __slots__ = ("_live", "on_end")

    def __init__(self, on_end: Callable[[int], None]) -> None:
        self.on_end = on_end
        self._live: dict[int, tuple[weakref.ref[Array], int]] = {}

    def add(self, array: Array, slot: int) -> None:
        """Watch an array whose memory is no array's, so that it is the base of all its views."""
        lease = weakref.ref(array, self._ended)
        self._live[id(lease)] = lease, slot

    def _ended(self, lease: weakref.ref[Array]) -> None:
        self.on_end(self._live.pop(id(lease))[1])


class SampleWriter:
    """The producer's side: it has a reader of its own, so that what nodes here still look at is not written over."""

    awaits_readers = True

    def __init__(self, name: str, spec: RingSpec) -> None:
        self.spec = spec
        self._service = Service(name, spec)
        iox = self._service.iox
        self._publisher: Any = (
            self._service.ports.publisher_builder()
            .initial_max_slice_len(spec.slot_bytes + ALIGNMENT)
            .max_loaned_samples(spec.slots + 1)
            .allocation_strategy(iox.AllocationStrategy.Static)
            .backpressure_strategy(iox.BackpressureStrategy.DiscardData)
            .create()
        )
        self._own = self._service.subscriber()
        self._fillings: dict[int, _Filling] = {}
        self._unpublished: dict[int, _Filling] = {}
        self._number = -1
        self._returned: deque[int] = deque()
        self._leases = Leases(self._returned.append)
        self.loans: Mapping[
            int, tuple[int, int]
        ] = {}  # where they lie is found by their address, as they can be sent but once
        self._lock = Lock()
        self._touch()

    def _touch(self) -> None:
        """Have the pages of the first samples exist; those that are given back first are taken first."""
        samples = [self._loaned() for _ in range(min(self.spec.touched, self.spec.slots))]
        for sample in samples:
            start = -(-sample.payload_ptr // PAGE) * PAGE
            size = (sample.payload_ptr + self.spec.slot_bytes - start) // PAGE * PAGE
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), MADV_POPULATE_WRITE)
        while samples:
            samples.pop()

    def _loaned(self) -> Any:
        return self._publisher.loan_slice_uninit(self.spec.slot_bytes + ALIGNMENT).assume_init()

    def acquire(self, *, is_frugal: bool = False) -> int | None:
        """See `Writer.acquire`. Which samples have pages is not known here."""
        if not self.has_free:
            return None
        try:
            sample = self._loaned()
        except self._service.iox.LoanError:  # a reader that died still has some
            return None
        with self._lock:
            number = self._number = (self._number + 1) % NUMBERS
            self._fillings[number] = self._unpublished[number] = _Filling(sample, number, self.spec.slot_bytes)
        return number

    @property
    def has_free(self) -> bool:
        """See `Writer.has_free`."""
        while self._returned:  # a destructor may run anywhere, so it only leaves a note
            self.release(self._returned.popleft())
        return len(self._fillings) < self.spec.slots

    def use(self, slot: int) -> None:
        """See `Writer.use`."""
        with self._lock:
            self._fillings[slot].uses += 1

    def release(self, slot: int) -> None:
        """See `Writer.release`."""
        with self._lock:
            filling = self._fillings[slot]
            filling.uses -= 1
            if not filling.uses:
                del self._fillings[slot]
                self._unpublished.pop(slot, None)

    def loan(self, shape: tuple[int, ...], dtype: np.dtype[Any] = BYTE, *, is_frugal: bool = False) -> Array | None:
        """See `Writer.loan`."""
        slot = self.acquire()
        if slot is None:
            return None
        size = math.prod(shape) * dtype.itemsize
        # The memory stays mapped as long as the publisher lives, so whoever keeps the array keeps it too.
        array: Array = np.ndarray(shape, dtype, buffer(self._fillings[slot].start, size, self._publisher))
        self._leases.add(array, slot)
        return array

    def find(self, array: Array) -> Ref | None:
        """See `Writer.find`: None for an array that has been published, as it cannot be once more."""
        if array.base is None or not self._unpublished:
            return None
        address = array.__array_interface__["data"][0]
        for slot, filling in self._unpublished.items():
            if 0 <= address - filling.start < self.spec.slot_bytes:
                return Ref(slot, slot * self.spec.slot_bytes + address - filling.start, array.nbytes)
        return None

    def view(self, ref: Ref) -> Bytes:
        """See `Writer.view`."""
        start = ref.offset - ref.slot * self.spec.slot_bytes
        return self._fillings[ref.slot].bytes[start : start + ref.size]

    def publish(self, slots: Sequence[int]) -> Sequence[int]:
        """See `Writer.publish`."""
        new = [slot for slot in dict.fromkeys(slots) if slot in self._unpublished]
        for slot in new:
            filling = self._unpublished.pop(slot)
            filling.sample.send()
            while number_of(sample := self._own.receive()) != slot:
                pass
            filling.sample = sample
        return new


class _Taken:
    """A sample off the queue: given back when no array on it is left."""

    __slots__ = ("__weakref__", "sample")

    def __init__(self, sample: Any) -> None:
        self.sample = sample


def _opened(name: str, spec: RingSpec) -> tuple[Service | None, Any]:
    """A service and a queue of its samples; none where its producer is dead already, and nothing will come."""
    try:
        service = Service(name, spec)
    except Gone:
        return None, None
    return service, service.subscriber()


class SampleReader:
    """A consumer's side: a queue of samples, in the order in which they were published."""

    def __init__(self, name: str, spec: RingSpec) -> None:
        self.spec = spec
        self._service, self._queue = _opened(name, spec)
        self._taken: weakref.WeakValueDictionary[int, _Taken] = weakref.WeakValueDictionary()
        self._passed: dict[int, Any] = {}
        self._leases = Leases(lambda _: None)
        self._is_torn = False

    def on_end(self, told: Callable[[int], None]) -> None:
        """See `Reader.on_end`."""
        self._leases.on_end = told

    def lease(self, slot: int, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """See `Reader.lease`; zeros where its producer is dead and what it left was removed."""
        taken = self._taken.get(slot) or self._take(slot)
        if taken is None:
            self._is_torn = True
            self._leases.on_end(slot)
            return np.zeros(shape, dtype)
        self._taken[slot] = taken
        start = taken.sample.payload_ptr
        start += -start % ALIGNMENT + offset - slot * self.spec.slot_bytes
        size = math.prod(shape) * dtype.itemsize
        array: Array = np.ndarray(shape, dtype, buffer(start, size, taken).toreadonly())
        self._leases.add(array, slot)
        return array

    def skip(self, slot: int) -> None:
        """See `Reader.skip`."""
        self._take(slot)
        self.settle()

    def settle(self) -> bool:
        """See `Reader.settle`."""
        self._passed.clear()
        is_torn, self._is_torn = self._is_torn, False
        return not is_torn

    def close(self) -> None:
        """See `Reader.close`."""
        self._queue = self._service = None

    def _take(self, slot: int) -> _Taken | None:
        """The sample with this number. Those before it are of the same message, or of no use to this reader."""
        if (passed := self._passed.pop(slot, None)) is not None:
            return _Taken(passed)
        if self._service is None:
            return None
        try:
            while (sample := self._queue.receive()) is not None:
                if number_of(sample) == slot:
                    return _Taken(sample)
                self._passed[number_of(sample)] = sample
        except self._service.iox.ReceiveError:  # its producer is gone, and what it left was removed
            pass
        return None
