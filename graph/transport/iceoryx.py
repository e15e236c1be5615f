"""Samples of iceoryx2 in place of slots: its shared memory and its counts of readers; all else stays on our sockets.

One sample is one filling of a slot. It is published once, before any datagram names it by its number, and reaches every
reader; each takes samples off its queue up to the one that is named. A sample cannot be published twice, so an array
that is sent again is copied.

A reader's queue holds as many samples as may be in use, and each one in it is in use until that reader gives it back:
nothing overflows that a datagram still names. Safe overflow is on all the same, since iceoryx2's other way waits for a
dead reader for ever.

iceoryx2 names its memory. What a killed process leaves is removed when the run hears of the death, and what a killed
run leaves at the next start (`sweep`).
"""

from __future__ import annotations

import ctypes
import math
import os
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from threading import Lock
from typing import Any

import numpy as np

from graph.transport.ring import ALIGNMENT, MADV_POPULATE_WRITE, Array, Bytes, Leases, Ref, RingSpec

REMEDY = "install the extra: uv sync --extra iceoryx2 (no wheel for Linux on ARM)"
FOLDER = "/dev/shm"
PREFIX = "cauce_"  # of all names in /dev/shm, so that a sweep touches nothing of other programs
NUMBERS = 0xFFFF_FFFF  # a datagram has 32 bits for a slot, and the last value means something else
SPARE = 8  # samples that a reader may hold beyond those in use: their note is quicker than their end
PAGE = 4096

_serial = count()


def new_name() -> str:
    """A service name that no other output, run or restart has."""
    return f"cauce/{os.getpid()}/{os.urandom(4).hex()}/{next(_serial)}"


def _library() -> Any:
    import iceoryx2

    iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
    return iceoryx2


def _config(iox: Any) -> Any:
    """Its own names and folder for each user: nobody stands in another's way.

    Only the run itself sweeps: a process that is killed while it removes what another left would leave both.
    """
    config = iox.config.default()
    config.global_cfg.prefix = iox.FileName.new(PREFIX)
    config.global_cfg.root_path = iox.Path.new(f"{tempfile.gettempdir()}/cauce-iceoryx2-{os.getuid()}")
    config.global_cfg.node.cleanup_dead_nodes_on_creation = False
    config.global_cfg.node.cleanup_dead_nodes_on_destruction = False
    return config


def sweep() -> int:
    """Remove what dead processes of this user have left, and tell of how many."""
    iox = _library()
    dead = [
        state[0] for state in iox.Node.list(iox.ServiceType.Ipc, _config(iox)) if isinstance(state, iox.NodeState.Dead)
    ]
    swept = 0
    for node in dead:
        try:
            node.try_remove_stale_resources()
            swept += 1
        except iox.NodeCleanupFailure:  # somebody else is at it, or was and is dead: files without memory are left
            pass
    return swept


class _Service:
    """A publish-subscribe service, opened by one end; whoever comes first makes it."""

    def __init__(self, name: str, spec: RingSpec) -> None:
        self.iox = iox = _library()
        builder = iox.NodeBuilder.new().config(_config(iox)).signal_handling_mode(iox.SignalHandlingMode.Disabled)
        self.node = builder.create(iox.ServiceType.Ipc)
        readers = 2 * spec.readers + 2  # those that died may still be counted; and the writer reads as well
        self.ports: Any = (
            self.node.service_builder(iox.ServiceName.new(name))
            .publish_subscribe(iox.Slice[ctypes.c_uint8])
            .user_header(ctypes.c_uint64)
            .enable_safe_overflow(True)
            .history_size(0)
            .subscriber_max_buffer_size(spec.slots + 1)
            .subscriber_max_borrowed_samples(spec.slots + SPARE)
            .max_publishers(1)
            .max_subscribers(readers)
            .max_nodes(readers + 2)
            .open_or_create()
        )

    def subscriber(self) -> Any:
        return self.ports.subscriber_builder().create()


def _buffer(address: int, size: int, owner: object) -> memoryview:
    """Bytes of a sample, which know their owner: the library's own views let it be written over while they are read."""
    found: Any = (ctypes.c_uint8 * size).from_address(address)
    found.owner = owner
    return memoryview(found)


def _number(sample: Any) -> int:
    return ctypes.c_uint64.from_address(sample.user_header_ptr).value


class _Filling:
    """One use of a slot, from `acquire` until nobody reads it any more."""

    __slots__ = ("bytes", "sample", "start", "uses")

    def __init__(self, sample: Any, number: int, size: int) -> None:
        ctypes.c_uint64.from_address(sample.user_header_ptr).value = number
        skip = -sample.payload_ptr % ALIGNMENT
        self.sample = sample
        self.start: int = sample.payload_ptr + skip
        self.bytes: Bytes = np.frombuffer(_buffer(self.start, size, None), np.uint8)
        self.uses = 1


class SampleWriter:
    """The producer's side: it has a reader of its own, so that what nodes here still look at is not written over."""

    awaits_readers = True

    def __init__(self, name: str, spec: RingSpec) -> None:
        self.spec = spec
        self._service = _Service(name, spec)
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
        self._loans = Leases(self._returned.append)
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

    def acquire(self) -> int | None:
        """See `Writer.acquire`."""
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

    def loan(self, size: int) -> Bytes | None:
        """See `Writer.loan`."""
        if size > self.spec.slot_bytes or (slot := self.acquire()) is None:
            return None
        # The memory stays mapped as long as the publisher lives, so whoever keeps the array keeps it too.
        array: Bytes = np.frombuffer(_buffer(self._fillings[slot].start, size, self._publisher), np.uint8)
        self._loans.add(array, slot)
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
            while _number(sample := self._own.receive()) != slot:
                pass
            filling.sample = sample
        return new


class _Taken:
    """A sample off the queue: given back when no array on it is left."""

    __slots__ = ("__weakref__", "sample")

    def __init__(self, sample: Any) -> None:
        self.sample = sample


class SampleReader:
    """A consumer's side: a queue of samples, in the order in which they were published."""

    def __init__(self, name: str, spec: RingSpec) -> None:
        self.spec = spec
        self._service: _Service | None = _Service(name, spec)
        self._queue: Any = self._service.subscriber()
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
        array: Array = np.ndarray(shape, dtype, _buffer(start, size, taken).toreadonly())
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
        assert self._service is not None
        try:
            while (sample := self._queue.receive()) is not None:
                if _number(sample) == slot:
                    return _Taken(sample)
                self._passed[_number(sample)] = sample
        except self._service.iox.ReceiveError:  # its producer is gone, and what it left was removed
            pass
        return None
