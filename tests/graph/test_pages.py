"""Memory that processes share: on huge pages where the kernel has them, and the same memory anyway."""

import gc
import mmap
import os

import numpy as np
import pytest

from graph.transport import pages
from graph.transport.pages import HUGE


@pytest.fixture
def file():
    fds = []

    def new(size):
        fds.append(os.memfd_create("test"))
        os.ftruncate(fds[-1], pages.file_bytes(size))
        return fds[-1]

    yield new
    for fd in fds:
        os.close(fd)


def address(memory):
    return np.frombuffer(memory, np.uint8).__array_interface__["data"][0]


def kilobytes(memory, name):
    """What the kernel says of the mapping, such as how much of it is on huge pages."""
    begin, found = f"{address(memory):x}-", False
    with open("/proc/self/smaps") as file:
        for line in file:
            found = found or line.startswith(begin)
            if found and line.startswith(f"{name}:"):
                return int(line.split()[1])
    raise AssertionError(f"no mapping at {begin}")


@pytest.mark.parametrize("size", [1, 4096, 4097, HUGE - 1, HUGE, 3 * HUGE + 5, 17_842_176])
def test_what_one_writes_is_what_the_other_reads(file, size):
    fd = file(size)
    writer, reader = pages.mapped(fd, size), pages.mapped(fd, size, mmap.PROT_READ)
    pages.touch(writer, size, writes=True)
    pages.touch(reader, size, writes=False)
    writer[0], writer[size - 1] = 7, 9
    assert reader[size - 1] == 9
    assert reader[0] == (9 if size == 1 else 7)


def test_large_memory_begins_where_a_huge_page_can(file):
    kept = []
    for n in range(1, 8):
        kept.append(mmap.mmap(-1, n * mmap.PAGESIZE))  # so that addresses differ
        kept.append(pages.mapped(file(n * HUGE + 4096), n * HUGE + 4096))
        assert address(kept[-1]) % HUGE == 0
    gc.collect()


def test_the_pages_of_a_large_memory_are_huge_for_writer_and_reader_where_the_kernel_makes_them(file):
    size = 3 * HUGE + 4096
    fd = file(size)
    writer = pages.mapped(fd, size)
    pages.touch(writer, size, writes=True)
    try:
        writer.madvise(pages.MADV_COLLAPSE, 0, HUGE)
    except OSError as e:
        pytest.skip(f"this kernel makes no huge pages of shared memory: {e}")
    assert kilobytes(writer, "ShmemPmdMapped") == 4 * HUGE // 1024
    reader = pages.mapped(fd, size, mmap.PROT_READ)
    pages.touch(reader, size, writes=False)
    assert kilobytes(reader, "ShmemPmdMapped") >= 3 * HUGE // 1024


def test_a_kernel_that_knows_neither_huge_pages_nor_pages_in_advance_maps_them_later(file, monkeypatch):
    monkeypatch.setattr(pages, "MADV_COLLAPSE", 250)
    monkeypatch.setattr(pages, "MADV_POPULATE_WRITE", 251)
    monkeypatch.setattr(pages, "MADV_POPULATE_READ", 252)
    size = 2 * HUGE
    fd = file(size)
    writer, reader = pages.mapped(fd, size), pages.mapped(fd, size, mmap.PROT_READ)
    pages.touch(writer, size, writes=True)
    pages.touch(reader, size, writes=False)
    assert kilobytes(writer, "Rss") == 0
    writer[HUGE] = 3
    assert reader[HUGE] == 3


def test_what_is_never_touched_takes_no_memory(file):
    fd = file(64 * HUGE)
    memory = pages.mapped(fd, 64 * HUGE)
    pages.touch(memory, HUGE, writes=True)
    assert kilobytes(memory, "Rss") == HUGE // 1024
    assert os.fstat(fd).st_blocks * 512 == HUGE
