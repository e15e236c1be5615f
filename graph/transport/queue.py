"""A queue of datagrams in shared memory, from one process to one other: no lock, no copy by the kernel.

Datagrams lie one after the other in a circle of bytes, and an eventfd counts those that are new. It wakes the reader,
and its system calls order memory on every processor: what was written before it was raised is seen by whoever has read
it. A socket does all this too, for three times as much when caches are cold (docs/decisions/005).

Behind the circle the reader gives back slots, a word for each, which the writer finds when it looks.
"""

from __future__ import annotations

import mmap
import os
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from os import eventfd_write

SIZE = 1 << 19
LARGEST = SIZE // 4
"""Bytes of a datagram, at most."""

# All positions are numbers of words.
_WORD = 8
_FIRST = 8  # the circle begins here; the first two words say from where on it is not read yet, and where it ends
_BEHIND = _FIRST + SIZE // _WORD
_BACK = 1024  # words for what is given back
_SIZE_BYTES = (_BEHIND + _BACK) * _WORD
_WRAPPED = -1  # in place of where the next datagram begins: at the start of the circle
_FULL = SIZE // _WORD - 1  # what is read and what is written would else be the same position again
_END = 8  # words that are kept for the last datagram

_LOOKS, _WAITS = b"looks", b"waits"  # what comes with the descriptors: how the writer learns of slots


class QueueWriter:
    """The producer's side: makes the queue, and hands it to the one that reads; OSError where that is gone.

    `waits`: it waits for slots, so that it must be told of them.
    """

    def __init__(self, reader: socket.socket, *, waits: bool) -> None:
        memory = os.memfd_create("cauce-queue")
        try:
            os.ftruncate(memory, _SIZE_BYTES)
            mapped = mmap.mmap(memory, _SIZE_BYTES)
            self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            try:
                socket.send_fds(reader, [_WAITS if waits else _LOOKS], [memory, self._event])
            except OSError:
                os.close(self._event)
                raise
        finally:
            os.close(memory)
        self._bytes = memoryview(mapped)
        self._words = self._bytes.cast("q")
        self._words[0] = self._words[1] = self._at = _FIRST
        self._room = 0
        """Words that can be written without a look at how far was read."""
        self._back = 0
        """How many slots were given back."""

    def has_room(self) -> bool:
        """Whether `put` would take a datagram of any size."""
        return self._used() + 2 * (LARGEST // _WORD + 1) <= _FULL - _END

    def put(self, data: bytes, *, is_last: bool = False) -> bool:
        """Append a datagram; False where there is no room, which there always is for a short last one."""
        length = len(data)
        size = (length + 2 * _WORD - 1) // _WORD  # with the word before it
        if size > self._room and not self._has_place(size, _FULL if is_last else _FULL - _END):
            return False
        at = self._at
        start = at * _WORD + _WORD
        self._words[at] = self._at = at + size
        self._bytes[start : start + length] = data
        self._words[1] = self._at
        self._room -= size
        eventfd_write(self._event, 1)
        return True

    def _used(self) -> int:
        """Words that are not read yet, or at this moment."""
        return (self._at - self._words[0]) % (SIZE // _WORD)

    def _has_place(self, size: int, most: int) -> bool:
        """Whether `size` words fit in now, which go to the start of the circle where its end is too near."""
        used, left = self._used(), _BEHIND - self._at
        skipped = left if size >= left else 0  # the last word is needed to say so
        if used + skipped + size > most:
            return False
        if skipped:
            self._words[self._at] = _WRAPPED
            self._at = _FIRST
        self._room = min(_BEHIND - self._at - 1, most - used - skipped)
        return True

    def given_back(self) -> Iterator[int]:
        """The slots that were given back since this was asked last."""
        words = self._words
        while (slot := words[at := _BEHIND + self._back % _BACK]) != 0:
            words[at] = 0
            self._back += 1
            yield slot - 1

    def close(self) -> None:
        """Write no more; what was written stays readable."""
        os.close(self._event)


class QueueReader:
    """The consumer's side. Whatever becomes of the producer, what it has announced can still be read."""

    def __init__(self, hello: bytes, memory: int, event: int) -> None:
        self.event = event
        """A descriptor that is readable when something new may be there; closed by `close`."""
        try:
            self._words = memoryview(mmap.mmap(memory, _SIZE_BYTES)).cast("q")
        finally:
            os.close(memory)
        self.at = _FIRST
        """Up to where it was read."""
        self._looks = hello == _LOOKS
        self._turns = count()
        self._later: deque[tuple[int, int]] = deque()
        """Turns and slots for which there was no word, as the writer had not looked for long."""

    @property
    def may_have_news(self) -> bool:
        """Whether a look is worth its while: it has been written to, and `news` will tell whether that is complete."""
        return self._words[1] != self.at

    def news(self) -> int:
        """How many datagrams have come since this was asked last: as many as are to be taken now."""
        try:
            return os.eventfd_read(self.event)
        except BlockingIOError:
            return 0

    def take(self) -> memoryview:
        """The next datagram, with what fills up its last word. It stays until `done` is called."""
        at, words = self.at, self._words
        after = words[at]
        if after == _WRAPPED:
            at = _FIRST
            after = words[at]
        self.at = after
        return words[at + 1 : after]

    def done(self) -> None:
        """What was taken may be written over."""
        self._words[0] = self.at

    def read_since(self, at: int) -> int:
        """Bytes that were read since that was up to `at`; less than the queue holds."""
        return (self.at - at) % (SIZE // _WORD) * _WORD

    def give_back(self, slot: int) -> bool:
        """Leave a slot for the writer to find. False: it has to be told. Callable from destructors, in any thread."""
        if not self._looks:
            return False
        turn, words = next(self._turns), self._words
        if not self._later and not words[at := _BEHIND + turn % _BACK]:
            words[at] = slot + 1
            return True
        self._later.append((turn, slot))
        with suppress(IndexError):  # another thread may take the last one
            while True:
                turn, slot = self._later.popleft()
                if words[at := _BEHIND + turn % _BACK]:
                    self._later.appendleft((turn, slot))
                    return True
                words[at] = slot + 1
        return True

    def close(self) -> None:
        """Read no more."""
        os.close(self.event)
