"""Memory of a device that several processes share (CUDA IPC): one writes, the others read, and nothing is copied.

The writer owns all memory, in one allocation whose handle is sent once, when a reader connects. Of each array only the
number of its slot travels after that; order is kept by events of both sides, which are sent once as well. A reader that
dies leaves nothing behind: the writer forgets it, and its slots are free. What connects the two is not known here.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from engines.base import EngineError
from engines.cuda import Device, Handle

HANDLE_BYTES = 64
SLOT_STEP, WHOLE = 512, 2 << 20
"""Slots begin at multiples of the first; the allocation is a multiple of the second: the driver shares its memory in
pieces of that size, and a smaller allocation would let readers see those of others."""
EVENT = 2 | 4
"""CU_EVENT_DISABLE_TIMING and CU_EVENT_INTERPROCESS."""
PEER_ACCESS = 1
"""CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS."""


@dataclass(frozen=True, slots=True)
class PoolOffer:
    """What the writer sends to a reader, once. Plain values, so that any connection can carry it."""

    pid: int
    gpu: bytes
    """The identity of the GPU (16 bytes): its number may differ between processes."""
    memory: bytes
    slot_bytes: int
    step: int
    written: tuple[bytes, ...]
    """For each slot, the event after which it is whole."""


@dataclass(frozen=True, slots=True)
class ReaderOffer:
    """What a reader answers, once: for each slot, the event after which it has been read."""

    read: tuple[bytes, ...]


class SharedPool:
    """The writer's side: `count` slots of `slot_bytes` on a device that is in use. One thread uses it.

    `take` a slot, write it, tell which readers it is `sent` to, and hear of each when it has `released` it.
    """

    def __init__(self, device: Device, slot_bytes: int, count: int) -> None:
        self._device, self._pid = device, os.getpid()
        self.slot_bytes, self.step = slot_bytes, -(-slot_bytes // SLOT_STEP) * SLOT_STEP
        self._readers: dict[str, list[Handle]] = {}
        self._held: list[set[str]] = [set() for _ in range(count)]
        self._order = list(range(count))
        """Slots, the one that was written longest ago first."""
        with ExitStack() as stack:
            self._address = device.allocate(-(-self.step * count // WHOLE) * WHOLE)
            stack.callback(device.free, self._address)
            self._written = [_event(device, stack) for _ in range(count)]
            stack.callback(self._forget_all)
            self._stack = stack.pop_all()

    def offer(self) -> PoolOffer:
        """What a reader needs to open the pool; EngineError where this system cannot share memory of the GPU."""
        device = self._device
        try:
            memory = _bytes_of(device.call("cuIpcGetMemHandle", self._address))
            written = tuple(_bytes_of(device.call("cuIpcGetEventHandle", event)) for event in self._written)
        except EngineError as e:
            raise EngineError(
                f"memory of cuda:{device.number} cannot be shared between processes here: {e}; "
                "place both nodes in one process, as cuda workers"
            ) from e
        return PoolOffer(self._pid, _gpu(device), memory, self.slot_bytes, self.step, written)

    def admit(self, reader: str, offer: ReaderOffer) -> None:
        """Take in a reader's answer."""
        if len(offer.read) != len(self._held):
            raise EngineError(f"{reader} offers {len(offer.read)} events; the pool has {len(self._held)} slots")
        self.forget(reader)
        self._readers[reader] = [_open_event(self._device, handle) for handle in offer.read]

    def take(self) -> int | None:
        """The free slot that was written longest ago; None while readers hold all of them."""
        self._require_own_process()
        return next((slot for slot in self._order if not self._held[slot]), None)

    @contextmanager
    def writing(self, slot: int, stream: int) -> Iterator[int]:
        """The slot's address, for work that the block puts on `stream`; it comes after all that readers did there."""
        for events in self._readers.values():
            self._device.order(events[slot], stream)
        self._order.remove(slot)
        self._order.append(slot)
        yield self._address + slot * self.step
        self._device.record(self._written[slot], stream)

    def sent(self, slot: int, readers: Iterable[str]) -> None:
        """These readers are told of the slot: it is not free until each has released it, or is forgotten."""
        self._held[slot].update(reader for reader in readers if reader in self._readers)

    def released(self, slot: int, reader: str) -> None:
        """The reader needs the slot no more; what it has put on its stream by then is waited for by the next write."""
        self._held[slot].discard(reader)

    def forget(self, reader: str) -> None:
        """The reader is gone, in whatever way."""
        for held in self._held:
            held.discard(reader)
        for event in self._readers.pop(reader, ()):
            self._device.close_event(event)

    def close(self) -> None:
        """Give everything back. Readers must be gone, or have closed their side: it is their memory too."""
        self._require_own_process()
        self._device.use()
        self._stack.close()

    def _forget_all(self) -> None:
        for reader in list(self._readers):
            self.forget(reader)

    def _require_own_process(self) -> None:
        if os.getpid() != self._pid:
            raise EngineError(
                f"the pool belongs to process {self._pid}, and a process forked from it cannot use CUDA; use spawn"
            )


