"""Images that another process has on a GPU, read there by models of this one (CUDA IPC).

What travels with a frame is where its image lies, as plain values; memory and events are opened at their first use, and
kept. The stream that reads waits for the event after which the image is whole; the host never does. Given back is an
image only when all work on it is done, so its owner need not wait for anybody.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from engines.base import Array, EngineError, Fit, Place
from engines.cuda import Device, Handle, open_device
from engines.device.arrays import Block, StreamArray
from engines.device.image import StreamImage
from engines.device.kernels import FitKernel
from engines.device.streams import device_number

HANDLE_BYTES = 64
PEER_ACCESS = 1
"""CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS."""


@dataclass(frozen=True, slots=True)
class Lent:
    """Where an image lies that another process may read. Plain values, so that any connection can carry it."""

    device: str
    pid: int
    gpu: bytes
    """The identity of the GPU (16 bytes): its number may differ between processes."""
    memory: bytes
    offset: int
    whole: bytes
    """The event after which the image is whole."""
    shape: tuple[int, ...]

    def open(self, pixels: Array) -> LentImage:
        """The image, whose copy on the host is `pixels`: whoever lent it waits until nobody has that either."""
        return LentImage(self, pixels)


class LentImage:
    """The image in a process that reads it. Opened at its first use: a process that never does needs no GPU.

    It cannot be lent again: what is sent on are its pixels.
    """

    def __init__(self, lent: Lent, pixels: Array) -> None:
        self._lent, self._pixels = lent, pixels
        self.device, self.shape = lent.device, lent.shape
        self._image: StreamImage | None = None

    def _opened(self) -> StreamImage:
        if self._image is None:
            self._image = _reader_of(self._lent).image(self._lent, self._pixels)
        return self._image

    def write(self, place: Place, fit: Fit) -> None:
        """See `engines.base.DeviceImage.write`."""
        self._opened().write(place, fit)

    def __dlpack__(self, **wanted: Any) -> Any:
        """See `engines.device.arrays.StreamArray`."""
        return self._opened().__dlpack__(**wanted)

    def __dlpack_device__(self) -> tuple[int, int]:
        """See `engines.device.arrays.StreamArray`."""
        return self._opened().__dlpack_device__()


class _LentBlock(Block):
    """Memory of another process, mapped here, and what is mapped of its events."""

    def __init__(self, device: Device, address: int, whole: Handle) -> None:
        super().__init__(device, address)
        self._whole = whole

    def order_reader(self, stream: int) -> None:
        """See `Block.order_reader`: the writer's event counts, also where this stream has read the block before."""
        self.device.order(self._whole, stream)

    def wait(self) -> None:
        """See `Block.wait`."""
        self.device.wait(self._whole)

    def is_read(self) -> bool:
        """Whether all work that reads it is done, and forget it if so."""
        if all(self.device.is_done(self._events[stream]) for stream in self._readers):
            self._readers.clear()
            return True
        return False

    def _give_back(self, address: int) -> None:
        self.device.close_event(self._whole)


class _LentArray(StreamArray):
    """An array in such a block, and the pixels on the host that the writer waits for."""

    def __init__(
        self, block: _LentBlock, left: deque[tuple[_LentBlock, Array]], shape: tuple[int, ...], pixels: Array
    ) -> None:
        super().__init__(block, deque(), shape, np.uint8)
        self._lent_block, self._left, self._pixels = block, left, pixels

    def __del__(self) -> None:
        # As for any array no call of the driver belongs here; the pixels stay until the work on the device is done.
        self._left.append((self._lent_block, self._pixels))


class _Reader:
    """All that one process has open of others' memory on one device. Never closed: it ends with the process."""

    def __init__(self, device: Device) -> None:
        self.device, self._gpu = device, gpu_of(device)
        self._kernel = FitKernel(device)
        self._memory: dict[bytes, tuple[int, int]] = {}
        """Address and pid of the writer, by handle."""
        self._blocks: dict[tuple[bytes, int], _LentBlock] = {}
        self._left: deque[tuple[_LentBlock, Array]] = deque()
        self._lock = Lock()

    def image(self, lent: Lent, pixels: Array) -> StreamImage:
        """An image of another process."""
        self.device.use()
        with self._lock:
            self._settle()
            block = self._blocks.get((lent.memory, lent.offset)) or self._open(lent)
        return StreamImage(_LentArray(block, self._left, lent.shape, pixels), self._kernel)

    def _settle(self) -> None:
        """Let go of what nobody has any more, and no work on the device reads."""
        for _ in range(len(self._left)):
            block, pixels = self._left.popleft()
            if not block.is_read():
                self._left.append((block, pixels))

    def _open(self, lent: Lent) -> _LentBlock:
        if lent.pid == os.getpid():
            raise EngineError("the image is of this very process, where CUDA does not open it; hand over the message")
        if lent.gpu != self._gpu:
            raise EngineError(
                f"{self.device.name} is not the GPU that the image lies on, {lent.device} of the process it is from; "
                "give both processes the same device and the same CUDA_VISIBLE_DEVICES"
            )
        if lent.memory not in self._memory:
            self._forget_others(lent)
            handle = _filled(self.device.structure("CUipcMemHandle"), lent.memory)
            self._memory[lent.memory] = int(self.device.call("cuIpcOpenMemHandle", handle, PEER_ACCESS)), lent.pid
        handle = _filled(self.device.structure("CUipcEventHandle"), lent.whole)
        whole = self.device.call("cuIpcOpenEventHandle", handle)
        block = _LentBlock(self.device, self._memory[lent.memory][0] + lent.offset, whole)
        self._blocks[lent.memory, lent.offset] = block
        return block

    def _forget_others(self, lent: Lent) -> None:
        """Close what writers left that are gone; with a restart comes memory of another process."""
        for memory, (address, pid) in list(self._memory.items()):
            if pid != lent.pid and not _is_alive(pid):
                for key in [key for key in self._blocks if key[0] == memory]:
                    self._blocks.pop(key).close()
                del self._memory[memory]
                self.device.call("cuIpcCloseMemHandle", address)


_readers: dict[int, _Reader] = {}
_opening = Lock()


def _reader_of(lent: Lent) -> _Reader:
    number = device_number(lent.device)
    with _opening:
        if number not in _readers:
            device = open_device(number)
            device.use()
            _readers[number] = _Reader(device)
        return _readers[number]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _filled(structure: Any, handle: bytes) -> Any:
    if len(handle) != HANDLE_BYTES:
        raise EngineError(f"a handle of {len(handle)} bytes came; expected {HANDLE_BYTES}")
    ctypes.memmove(structure.getPtr(), handle, HANDLE_BYTES)
    return structure


def gpu_of(device: Device) -> bytes:
    """The identity of the GPU, the same in every process."""
    return bytes(device.call("cuDeviceGetUuid", device.number).bytes)
