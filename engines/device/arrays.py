"""Arrays in the memory of a device, each with the event after which it is whole, and the pool that they come from.

Whoever reads one on another stream lets that stream wait for the event; the host never waits. The memory of an array
that nobody holds any more is written again, by a stream that waits for those who read it. A pool makes its memory and
its events once, and takes none of them in the steady state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.base import EngineError
from engines.cuda import Device, Handle
from engines.device import dlpack


class Block:
    """Memory of a device, and marks behind all work that reads or writes it."""

    def __init__(self, device: Device, address: int) -> None:
        self.device, self.address = device, address
        self._written: tuple[int, Handle] | None = None
        self._events: dict[int, Handle] = {}
        """By stream; an event is made at the first use of a stream, and used again."""
        self._readers: set[int] = set()

    def order_reader(self, stream: int) -> None:
        """Let a stream that is about to read wait for what was written."""
        if self._written is not None and self._written[0] != stream:
            self.device.order(self._written[1], stream)

    def order_writer(self, stream: int) -> None:
        """Let a stream that is about to write wait for all that read or wrote before."""
        before = self._readers | ({self._written[0]} if self._written else set())
        for other in before - {stream}:
            self.device.order(self._events[other], stream)

    def was_read(self, stream: int) -> None:
        """Put a mark behind the work that reads, which the stream has been given."""
        self._mark(stream)
        self._readers.add(stream)

    def was_written(self, stream: int) -> None:
        """Put a mark behind the work that writes, which the stream has been given."""
        self._written = (stream, self._mark(stream))
        self._readers = set()

    def wait(self) -> None:
        """Let the host wait for what was written."""
        if self._written is not None:
            self.device.wait(self._written[1])

    def close(self) -> None:
        """Give memory and events back."""
        address, self.address = self.address, 0
        events, self._events, self._written, self._readers = self._events, {}, None, set()
        for event in events.values():
            self.device.close_event(event)
        if address:
            self._give_back(address)

    def _give_back(self, address: int) -> None:
        self.device.free(address)

    def _mark(self, stream: int) -> Handle:
        event = self._events.get(stream)
        if event is None:
            event = self._events[stream] = self.device.open_event(spin=False)
        self.device.record(event, stream)
        return event


class StreamArray:
    """An array in a block; the block goes back to its pool when nobody holds the array any more."""

    def __init__(self, block: Block, home: deque[Block], shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.device = block.device
        self.block, self._home = block, home

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return prod(self.shape) * self.dtype.itemsize

    @contextmanager
    def reading(self, stream: int) -> Iterator[int]:
        """Its address, for work that the block puts on `stream`. The thread's device must be in use."""
        self._require_open()
        self.block.order_reader(stream)
        try:
            yield self.block.address
        finally:
            self.block.was_read(stream)

    @contextmanager
    def writing(self, stream: int) -> Iterator[int]:
        """Its address, for work that the block puts on `stream`, before anybody else has the array."""
        self._require_open()
        self.block.order_writer(stream)
        try:
            yield self.block.address
        finally:
            self.block.was_written(stream)

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule after the DLPack standard, to be read in the order of `stream` (-1: at once, at one's own risk)."""
        if copy or (dl_device is not None and tuple(dl_device) != self.__dlpack_device__()):
            raise BufferError(f"the array stays where it is, on {self.__dlpack_device__()}; it is never copied")
        self._require_open()
        handle = dlpack.stream_of(stream, self.device.memory_kind)
        self.device.use()
        if handle is not None:
            self.block.order_reader(handle)
        elif self.device.memory_kind == dlpack.HOST:
            self.block.wait()  # readers on the host know no streams
        return dlpack.capsule(self, self.block.address, lambda: self._taken_back(handle))

    def __dlpack_device__(self) -> tuple[int, int]:
        """Kind and number of the device."""
        kind = self.device.memory_kind
        return (kind, 0 if kind == dlpack.HOST else self.device.number)

    def _taken_back(self, handle: int | None) -> None:
        """Another library drops its view: what it has put on the stream by now is what reads."""
        if handle is not None and self.block.address:
            self.device.use()
            self.block.was_read(handle)

    def _require_open(self) -> None:
        if not self.block.address:
            raise EngineError("the array's memory was given back when its node was closed; use it before that")

    def __del__(self) -> None:
        # No call of the driver belongs here: any thread may drop the last reference, at any moment.
        self._home.append(self.block)


class Pool:
    """Arrays of at most `size` bytes on a device: `count` blocks at once, and up to `most` where all are held.

    One thread takes; any may hold and drop.
    """

    def __init__(self, device: Device, size: int, *, count: int = 2, most: int = 8) -> None:
        self.device, self.size, self.most = device, size, most
        self._free: deque[Block] = deque()
        self._all: list[Block] = []
        for _ in range(count):
            self._free.append(self._make())

    @property
    def made(self) -> int:
        """How many blocks there are."""
        return len(self._all)

    def take(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> StreamArray | None:
        """An array whose values are not written yet; None where all `most` blocks are held."""
        nbytes = prod(shape) * np.dtype(dtype).itemsize
        if nbytes > self.size:
            raise EngineError(f"an array of {nbytes} bytes is asked for; this pool gives {self.size}")
        try:
            block = self._free.popleft()
        except IndexError:
            if len(self._all) >= self.most:
                return None
            block = self._make()
        return StreamArray(block, self._free, shape, dtype)

    def close(self) -> None:
        """Give all memory back; arrays that somebody still holds cannot be used any more."""
        self._free.clear()
        for block in self._all:
            block.close()
        self._all.clear()

    def _make(self) -> Block:
        block = Block(self.device, self.device.allocate(max(self.size, 1)))
        self._all.append(block)
        return block
