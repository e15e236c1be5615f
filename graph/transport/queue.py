"""A queue of datagrams in shared memory, from one process to one other: no lock, no copy by the kernel.

Datagrams lie one after the other in a circle of bytes, and an eventfd counts those that are new. It wakes the reader,
and its system calls order memory on every processor: what was written before it was raised is seen by whoever has read
it. A socket does all this too, for three times as much when caches are cold (docs/decisions/005).
"""

from __future__ import annotations

import mmap
import os
import socket

SIZE = 1 << 19
LARGEST = SIZE // 4
"""Bytes of a datagram, at most."""

_HEAD = 64  # bytes before the circle, of which the first eight say up to where it was read
_LENGTH = 8  # bytes before each datagram
_WRAPPED = -1  # in place of a length: it goes on at the start of the circle
_END = 64  # bytes that are kept for the last datagram
_WORD = 8


class QueueWriter:
    """The producer's side: makes the queue, and hands it to the one that reads; OSError where that is gone."""

    def __init__(self, reader: socket.socket) -> None:
        memory = os.memfd_create("cauce-queue")
        try:
            os.ftruncate(memory, _HEAD + SIZE)
            mapped = mmap.mmap(memory, _HEAD + SIZE)
            self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            try:
                socket.send_fds(reader, [b"queue"], [memory, self._event])
            except OSError:
                os.close(self._event)
                raise
        finally:
            os.close(memory)
        self._bytes = memoryview(mapped)
        self._words = self._bytes.cast("q")
        self._written = self._read = 0
        self._room = 0
        """Bytes that can be written without a look at how far was read."""

    def has_room(self) -> bool:
        """Whether `put` would take a datagram of any size."""
        if self._written + 2 * LARGEST - self._read > SIZE:
            self._read = self._words[0]
        return self._written + 2 * LARGEST - self._read <= SIZE

    def put(self, data: bytes, *, is_last: bool = False) -> bool:
        """Append a datagram; False where there is no room, which there always is for a short last one."""
        length = len(data)
        size = (length + _LENGTH + _WORD - 1) & -_WORD
        if size > self._room and not self._has_place(size, SIZE if is_last else SIZE - _END):
            return False
        at = self._written % SIZE + _HEAD
        self._words[at // _WORD] = length
        at += _LENGTH
        self._bytes[at : at + length] = data
        self._written += size
        self._room -= size
        os.eventfd_write(self._event, 1)
        return True

    def _has_place(self, size: int, most: int) -> bool:
        """Whether `size` bytes fit in now, which go to the start of the circle where its end is too near."""
        self._read = self._words[0]
        left = SIZE - self._written % SIZE
        skipped = left if size > left else 0
        if self._written + skipped + size - self._read > most:
            return False
        if skipped:
            self._words[(_HEAD + SIZE - left) // _WORD] = _WRAPPED
            self._written += skipped
        self._room = min(SIZE - self._written % SIZE, most + self._read - self._written)
        return True

    def close(self) -> None:
        """Write no more; what was written stays readable."""
        os.close(self._event)


class QueueReader:
    """The consumer's side. Whatever becomes of the producer, what it has announced can still be read."""

    def __init__(self, memory: int, event: int) -> None:
        self.event = event
        """A descriptor that is readable when something new may be there; closed by `close`."""
        try:
            self._bytes = memoryview(mmap.mmap(memory, _HEAD + SIZE))
        finally:
            os.close(memory)
        self._words = self._bytes.cast("q")
        self.at = 0
        """How many bytes were read."""

    def news(self) -> int:
        """How many datagrams have come since this was asked last: as many as are to be taken now."""
        try:
            return os.eventfd_read(self.event)
        except BlockingIOError:
            return 0

    def take(self) -> memoryview:
        """The next datagram, to be used before another one is taken: then it may be written over."""
        words = self._words
        words[0] = taken = self.at
        at = taken % SIZE + _HEAD
        size = words[at // _WORD]
        if size == _WRAPPED:
            taken += SIZE + _HEAD - at
            at = _HEAD
            size = words[at // _WORD]
        self.at = taken + ((size + _LENGTH + _WORD - 1) & -_WORD)
        at += _LENGTH
        return self._bytes[at : at + size]

    def close(self) -> None:
        """Read no more."""
        os.close(self.event)
