"""A stand-in for the CUDA driver, `cuda.bindings.driver`: device memory is the host's, streams execute at once.

Names, arguments and results are those of the real module (tests/engines/test_cuda.py compares them).
"""

import ctypes
from collections.abc import Callable
from enum import IntEnum, IntFlag

import numpy as np


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_ILLEGAL_ADDRESS = 700


class CUdevice_attribute(IntEnum):
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


class CUstream_flags(IntEnum):
    CU_STREAM_NON_BLOCKING = 1


class CUevent_flags(IntFlag):
    CU_EVENT_BLOCKING_SYNC = 1
    CU_EVENT_DISABLE_TIMING = 2


class CUstreamCaptureMode(IntEnum):
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


OK = (CUresult.CUDA_SUCCESS,)


class StandInDriver:
    """One GPU. `calls` holds the names of all calls, in order; `fail` makes the call of that name fail."""

    CUresult, CUdevice_attribute, CUstream_flags = CUresult, CUdevice_attribute, CUstream_flags
    CUevent_flags, CUstreamCaptureMode = CUevent_flags, CUstreamCaptureMode

    def __init__(self, capability=(8, 6), *, name="Stand-in GPU", total=1 << 30) -> None:
        self.capability, self.name, self.total = capability, name, total
        self.calls: list[str] = []
        self.fail: dict[str, CUresult] = {}
        self.memory: dict[int, np.ndarray] = {}
        self.pinned: dict[int, np.ndarray] = {}
        self.streams: set[int] = set()
        self.events: set[int] = set()
        self.graphs: set[int] = set()
        self.retained = 0
        self.recording: list[Callable[[], None]] | None = None
        self._graphs: dict[int, list[Callable[[], None]]] = {}
        self._next = 100

    def __getattribute__(self, name):
        value = object.__getattribute__(self, name)
        if not name.startswith("cu"):
            return value

        def call(*args):
            self.calls.append(name)
            if name in self.fail:
                return (self.fail[name], None)
            return value(*args)

        return call

    @property
    def held(self) -> int:
        """How many things are not given back."""
        return sum(map(len, (self.memory, self.pinned, self.streams, self.events, self.graphs))) + self.retained

    def enqueue(self, work: Callable[[], None]) -> None:
        """Run now, or record while a stream is captured."""
        if self.recording is None:
            work()
        else:
            self.recording.append(work)

    def cuInit(self, Flags):
        return OK

    def cuDeviceGetCount(self):
        return (*OK, 1)

    def cuDeviceGet(self, ordinal):
        return (*OK, ordinal)

    def cuDeviceGetName(self, length, dev):
        return (*OK, self.name.encode().ljust(length, b"\0"))

    def cuDeviceGetAttribute(self, attrib, dev):
        return (*OK, self.capability[attrib - 75])

    def cuDevicePrimaryCtxRetain(self, dev):
        self.retained += 1
        return (*OK, 7)

    def cuDevicePrimaryCtxRelease(self, dev):
        self.retained -= 1
        return OK

    def cuCtxSetCurrent(self, ctx):
        assert ctx == 7
        return OK

    def cuMemGetInfo(self):
        return (*OK, self.total - sum(map(len, self.memory.values())), self.total)

    def cuMemAlloc(self, bytesize):
        if bytesize > object.__getattribute__(self, "cuMemGetInfo")()[1]:
            return (CUresult.CUDA_ERROR_OUT_OF_MEMORY, None)
        return (*OK, self._keep(self.memory, bytesize))

    def cuMemFree(self, dptr):
        del self.memory[dptr]
        return OK

    def cuMemHostAlloc(self, bytesize, Flags):
        return (*OK, self._keep(self.pinned, bytesize))

    def cuMemFreeHost(self, p):
        del self.pinned[p]
        return OK

    def cuMemcpyHtoDAsync(self, dstDevice, srcHost, ByteCount, hStream):
        assert dstDevice in self.memory
        assert srcHost in self.pinned
        self.enqueue(lambda: ctypes.memmove(dstDevice, srcHost, ByteCount))
        return OK

    def cuMemcpyDtoHAsync(self, dstHost, srcDevice, ByteCount, hStream):
        assert srcDevice in self.memory
        assert dstHost in self.pinned
        self.enqueue(lambda: ctypes.memmove(dstHost, srcDevice, ByteCount))
        return OK

    def cuStreamCreateWithPriority(self, flags, priority):
        return (*OK, self._open(self.streams))

    def cuStreamDestroy(self, hStream):
        self.streams.remove(hStream)
        return OK

    def cuStreamSynchronize(self, hStream):
        assert hStream in self.streams
        return OK

    def cuEventCreate(self, Flags):
        return (*OK, self._open(self.events))

    def cuEventRecord(self, hEvent, hStream):
        assert hEvent in self.events
        return OK

    def cuEventSynchronize(self, hEvent):
        assert hEvent in self.events
        return OK

    def cuEventDestroy(self, hEvent):
        self.events.remove(hEvent)
        return OK

    def cuStreamBeginCapture(self, hStream, mode):
        assert self.recording is None
        self.recording = []
        return OK

    def cuStreamEndCapture(self, hStream):
        graph = self._open(self.graphs)
        self._graphs[graph], self.recording = self.recording or [], None
        return (*OK, graph)

    def cuGraphInstantiate(self, hGraph, flags):
        graph = self._open(self.graphs)
        self._graphs[graph] = self._graphs[hGraph]
        return (*OK, graph)

    def cuGraphLaunch(self, hGraphExec, hStream):
        assert hGraphExec in self.graphs
        for work in self._graphs[hGraphExec]:
            work()
        return OK

    def cuGraphExecDestroy(self, hGraphExec):
        self.graphs.remove(hGraphExec)
        del self._graphs[hGraphExec]
        return OK

    def cuGraphDestroy(self, hGraph):
        self.graphs.remove(hGraph)
        del self._graphs[hGraph]
        return OK

    def cuGetErrorString(self, error):
        return (*OK, error.name.lower().encode())

    def _keep(self, where: dict[int, np.ndarray], size: int) -> int:
        array = np.full(size, 0xAA, np.uint8)
        where[array.ctypes.data] = array
        return array.ctypes.data

    def _open(self, where: set[int]) -> int:
        self._next += 1
        where.add(self._next)
        return self._next
