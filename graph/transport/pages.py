"""Mapped memory whose pages exist from the start, and are huge where the kernel makes them so (Linux 6.1).

A frame of 6 MB lies on 1452 pages of 4 kB, and the processor looks up each of them, or on 3 of 2 MB.
"""

from __future__ import annotations

import mmap

import numpy as np

HUGE = 2 << 20
MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_COLLAPSE = 22, 23, 25  # Linux 5.14 and 6.1; not named by the module mmap


def file_bytes(size: int) -> int:
    """How long the file must be of which `size` bytes are to be mapped: what is not used costs nothing."""
    return _whole(size) + 2 * HUGE if size >= HUGE else max(size, mmap.PAGESIZE)


def mapped(fd: int, size: int, touched: int, *, writes: bool) -> memoryview:
    """`size` bytes of a file of `file_bytes(size)`, the same for all; the pages of the first `touched` are mapped now.

    Whoever uses them first would wait for it. They are huge if the writer's are; an older kernel leaves all for later.
    """
    prot = mmap.PROT_READ | mmap.PROT_WRITE if writes else mmap.PROT_READ
    memory, start = _aligned(fd, size, prot) if size >= HUGE else (mmap.mmap(fd, file_bytes(size), prot=prot), 0)
    try:
        if writes and touched >= HUGE:
            _make_huge(memory, start, _whole(touched))
        if touched:
            memory.madvise(MADV_POPULATE_WRITE if writes else MADV_POPULATE_READ, start, touched)
    except OSError:
        pass
    return memoryview(memory)[start : start + size]


def _aligned(fd: int, size: int, prot: int) -> tuple[mmap.mmap, int]:
    """The file from somewhere before the bytes that are meant, which begin where a huge page can; and where that is.

    They lie at `HUGE` in the file. What is mapped a second time, as long as before, comes to lie where it did.
    """
    length = _whole(size) + HUGE
    memory = mmap.mmap(fd, length, prot=prot)
    offset = _address(memory) % HUGE
    memory.close()
    return mmap.mmap(fd, length, prot=prot, offset=offset), HUGE - offset


def _make_huge(memory: mmap.mmap, start: int, size: int) -> None:
    for at in range(start, start + size, HUGE):  # where nothing is yet, nothing is made huge
        memory.madvise(MADV_POPULATE_WRITE, at, mmap.PAGESIZE)
    try:
        memory.madvise(MADV_COLLAPSE, start, size)
    except OSError:  # an older kernel, no huge page is free, or another mapping came in between: small ones do it too
        pass


def _whole(size: int) -> int:
    return -(-size // HUGE) * HUGE


def _address(memory: mmap.mmap) -> int:
    address: int = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
    return address
