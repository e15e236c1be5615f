"""Memory order between two processes of which one may wait: all that it costs is paid by the one that waits.

Who waits says so in memory that both share, and looks once more; the other one does what is waited for, and then looks
whether anybody waits. A processor may look before what it wrote is seen by others. If both do, each misses the other.
One call in the process that is about to wait puts all processors in order that run one of those that `join` was called
in (membarrier(2), Linux 4.16), so that the other side, which is in a hurry, needs nothing.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable
from functools import cache

_CALLS = {"x86_64": 324, "aarch64": 283}
_QUERY, _GLOBAL_EXPEDITED, _REGISTER_GLOBAL_EXPEDITED = 0, 1 << 1, 1 << 2


@cache
def join() -> None:
    """Let this process be put in order by others."""
    _call(_REGISTER_GLOBAL_EXPEDITED)


def put_in_order() -> None:
    """What other processes that have joined wrote before is seen now, and what is written here is seen by them."""
    _call(_GLOBAL_EXPEDITED)


@cache
def is_possible() -> bool:
    """Whether this system can do it."""
    needed = _GLOBAL_EXPEDITED | _REGISTER_GLOBAL_EXPEDITED
    return _call(_QUERY) & needed == needed


def _call(command: int) -> int:
    return max(_membarrier()(command), 0)


@cache
def _membarrier() -> Callable[[int], int]:
    number = _CALLS.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return lambda _: 0
    call = ctypes.CDLL(None).syscall
    return lambda command: int(call(number, command, 0, 0))
