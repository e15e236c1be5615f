"""What all models of PyTorch share on a GPU: streams that are used again, one capture at a time, the memory limit.

Imported with PyTorch only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import torch

ALONE = RLock()
"""Held while a CUDA graph is captured and while memory goes back to the driver: PyTorch allows one capture at a time in
a process, and waiting for the device, or giving its memory back, is an error during one."""


class Streams:
    """Streams that go from a closed model to the next one.

    PyTorch keeps a workspace of cuBLAS, up to 32 MiB, for each stream that ever multiplied: with a fresh stream each,
    loading and closing models would take more and more memory.
    """

    def __init__(self) -> None:
        self._free: dict[tuple[str, int], list[Any]] = defaultdict(list)

    def take(self, device: torch.device, priority: int) -> Any:
        """A stream that no other model has."""
        with ALONE:
            free = self._free[str(device), priority]
            return free.pop() if free else torch.cuda.Stream(device, priority=priority)

    def give(self, stream: Any, priority: int) -> None:
        """Hand a stream back, with nothing left to do on it."""
        with ALONE:
            self._free[str(stream.device), priority].append(stream)


STREAMS = Streams()


@contextmanager
def limited(device: str, limit_mb: int | None) -> Iterator[None]:
    """Let PyTorch take `limit_mb` of the device's memory from now on; where the block fails, as much as before."""
    if limit_mb is None:
        yield
        return
    number = int(device.partition(":")[2])
    total = torch.cuda.get_device_properties(number).total_memory
    before = torch.cuda.get_per_process_memory_fraction(number)
    torch.cuda.set_per_process_memory_fraction(min(limit_mb * 2**20 / total, 1.0), number)
    try:
        yield
    except BaseException:
        torch.cuda.set_per_process_memory_fraction(before, number)
        raise


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether `error`, or what it came from, is that the GPU's memory is full."""
    while error is not None:
        if isinstance(error, torch.cuda.OutOfMemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def free_memory(device: str) -> str:
    """What is free, for people, and what PyTorch was limited to."""
    number = int(device.partition(":")[2])
    free, total = torch.cuda.mem_get_info(number)
    text = f"{free >> 20} of {total >> 20} MB free"
    share = torch.cuda.get_per_process_memory_fraction(number)
    if share >= 1:
        return text
    return f"{text}, of {int(share * total) >> 20} MB that are allowed {torch.cuda.memory_reserved(number) >> 20} taken"


def give_memory_back() -> None:
    """Return what PyTorch keeps and nobody uses to the driver."""
    with ALONE:
        torch.cuda.empty_cache()
