"""The stream of a worker: opened when the worker starts, found by all that runs in its thread.

An engine that is loaded in such a thread runs its models on that stream, with its priority, instead of one of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import local
from types import TracebackType
from typing import Any, Literal, get_args

from engines.base import EngineError
from engines.cuda import Device, open_device

Priority = Literal["high", "normal", "low"]


@dataclass(frozen=True, slots=True)
class WorkerStream:
    """A stream of the device `number`, as the driver numbers it: `handle`."""

    number: int
    handle: int
    priority: int
    """As the driver has it: lower goes first."""


class _Here(local):
    stream: WorkerStream | None = None


_here = _Here()


def current_stream(number: int) -> WorkerStream | None:
    """The stream of the worker whose thread this is, if it is on the device `number`; else None."""
    stream = _here.stream
    return stream if stream is not None and stream.number == number else None


class CudaContext:
    """What a worker of the kind `cuda` works in: its thread has a stream of the device, from start to end.

    `device` is "cuda:N"; `priority` says whose work goes first where the GPU is short: that of "high" before that of
    "normal" before that of "low". Entering it raises EngineError where there is no such GPU.
    """

    def __init__(self, device: str = "cuda:0", priority: Priority = "normal") -> None:
        if problems := list(self.check({"device": device, "priority": priority})):
            raise EngineError("; ".join(problems))
        self.number, self.priority = device_number(device), priority
        self._device: Device | None = None
        self._before: WorkerStream | None = None

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """Mistakes that the parameters show; whether there is a GPU shows only when the worker starts."""
        yield from device_problems(params)
        priority = params.get("priority", "normal")
        if priority not in get_args(Priority):
            yield f"priority: is {priority!r}; expected {', '.join(get_args(Priority))}"

    def open_device(self) -> Device:
        """The device that is asked for."""
        return open_device(self.number)

    def __enter__(self) -> WorkerStream:
        device = self.open_device()
        try:
            device.use()
            level = _level(self.priority, *device.priorities())
            stream = WorkerStream(self.number, device.open_stream(level), level)
        except BaseException:
            device.close()
            raise
        self._device, self._before, _here.stream = device, _here.stream, stream
        return stream

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        device, stream = self._device, _here.stream
        self._device, _here.stream = None, self._before
        if device is None or stream is None:
            return
        try:
            device.use()
            device.close_stream(stream.handle)
        finally:
            device.close()


def device_number(device: str) -> int:
    """1 for "cuda:1"."""
    return int(device.partition(":")[2])


def device_problems(params: Mapping[str, Any]) -> Iterable[str]:
    """What is wrong with the parameter `device`, if anything."""
    device = params.get("device", "cuda:0")
    if not isinstance(device, str) or not re.fullmatch(r"cuda:\d+", device):
        yield f"device: is {device!r}; expected cuda:0, cuda:1, ..."


def _level(priority: Priority, last: int, first: int) -> int:
    """The driver's number: the ends of its range, and between them for "normal", nearer to the last."""
    between = last - (last - first) // 2
    return {"high": first, "normal": between, "low": last}[priority]
