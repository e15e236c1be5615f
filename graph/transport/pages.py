"""Mapped memory whose pages exist from the start, and are huge where the kernel makes them so (Linux 6.1).

A frame of 6 MB lies on 1452 pages of 4 kB, and the processor looks up each of them, or on 3 of 2 MB.
"""

from __future__ import annotations

import mmap

import numpy as np

HUGE = 2 << 20
TRIES = 3  # other threads map memory too
MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_COLLAPSE = 22, 23, 25  # Linux 5.14 and 6.1; not named by the module mmap


def file_bytes(size: int) -> int:
    """How long the file must be of which `size` bytes are to be mapped: what is not used costs nothing."""
    return max(_whole(size) + HUGE if size >= HUGE else size, mmap.PAGESIZE)


def mapped(fd: int, size: int, prot: int = mmap.PROT_READ | mmap.PROT_WRITE) -> mmap.mmap:
    """At least `size` bytes of a file of `file_bytes(size)`, from an address where huge pages begin if they fit in."""
    least = _whole(size) if size >= HUGE else max(size, mmap.PAGESIZE)
    length = least
    for _ in range(TRIES if size >= HUGE else 0):
        memory = mmap.mmap(fd, length, prot=prot)
        over = _address(memory) % HUGE
        if not over:
            return memory
        memory.close()
        length = least + (length - least + over) % HUGE  # the kernel maps from the top down: a longer one begins lower
    return mmap.mmap(fd, least, prot=prot)


def touch(memory: mmap.mmap, size: int, *, writes: bool) -> None:
    """Have the first `size` bytes mapped now; whoever uses them first would wait for it.

    The writer's pages become huge; a reader has them as the writer does. An older kernel leaves all that for later.
    """
    try:
        if writes and size >= HUGE:
            _make_huge(memory, _whole(size))
        if size:
            memory.madvise(MADV_POPULATE_WRITE if writes else MADV_POPULATE_READ, 0, size)
    except OSError:
        pass


def _make_huge(memory: mmap.mmap, size: int) -> None:
    for start in range(0, size, HUGE):  # where nothing is yet, nothing is made huge
        memory.madvise(MADV_POPULATE_WRITE, start, mmap.PAGESIZE)
    try:
        memory.madvise(MADV_COLLAPSE, 0, size)
    except OSError:  # an older kernel, no huge page is free, or the address does not fit: small ones do it too
        pass


def _whole(size: int) -> int:
    return -(-size // HUGE) * HUGE


def _address(memory: mmap.mmap) -> int:
    address: int = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
    return address
