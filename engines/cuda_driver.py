"""The CUDA driver, over NVIDIA's package `cuda-bindings`: what `engines.cuda.Device` asks for.

Works in the primary context of the device, which PyTorch, ONNX Runtime and TensorRT use as well. Knows no runtime.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from engines.base import Array, EngineError, OutOfMemoryError

INSTALL = "pip install cuda-bindings (12.x beside an NVIDIA driver for CUDA 12)"

Handle = Any
"""What the driver gives for an event or a graph; only it can read it."""


def import_driver() -> Any:
    """The module of the driver's calls; EngineError where it is not installed."""
    try:
        from cuda.bindings import driver
    except ImportError as e:
        raise EngineError(f"the package cuda-bindings cannot be used: {e}; {INSTALL}") from e
    return driver


class Driver:
    """A device by the driver that is installed; see `engines.cuda.Device`."""

    memory_kind = 2

    def __init__(self, driver: Any, number: int) -> None:
        self._cuda, self.number = driver, number
        try:
            self._call("cuInit", 0)
            count = self._call("cuDeviceGetCount")
        except RuntimeError as e:
            # Without a driver the bindings raise errors of their own, and of several kinds.
            raise EngineError(f"CUDA cannot be used: {str(e).rstrip('.')}; install the NVIDIA driver") from e
        if number >= count:
            raise EngineError(f"device cuda:{number} is asked for, but the driver offers {count} GPU; set device")
        self._device = self._call("cuDeviceGet", number)
        self.name = self._call("cuDeviceGetName", 128, self._device).split(b"\0")[0].decode()
        kinds = driver.CUdevice_attribute
        self.capability: tuple[int, int] = (
            self._call("cuDeviceGetAttribute", kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, self._device),
            self._call("cuDeviceGetAttribute", kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, self._device),
        )
        self._context = self._call("cuDevicePrimaryCtxRetain", self._device)

    def use(self) -> None:
        """See `Device.use`."""
        self._call("cuCtxSetCurrent", self._context)

    def memory(self) -> tuple[int, int]:
        """See `Device.memory`."""
        free, total = self._call("cuMemGetInfo")
        return free, total

    def open_stream(self, priority: int) -> int:
        """See `Device.open_stream`."""
        kind = self._cuda.CUstream_flags.CU_STREAM_NON_BLOCKING
        return int(self._call("cuStreamCreateWithPriority", int(kind), priority))

    def priorities(self) -> tuple[int, int]:
        """See `Device.priorities`."""
        least, greatest = self._call("cuCtxGetStreamPriorityRange")
        return least, greatest

    def close_stream(self, stream: int) -> None:
        """See `Device.close_stream`."""
        self._call("cuStreamSynchronize", stream)
        self._call("cuStreamDestroy", stream)

    def open_event(self, *, spin: bool) -> Handle:
        """See `Device.open_event`."""
        kinds = self._cuda.CUevent_flags
        kind = int(kinds.CU_EVENT_DISABLE_TIMING) | (0 if spin else int(kinds.CU_EVENT_BLOCKING_SYNC))
        return self._call("cuEventCreate", kind)

    def close_event(self, event: Handle) -> None:
        """See `Device.close_event`."""
        self._call("cuEventDestroy", event)

    def record(self, event: Handle, stream: int) -> None:
        """See `Device.record`."""
        self._call("cuEventRecord", event, stream)

    def order(self, event: Handle, stream: int) -> None:
        """See `Device.order`."""
        self._call("cuStreamWaitEvent", stream, event, 0)

    def is_done(self, event: Handle) -> bool:
        """See `Device.is_done`."""
        (error,) = self._cuda.cuEventQuery(event)
        if error == self._cuda.CUresult.CUDA_ERROR_NOT_READY:
            return False
        if int(error):
            raise self._failure("cuEventQuery", error, 0)
        return True

    def wait(self, event: Handle) -> None:
        """See `Device.wait`."""
        self._call("cuEventSynchronize", event)

    def allocate(self, size: int) -> int:
        """See `Device.allocate`."""
        return int(self._call("cuMemAlloc", size, asked=size))

    def free(self, address: int) -> None:
        """See `Device.free`."""
        self._call("cuMemFree", address)

    def allocate_host(self, size: int) -> Array:
        """See `Device.allocate_host`."""
        address = int(self._call("cuMemHostAlloc", size, 0, asked=size))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def free_host(self, array: Array) -> None:
        """See `Device.free_host`."""
        self._call("cuMemFreeHost", array.ctypes.data)

    def upload(self, address: int, array: Array, stream: int) -> None:
        """See `Device.upload`."""
        self._call("cuMemcpyHtoDAsync", address, array.ctypes.data, array.nbytes, stream)

    def download(self, array: Array, address: int, stream: int) -> None:
        """See `Device.download`."""
        self._call("cuMemcpyDtoHAsync", array.ctypes.data, address, array.nbytes, stream)

    def copy(self, to: int, source: int, size: int, stream: int) -> None:
        """See `Device.copy`."""
        self._call("cuMemcpyDtoDAsync", to, source, size, stream)

    def capture(self, stream: int, enqueue: Callable[[], None]) -> Handle:
        """See `Device.capture`."""
        # Calls of other threads, which load other models, must not spoil the capture.
        mode = self._cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", stream, mode)
        try:
            enqueue()
        except BaseException:
            # Ends the capture, whatever it holds; the error that counts is on its way.
            error, graph = self._cuda.cuStreamEndCapture(stream)
            if not int(error):
                self._call("cuGraphDestroy", graph)
            raise
        graph = self._call("cuStreamEndCapture", stream)
        try:
            return self._call("cuGraphInstantiate", graph, 0)
        finally:
            self._call("cuGraphDestroy", graph)

    def launch(self, graph: Handle, stream: int) -> None:
        """See `Device.launch`."""
        self._call("cuGraphLaunch", graph, stream)

    def close_graph(self, graph: Handle) -> None:
        """See `Device.close_graph`."""
        self._call("cuGraphExecDestroy", graph)

    def call(self, name: str, *args: Any) -> Any:
        """See `Device.call`."""
        return self._call(name, *args)

    def structure(self, name: str) -> Any:
        """See `Device.structure`."""
        return getattr(self._cuda, name)()

    def close(self) -> None:
        """See `Device.close`."""
        self._call("cuDevicePrimaryCtxRelease", self._device)

    def _call(self, name: str, *args: Any, asked: int = 0) -> Any:
        """The result of one call, several of them as a tuple; `asked` are the bytes that it allocates."""
        error, *results = getattr(self._cuda, name)(*args)
        if int(error):
            raise self._failure(name, error, asked)
        return results[0] if len(results) == 1 else tuple(results)

    def _failure(self, name: str, error: Any, asked: int) -> EngineError:
        if error == self._cuda.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            failed, free, total = self._cuda.cuMemGetInfo()
            what = f"{asked / 1e6:.1f} MB" if asked else "memory"
            left = "" if int(failed) else f"; {free >> 20} of {total >> 20} MB are free"
            return OutOfMemoryError(f"cuda:{self.number} cannot give {what} ({name}){left}")
        _, text = self._cuda.cuGetErrorString(error)
        reason = text.decode() if text else "unknown error"
        return EngineError(f"{name} fails on cuda:{self.number}: {reason} ({int(error)})")
