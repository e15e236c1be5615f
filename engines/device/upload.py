"""Images from the host to a device: copied once, as bytes, through pinned buffers that take turns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from engines.base import Array, EngineError
from engines.cuda import Device, Handle, open_device
from engines.device.arrays import Pool
from engines.device.image import StreamImage
from engines.device.ipc import SharedImage, SharedPool
from engines.device.kernels import FitKernel
from engines.device.streams import current_stream, device_number, device_problems

BUFFERS = 2


class _Slot:
    """A pinned buffer, and the mark behind the copy that reads it."""

    def __init__(self, device: Device, size: int) -> None:
        self.host: Array = device.allocate_host(size)
        self.copied: Handle = device.open_event(spin=False)
        self.is_used = False

    def close(self, device: Device) -> None:
        device.close_event(self.copied)
        device.free_host(self.host)


class _Route:
    """What images of one size travel through: pinned buffers, and memory on the device."""

    def __init__(self, device: Device, size: int, most: int, *, share: bool) -> None:
        self.size, self._next = size, 0
        self._slots = [_Slot(device, size) for _ in range(BUFFERS)]
        self.pool = SharedPool(device, size, most) if share else Pool(device, size, count=BUFFERS, most=most)

    def next_slot(self) -> _Slot:
        slot = self._slots[self._next]
        self._next = (self._next + 1) % BUFFERS
        return slot

    def close(self, device: Device) -> None:
        for slot in self._slots:
            if slot.is_used:
                device.wait(slot.copied)
            slot.close(device)
        self.pool.close()


class Uploader:
    """See `engines.base.ImageUpload`. Works on the stream of its worker, or on one of its own where that has none.

    `device` is "cuda:N". `most` bounds the images that may lie on the device at a time, each in a buffer of its own:
    those under way, and those that a node holds. With `share` models in other processes read them there too (CUDA IPC);
    that memory is taken at once, for all of them.
    """

    def __init__(self, device: str = "cuda:0", *, most: int = 8, share: bool = False) -> None:
        if problems := list(self.check({"device": device, "most": most, "share": share})):
            raise EngineError(f"engines.device.upload.Uploader: {'; '.join(problems)}")
        self.number, self.most, self.share = device_number(device), most, share
        self.waits = 0
        """How often the host had to wait for a copy, since both pinned buffers were still being read."""
        self._routes: dict[int, _Route] = {}
        self._device: Device | None = None
        self._stack = ExitStack()

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """Mistakes that the parameters show; whether there is a GPU shows only in `open`."""
        yield from device_problems(params)
        most = params.get("most", 8)
        if isinstance(most, bool) or not isinstance(most, int) or most < BUFFERS:
            yield f"most: is {most!r}; expected a whole number, {BUFFERS} or more"
        if not isinstance(share := params.get("share", False), bool):
            yield f"share: is {share!r}; expected true or false"

    def open_device(self) -> Device:
        """The device that is asked for."""
        return open_device(self.number)

    def open(self) -> None:
        """See `engines.base.ImageUpload.open`."""
        with ExitStack() as stack:
            device = self.open_device()
            stack.callback(device.close)
            device.use()
            worker = current_stream(self.number)
            if worker is None:
                self._stream = device.open_stream(0)
                stack.callback(device.close_stream, self._stream)
            else:
                self._stream = worker.handle
            self._kernel = FitKernel(device)
            stack.callback(self._kernel.close)
            stack.callback(self._close_routes, device)
            self._device, self._stack = device, stack.pop_all()

    def upload(self, pixels: Array) -> StreamImage | None:
        """See `engines.base.ImageUpload.upload`."""
        device = self._device
        assert device is not None, "upload before open"
        device.use()
        route = self._routes.get(pixels.nbytes)
        if route is None:
            route = self._routes[pixels.nbytes] = _Route(device, pixels.nbytes, self.most, share=self.share)
        array = route.pool.take(pixels.shape, np.uint8)
        if array is None:
            return None
        slot = route.next_slot()
        if slot.is_used and not device.is_done(slot.copied):
            self.waits += 1
            device.wait(slot.copied)
        np.copyto(slot.host.reshape(pixels.shape), pixels)
        with array.writing(self._stream) as address:
            device.upload(address, slot.host, self._stream)
        device.record(slot.copied, self._stream)
        slot.is_used = True
        if isinstance(route.pool, SharedPool):
            return SharedImage(array, self._kernel, route.pool)
        return StreamImage(array, self._kernel)

    def close(self) -> None:
        """See `engines.base.ImageUpload.close`."""
        if self._device is not None:
            self._device.use()
            self._stack.close()
            self._device = None

    def _close_routes(self, device: Device) -> None:
        for route in self._routes.values():
            route.close(device)
        self._routes.clear()