class OpenedPool:
    """A reader's side, on a device that is in use. It has no `offer` of memory: what was received is never sent on."""

    def __init__(self, device: Device, offer: PoolOffer) -> None:
        if offer.pid == os.getpid():
            raise EngineError("the pool is of this very process, where CUDA does not open it; hand over its arrays")
        if offer.gpu != _gpu(device):
            raise EngineError(
                f"cuda:{device.number} ({device.name}) is not the GPU that the pool lies on; "
                "give both processes the same device and the same CUDA_VISIBLE_DEVICES"
            )
        self._device, self.slot_bytes, self._step = device, offer.slot_bytes, offer.step
        with ExitStack() as stack:
            memory = _filled(device.structure("CUipcMemHandle"), offer.memory)
            self._address = int(device.call("cuIpcOpenMemHandle", memory, PEER_ACCESS))
            stack.callback(device.call, "cuIpcCloseMemHandle", self._address)
            self._written = []
            for handle in offer.written:
                self._written.append(_open_event(device, handle))
                stack.callback(device.close_event, self._written[-1])
            self._read = [_event(device, stack) for _ in offer.written]
            self._stack = stack.pop_all()

    def offer(self) -> ReaderOffer:
        """The answer to the writer."""
        return ReaderOffer(tuple(_bytes_of(self._device.call("cuIpcGetEventHandle", event)) for event in self._read))

    @contextmanager
    def reading(self, slot: int, stream: int) -> Iterator[int]:
        """The slot's address, for work that the block puts on `stream`; tell the writer `released` only afterwards."""
        self._device.order(self._written[slot], stream)
        try:
            yield self._address + slot * self._step
        finally:
            self._device.record(self._read[slot], stream)

    def close(self) -> None:
        """Give everything back; the work that reads must be done."""
        self._device.use()
        self._stack.close()


def _event(device: Device, stack: ExitStack) -> Handle:
    event = device.call("cuEventCreate", EVENT)
    stack.callback(device.close_event, event)
    return event


def _open_event(device: Device, handle: bytes) -> Handle:
    return device.call("cuIpcOpenEventHandle", _filled(device.structure("CUipcEventHandle"), handle))


def _bytes_of(structure: Any) -> bytes:
    return ctypes.string_at(structure.getPtr(), HANDLE_BYTES)


def _filled(structure: Any, handle: bytes) -> Any:
    if len(handle) != HANDLE_BYTES:
        raise EngineError(f"a handle of {len(handle)} bytes came; expected {HANDLE_BYTES}")
    ctypes.memmove(structure.getPtr(), handle, HANDLE_BYTES)
    return structure


def _gpu(device: Device) -> bytes:
    return bytes(device.call("cuDeviceGetUuid", device.number).bytes)
