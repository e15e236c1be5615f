"""What Linux tells of a process."""

import os
import threading

import pytest

from graph import procfs

pytestmark = pytest.mark.skipif(not procfs.PROC.is_dir(), reason="this system has no /proc")


def test_what_a_process_takes_is_seen():
    before = procfs.resident_mb(os.getpid())
    taken = bytearray(b"x" * 64_000_000)
    assert before + 60 < procfs.resident_mb(os.getpid()) < before + 80
    del taken


def test_handles_and_threads_are_counted():
    handles, threads = procfs.handles(os.getpid()), procfs.threads(os.getpid())
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    with open(os.devnull):
        assert procfs.handles(os.getpid()) == handles + 1
    assert procfs.threads(os.getpid()) == threads + 1
    end.set()
    thread.join()


def test_of_a_process_that_is_not_there_it_is_nothing():
    gone = 2**30
    assert (procfs.resident_mb(gone), procfs.handles(gone), procfs.threads(gone)) == (0.0, 0, 0)
    assert procfs.resident_mb(None) == 0.0
