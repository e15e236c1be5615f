"""A queue of datagrams in shared memory, from one process to one other: no lock, no copy by the kernel.

Datagrams lie one after the other in a circle of bytes, and an eventfd counts those that are new. It wakes the reader,
and its system calls order memory on every processor: what was written before it was raised is seen by whoever has read
it. A socket does all this too, for three times as much when caches are cold (docs/decisions/005).

Behind the circle the reader gives back slots, a word for each, and before it, it says how many messages were taken. The
writer finds both when it looks. A writer that waits for them asks to be told.
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

from graph.transport import fence

SIZE = 1 << 19
LARGEST = SIZE // 4
"""Bytes of a datagram, at most."""

# All positions are numbers of words.
_WORD = 8
_READ, _TAKEN = 0, 1  # from where on it is not read yet, and how many messages were taken: written by the reader
_WRITTEN, _ASKED = 8, 9  # up to where it is written, and whether the writer asks: in a cache line of the writer's own
_FIRST = 16  # the circle begins here
_BEHIND = _FIRST + SIZE // _WORD
_BACK = 1024  # words for what is given back
_SIZE_BYTES = (_BEHIND + _BACK) * _WORD
_WRAPPED = -1  # in place of where the next datagram begins: at the start of the circle
_FULL = SIZE // _WORD - 1  # what is read and what is written would else be the same position again
_END = 8  # words that are kept for the last datagram
_TWO = 2 * (LARGEST // _WORD + 1)  # words of two of the largest datagrams, of which one may not fit before the end

_ONCE, _ALWAYS = 1, 2  # what a writer asks for: to be told of the next change, or of each
HELLO = b"queue"  # what comes with the descriptors


class QueueWriter:
    """The producer's side: makes the queue, and hands it to the one that reads; OSError where that is gone.

    `waits`: it may ask to be told of room. Where a question might be missed it does so once and for all.
    """

    def __init__(self, reader: socket.socket, *, waits: bool) -> None:
        memory = os.memfd_create("cauce-queue")
        try:
            os.ftruncate(memory, _SIZE_BYTES)
            mapped = mmap.mmap(memory, _SIZE_BYTES)
            self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            try:
                socket.send_fds(reader, [HELLO], [memory, self._event])
            except OSError:
                os.close(self._event)
                raise
        finally:
            os.close(memory)
        self._bytes = memoryview(mapped)
        self._words = self._bytes.cast("q")
        self._words[_READ] = self._words[_WRITTEN] = self._at = _FIRST
        if waits and not fence.is_possible():
            self._words[_ASKED] = _ALWAYS
        self._room = 0
        """Words that can be written without a look at how far was read."""
        self._taken = 0
        """How many messages were taken, when that was looked for last."""
        self._back = 0
        """How many slots were given back."""

    def has_taken(self, count: int) -> bool:
        """Whether the reader has taken at least so many messages; it is looked for only where that is not known yet."""
        if self._taken < count:
            self._taken = self._words[_TAKEN]
        return self._taken >= count

    def ask(self) -> None:
        """Have the reader tell when it next takes or gives back something. Whoever asks has to look once more."""
        if not self._words[_ASKED]:
            self._words[_ASKED] = _ONCE
            fence.put_in_order()

    def has_room(self) -> bool:
        """Whether `put` would take a datagram of any size."""
        return self._room >= _TWO or self._used() + _TWO <= _FULL - _END

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
        self._words[_WRITTEN] = self._at
        self._room -= size
        eventfd_write(self._event, 1)
        return True

    def _used(self) -> int:
        """Words that are not read yet, or at this moment."""
        return (self._at - self._words[_READ]) % (SIZE // _WORD)

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

    @property
    def has_something_back(self) -> bool:
        """Whether `given_back` would say something."""
        return self._words[_BEHIND + self._back % _BACK] != 0

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

    def __init__(self, memory: int, event: int) -> None:
        fence.join()
        self.event = event
        """A descriptor that is readable when something new may be there; closed by `close`."""
        try:
            self._words = memoryview(mmap.mmap(memory, _SIZE_BYTES)).cast("q")
        finally:
            os.close(memory)
        self.at = _FIRST
        """Up to where it was read."""
        self._turns = count()
        self._later: deque[tuple[int, int]] = deque()
        """Turns and slots for which there was no word, as the writer had not looked for long."""

    @property
    def may_have_news(self) -> bool:
        """Whether a look is worth its while: it has been written to, and `news` will tell whether that is complete."""
        return self._words[_WRITTEN] != self.at

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
        self._words[_READ] = self.at

    def took(self, count: int) -> None:
        """So many messages were taken."""
        self._words[_TAKEN] = count

    def is_asked(self) -> bool:
        """Whether the writer is to be told of what was done, taken or given back. It says so once."""
        words = self._words
        asked = words[_ASKED]
        if asked == _ONCE:
            words[_ASKED] = 0
        return asked != 0

    def give_back(self, slot: int) -> None:
        """Leave a slot for the writer to find. Callable from destructors, in any thread."""
        turn, words = next(self._turns), self._words
        if not self._later and not words[at := _BEHIND + turn % _BACK]:
            words[at] = slot + 1
            return
        self._later.append((turn, slot))
        with suppress(IndexError):  # another thread may take the last one
            while True:
                turn, slot = self._later.popleft()
                if words[at := _BEHIND + turn % _BACK]:
                    self._later.appendleft((turn, slot))
                    return
                words[at] = slot + 1

    def close(self) -> None:
        """Read no more."""
        os.close(self.event)
