"""Memory that processes share: on huge pages where the kernel has them, and the same memory anyway."""

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
    found = False
    with open("/proc/self/smaps") as file:
        for line in file:
            if "-" in (head := line.split(maxsplit=1)[0]):
                begin, end = (int(x, 16) for x in head.split("-"))
                found = begin <= address(memory) < end
            elif found and head == f"{name}:":
                return int(line.split()[1])
    raise AssertionError(f"no mapping at {address(memory):x}")


@pytest.mark.parametrize("touched", [0, 1])
@pytest.mark.parametrize("size", [1, 4096, 4097, HUGE - 1, HUGE, 3 * HUGE + 5, 17_842_176])
def test_what_one_writes_is_what_the_other_reads(file, size, touched):
    fd = file(size)
    writer = pages.mapped(fd, size, size * touched, writes=True)
    reader = pages.mapped(fd, size, size * touched, writes=False)
    assert len(writer) == len(reader) == size
    writer[0], writer[size - 1] = 7, 9
    assert reader[size - 1] == 9
    assert reader[0] == (9 if size == 1 else 7)
    assert reader.readonly


def test_large_memory_begins_where_a_huge_page_can(file):
    kept = []
    for n in range(1, 8):
        kept.append(mmap.mmap(-1, n * mmap.PAGESIZE))  # so that addresses differ
        kept.append(pages.mapped(file(n * HUGE + 4096), n * HUGE + 4096, 0, writes=True))
        assert address(kept[-1]) % HUGE == 0


def test_the_pages_of_a_large_memory_are_huge_for_writer_and_reader_where_the_kernel_makes_them(file):
    size = 3 * HUGE + 4096
    fd = file(size)
    writer = pages.mapped(fd, size, size, writes=True)
    if not kilobytes(writer, "ShmemPmdMapped"):
        pytest.skip("this kernel makes no huge pages of shared memory, or has none left")
    assert kilobytes(writer, "ShmemPmdMapped") == 4 * HUGE // 1024
    reader = pages.mapped(fd, size, size, writes=False)
    assert kilobytes(reader, "ShmemPmdMapped") >= 3 * HUGE // 1024


def test_a_kernel_that_knows_neither_huge_pages_nor_pages_in_advance_maps_them_later(file, monkeypatch):
    monkeypatch.setattr(pages, "MADV_COLLAPSE", 250)
    monkeypatch.setattr(pages, "MADV_POPULATE_WRITE", 251)
    monkeypatch.setattr(pages, "MADV_POPULATE_READ", 252)
    size = 2 * HUGE
    fd = file(size)
    writer, reader = (pages.mapped(fd, size, size, writes=writes) for writes in (True, False))
    assert kilobytes(writer, "Rss") == 0
    writer[HUGE] = 3
    assert reader[HUGE] == 3


def test_where_another_mapping_comes_in_between_both_still_see_the_same(file, monkeypatch):
    monkeypatch.setattr(pages, "_address", lambda memory: 5 * mmap.PAGESIZE)  # what it was is not what it will be
    size = 2 * HUGE + 4096
    fd = file(size)
    writer = pages.mapped(fd, size, size, writes=True)
    monkeypatch.undo()
    reader = pages.mapped(fd, size, size, writes=False)
    writer[0], writer[size - 1] = 7, 9
    assert (reader[0], reader[size - 1]) == (7, 9)


def test_what_is_never_touched_takes_no_memory(file):
    fd = file(64 * HUGE)
    memory = pages.mapped(fd, 64 * HUGE, HUGE, writes=True)
    assert kilobytes(memory, "Rss") == HUGE // 1024
    assert os.fstat(fd).st_blocks * 512 == HUGE
