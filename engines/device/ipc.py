"""Images in memory of a GPU that other processes map (CUDA IPC): the side of the process that uploads them.

It owns all memory, in one allocation. Who keeps an image until its readers are done with it is not known here
(`graph.transport.lending`); so a reader that dies leaves nothing behind.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import ExitStack
from typing import Any

from engines.base import EngineError
from engines.cuda import Device, Handle
from engines.device.arrays import Block, Pool, StreamArray
from engines.device.image import StreamImage
from engines.device.kernels import FitKernel
from engines.device.lent import HANDLE_BYTES, Lent, gpu_of

SLOT_STEP, WHOLE = 512, 2 << 20
"""Slots begin at multiples of the first; the allocation is a multiple of the second: the driver shares its memory in
pieces of that size, and a smaller allocation would let readers see those of others."""
EVENT = 2 | 4
"""CU_EVENT_DISABLE_TIMING and CU_EVENT_INTERPROCESS."""


class SharedPool(Pool):
    """The writer's side: all its blocks lie in one allocation, which readers open once."""

    def __init__(self, device: Device, size: int, most: int) -> None:
        self._pid, self._step = os.getpid(), -(-max(size, 1) // SLOT_STEP) * SLOT_STEP
        self._handle = b""
        """Of the allocation, once an array was lent."""
        with ExitStack() as stack:
            self._gpu = gpu_of(device)
            self._address = device.allocate(-(-self._step * most // WHOLE) * WHOLE)
            stack.callback(device.free, self._address)
            super().__init__(device, size, count=most, most=most)
            stack.pop_all()

    def _make(self) -> Block:
        block = SharedBlock(self.device, self._address + self._step * len(self._all))
        self._all.append(block)
        return block

    def take(self, shape: tuple[int, ...], dtype: Any) -> StreamArray | None:
        """See `Pool.take`."""
        if os.getpid() != self._pid:
            raise EngineError(
                f"the pool belongs to process {self._pid}, and a process forked from it cannot use CUDA; use spawn"
            )
        return super().take(shape, dtype)

    def lend(self, array: StreamArray) -> Lent:
        """What a reader needs to find one of its arrays; EngineError where this system cannot share its memory."""
        device, block = self.device, array.block
        assert isinstance(block, SharedBlock)
        try:
            if not self._handle:
                self._handle = _bytes_of(device.call("cuIpcGetMemHandle", self._address))
            whole = block.handle()
        except EngineError as e:
            raise EngineError(
                f"memory of cuda:{device.number} cannot be shared between processes here: {e}; "
                "place both nodes in one process, as cuda workers, or leave out `share` of the uploader"
            ) from e
        name, offset = f"cuda:{device.number}", block.address - self._address
        return Lent(name, self._pid, self._gpu, self._handle, offset, whole, array.shape)

    def close(self) -> None:
        """See `Pool.close`. What readers may still have open is not freed before this process ends."""
        super().close()
        if not self._handle:
            self.device.free(self._address)


class SharedBlock(Block):
    """A part of a shared allocation, and the event of other processes."""

    def __init__(self, device: Device, address: int) -> None:
        super().__init__(device, address)
        self._whole: Handle = device.call("cuEventCreate", EVENT)
        self._handle = b""

    def handle(self) -> bytes:
        """What other processes open the event by."""
        if not self._handle:
            self._handle = _bytes_of(self.device.call("cuIpcGetEventHandle", self._whole))
        return self._handle

    def was_written(self, stream: int) -> None:
        """See `Block.was_written`."""
        super().was_written(stream)
        self.device.record(self._whole, stream)

    def _give_back(self, address: int) -> None:
        self.device.close_event(self._whole)


class SharedImage(StreamImage):
    """An image that models in other processes can read as well."""

    def __init__(self, array: StreamArray, kernel: FitKernel, pool: SharedPool) -> None:
        super().__init__(array, kernel)
        self._pool = pool

    def lend(self) -> Lent:
        """See `engines.base.Lender.lend`."""
        self.array.device.use()
        return self._pool.lend(self.array)


def _bytes_of(structure: Any) -> bytes:
    return ctypes.string_at(structure.getPtr(), HANDLE_BYTES)
