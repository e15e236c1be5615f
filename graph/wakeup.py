"""How soon a thread runs that a message or the clock wakes.

Linux lets a thread use up most of its slice, 1.4 ms on two processors, before another one that it has woken on the same
processor takes its place; a message would wait for all that its sender has yet to do. What a short slice asks of other
threads on the same processor is no more than their turn: shares stay as they were.

A sleep ends up to 50 us late, so that the kernel can wake several threads at once.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

SLICE_NS = 100_000  # the shortest that Linux knows, from 6.12 on
PR_SET_TIMERSLACK = 29
_CALLS = {"x86_64": (315, 314), "aarch64": (275, 274)}
"""Numbers of the system calls sched_getattr and sched_setattr."""
_ATTRIBUTES = struct.Struct("=IIQiIQQQII")  # size, policy, flags, nice, priority, runtime, deadline, period, two clamps
_RUNTIME = 5


def sharpen_clock() -> None:
    """Have sleeps and time-outs of the calling thread end when they are due."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)


def shorten_slice() -> bool:
    """Give the calling thread the shortest slice; whether it has it now. All else of how it is scheduled stays.

    A thread with a policy of its own, such as SCHED_FIFO, is left alone.
    """
    if (attributes := _attributes()) is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    attributes[_RUNTIME] = SLICE_NS
    _, put = _CALLS[platform.machine()]
    ctypes.CDLL(None).syscall(put, 0, _ATTRIBUTES.pack(*attributes), 0)
    return slice_ns() == SLICE_NS  # an older kernel takes no notice


def slice_ns() -> int:
    """The slice of the calling thread in nanoseconds; 0 where this system does not tell."""
    attributes = _attributes()
    return 0 if attributes is None else attributes[_RUNTIME]


def _attributes() -> list[int] | None:
    if sys.platform != "linux" or platform.machine() not in _CALLS:
        return None
    get, _ = _CALLS[platform.machine()]
    data = ctypes.create_string_buffer(_ATTRIBUTES.size)
    failed = ctypes.CDLL(None).syscall(get, 0, data, _ATTRIBUTES.size, 0)
    return None if failed else list(_ATTRIBUTES.unpack(data.raw))
