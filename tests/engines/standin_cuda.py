"""A stand-in for the CUDA driver, `cuda.bindings.driver`: device memory is the host's, streams are queues.

Names, arguments and results are those of the real module (tests/engines/test_cuda.py compares them).
"""

import ctypes
from collections.abc import Callable
from enum import IntEnum, IntFlag
from threading import local

import numpy as np

from engines.cuda import Driver
from tests.engines import standin_kernels
from tests.engines.standin_streams import Schedule, Streams


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_INVALID_HANDLE = 400
    CUDA_ERROR_NOT_READY = 600
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_NOT_SUPPORTED = 801


class CUdevice_attribute(IntEnum):
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


class CUstream_flags(IntEnum):
    CU_STREAM_NON_BLOCKING = 1


class CUevent_flags(IntFlag):
    CU_EVENT_BLOCKING_SYNC = 1
    CU_EVENT_DISABLE_TIMING = 2
    CU_EVENT_INTERPROCESS = 4


class CUstreamCaptureMode(IntEnum):
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


class CUipcMem_flags(IntEnum):
    CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS = 1


class CUipcMemHandle:
    """64 bytes, which are read and written where `getPtr` says."""

    def __init__(self) -> None:
        self.bytes = (ctypes.c_uint8 * 64)()

    def getPtr(self):
        return ctypes.addressof(self.bytes)


class CUipcEventHandle(CUipcMemHandle):
    pass


class CUuuid:
    bytes = b"a stand-in's id."


OK = (CUresult.CUDA_SUCCESS,)
ANYWHERE = ("cuInit", "cuDevice", "cuCtxSetCurrent", "cuGetErrorString")
"""Calls that need no device in use."""


class StandInDevice(Driver):
    """A device whose memory is the host's, as the DLPack standard has it: so numpy reads its arrays."""

    memory_kind = 1


class StandInDriver:
    """One GPU. `calls` holds the names of all calls, in order; `fail` makes the call of that name fail."""

    CUresult, CUdevice_attribute, CUstream_flags = CUresult, CUdevice_attribute, CUstream_flags
    CUevent_flags, CUstreamCaptureMode, CUipcMem_flags = CUevent_flags, CUstreamCaptureMode, CUipcMem_flags
    CUipcMemHandle, CUipcEventHandle = CUipcMemHandle, CUipcEventHandle

    def __init__(
        self,
        capability=(8, 6),
        *,
        name="Stand-in GPU",
        total=1 << 30,
        schedule: Schedule = "at_once",
        strict=False,
        beside=None,
    ) -> None:
        self.capability, self.name, self.total = capability, name, total
        self.calls: list[str] = []
        self.fail: dict[str, CUresult] = {}
        self.memory: dict[int, np.ndarray] = {}
        self.pinned: dict[int, np.ndarray] = {}
        self.streams: set[int] = set()
        self.priorities: dict[int, int] = {}
        self.events: set[int] = set()
        self.graphs: set[int] = set()
        self.modules: set[int] = set()
        self.mapped: set[int] = set()
        self.retained = 0
        self.recordings: dict[int, list[Callable[[], None]]] = {}
        self.queues = beside.queues if beside else Streams(schedule)
        self.exported: dict[bytes, tuple[str, int, object]] = beside.exported if beside else {}
        self._strict, self._here = strict, local()
        self._graphs: dict[int, list[Callable[[], None]]] = {}
        self._functions: dict[int, str] = {}
        self._numbers = beside._numbers if beside else iter(range(100, 1 << 40))

    def __getattribute__(self, name):
        value = object.__getattribute__(self, name)
        if not name.startswith("cu"):
            return value

        def call(*args):
            self.calls.append(name)
            if name in self.fail:
                return (self.fail[name], None)
            if self._strict and not name.startswith(ANYWHERE):
                assert getattr(self._here, "used", False), f"{name} in a thread that uses no device"
            return value(*args)

        return call

    @property
    def held(self) -> int:
        """How many things are not given back."""
        kinds = (self.memory, self.pinned, self.streams, self.events, self.graphs, self.modules, self.mapped)
        return sum(map(len, kinds)) + self.retained

    @property
    def recording(self) -> list[Callable[[], None]] | None:
        """What is being captured."""
        return next(iter(self.recordings.values()), None)

    @property
    def host_waits(self) -> int:
        """How often the host waited for the device."""
        return self.calls.count("cuStreamSynchronize") + self.calls.count("cuEventSynchronize")

    def enqueue(self, work: Callable[[], None], stream: int) -> None:
        """Put work on a stream, or record it while the stream is captured."""
        if stream in self.recordings:
            self.recordings[stream].append(work)
        else:
            self.queues.work(stream, work)

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

    def cuDeviceGetUuid(self, dev):
        return (*OK, CUuuid())

    def cuCtxSetCurrent(self, ctx):
        assert ctx == 7
        self._here.used = True
        return OK

    def cuMemGetInfo(self):
        return (*OK, self.total - sum(map(len, self.memory.values())), self.total)

    def cuMemAlloc(self, bytesize):
        if bytesize > object.__getattribute__(self, "cuMemGetInfo")()[1]:
            return (CUresult.CUDA_ERROR_OUT_OF_MEMORY, None)
        return (*OK, self._keep(self.memory, bytesize))

    def cuMemFree(self, dptr):
        self.queues.finish()  # as the real one does
        del self.memory[dptr]
        return OK

    def cuMemHostAlloc(self, bytesize, Flags):
        return (*OK, self._keep(self.pinned, bytesize))

    def cuMemFreeHost(self, p):
        self.queues.finish()
        self.pinned[p][:] = 0xEE
        del self.pinned[p]
        return OK

    def cuMemcpyHtoDAsync(self, dstDevice, srcHost, ByteCount, hStream):
        assert any(0 <= dstDevice - at <= len(array) - ByteCount for at, array in self.memory.items())
        assert srcHost in self.pinned
        self.enqueue(lambda: ctypes.memmove(dstDevice, srcHost, ByteCount), hStream)
        return OK

    def cuMemcpyDtoHAsync(self, dstHost, srcDevice, ByteCount, hStream):
        assert srcDevice in self.memory
        assert dstHost in self.pinned
        self.enqueue(lambda: ctypes.memmove(dstHost, srcDevice, ByteCount), hStream)
        return OK

    def cuMemcpyDtoDAsync(self, dstDevice, srcDevice, ByteCount, hStream):
        self.enqueue(lambda: ctypes.memmove(dstDevice, srcDevice, ByteCount), hStream)
        return OK

    def cuCtxGetStreamPriorityRange(self):
        return (*OK, 0, -5)

    def cuStreamCreateWithPriority(self, flags, priority):
        stream = self._open(self.streams)
        self.priorities[stream] = priority
        return (*OK, stream)

    def cuStreamDestroy(self, hStream):
        self.streams.remove(hStream)
        return OK

    def cuStreamSynchronize(self, hStream):
        assert hStream in self.streams
        self.queues.finish_stream(hStream)
        return OK

    def cuStreamWaitEvent(self, hStream, hEvent, Flags):
        assert hEvent in self.events
        self.queues.order(hStream, hEvent)
        return OK

    def cuEventQuery(self, hEvent):
        assert hEvent in self.events
        return OK if self.queues.is_done(hEvent) else (CUresult.CUDA_ERROR_NOT_READY,)

    def cuEventCreate(self, Flags):
        return (*OK, self._open(self.events))

    def cuEventRecord(self, hEvent, hStream):
        assert hEvent in self.events
        self.queues.record(hEvent, hStream)
        return OK

    def cuEventSynchronize(self, hEvent):
        assert hEvent in self.events
        self.queues.finish_event(hEvent)
        return OK

    def cuEventDestroy(self, hEvent):
        self.events.remove(hEvent)
        return OK

    def cuStreamBeginCapture(self, hStream, mode):
        assert hStream not in self.recordings
        self.recordings[hStream] = []
        return OK

    def cuStreamEndCapture(self, hStream):
        graph = self._open(self.graphs)
        self._graphs[graph] = self.recordings.pop(hStream)
        return (*OK, graph)

    def cuGraphInstantiate(self, hGraph, flags):
        graph = self._open(self.graphs)
        self._graphs[graph] = self._graphs[hGraph]
        return (*OK, graph)

    def cuGraphLaunch(self, hGraphExec, hStream):
        assert hGraphExec in self.graphs
        for work in self._graphs[hGraphExec]:
            self.queues.work(hStream, work)
        return OK

    def cuGraphExecDestroy(self, hGraphExec):
        self.graphs.remove(hGraphExec)
        del self._graphs[hGraphExec]
        return OK

    def cuGraphDestroy(self, hGraph):
        self.graphs.remove(hGraph)
        del self._graphs[hGraph]
        return OK

    def cuModuleLoadData(self, image):
        assert b".target sm_75" in ctypes.string_at(image)
        return (*OK, self._open(self.modules))

    def cuModuleGetFunction(self, hmod, name):
        assert hmod in self.modules
        function = next(self._numbers)
        self._functions[function] = name.decode()
        return (*OK, function)

    def cuModuleUnload(self, hmod):
        self.modules.remove(hmod)
        return OK

    def cuLaunchKernel(
        self, f, gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes, hStream,
        kernelParams, extra,
    ):  # fmt: skip
        name, (values, types) = self._functions[f], kernelParams
        standin_kernels.library()
        self.enqueue(
            lambda: standin_kernels.run(name, (gridDimX, gridDimY), (blockDimX, blockDimY), values, types), hStream
        )
        return OK

    def cuIpcGetMemHandle(self, dptr):
        return (*OK, self._export(CUipcMemHandle(), dptr, self.memory[dptr]))

    def cuIpcOpenMemHandle(self, handle, Flags):
        owner, address, _ = self.exported[bytes(handle.bytes)]
        if owner is self:
            return (CUresult.CUDA_ERROR_INVALID_CONTEXT, None)
        self.mapped.add(address)
        return (*OK, address)

    def cuIpcCloseMemHandle(self, dptr):
        self.mapped.remove(dptr)
        return OK

    def cuIpcGetEventHandle(self, event):
        return (*OK, self._export(CUipcEventHandle(), event, None))

    def cuIpcOpenEventHandle(self, handle):
        owner, event, _ = self.exported[bytes(handle.bytes)]
        assert owner is not self
        self.events.add(event)
        return (*OK, event)

    def cuGetErrorString(self, error):
        return (*OK, error.name.lower().encode())

    def _keep(self, where: dict[int, np.ndarray], size: int) -> int:
        array = np.full(size, 0xAA, np.uint8)
        where[array.ctypes.data] = array
        return array.ctypes.data

    def _open(self, where: set[int]) -> int:
        number = next(self._numbers)
        where.add(number)
        return number

    def _export(self, handle, number: int, what: object):
        mark = b"%064d" % number
        self.exported[mark] = (self, number, what)
        ctypes.memmove(handle.getPtr(), mark, 64)
        return handle
