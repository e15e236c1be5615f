"""A consumer's end of an edge from another process: puts what comes into the mailbox, and gives back what was read."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any, Protocol

from graph.bell import Bell, SocketBell
from graph.mailbox import Mailbox
from graph.node import Stamp
from graph.packet import Ticket
from graph.rendezvous import Rendezvous
from graph.transport import wire
from graph.transport.memory import Reader
from graph.transport.opener import Arrived, Opener
from graph.transport.queue import HELLO, QueueReader


class Taker(Protocol):
    """A node that may be given what comes past its mailbox, by the thread of its worker."""

    is_idle: bool
    """Whether it had nothing to do when its worker began to wait, and can process a message."""

    def take_over(self, stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None) -> None:
        """Process a message; the node has just said that it is idle."""
        ...


class Inlet:
    """One connection of an edge: it lives as long as its producer does.

    Messages come through a queue; the socket brings that queue at the start, and an end of file at the end.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        bell: Bell,
        end: socket.socket,
        ring: Reader,
        *,
        on_error: Callable[[Exception], None],
        taker: Taker | None = None,
        meeting: Rendezvous | None = None,
    ) -> None:
        assert isinstance(bell, SocketBell)
        self._waiting = mailbox.packets
        self._mailbox, self._bell, self._socket, self._on_error = mailbox, bell, end, on_error
        self._ring, self._taker, self._meeting = ring, taker, meeting
        self._open = Opener(mailbox, ring, is_read=self._is_read, tell=self.tell, on_error=on_error).open
        if meeting is not None:
            meeting.join(mailbox, self)
        ring.on_end(self._is_read)
        self._queue: QueueReader | None = None
        self._left = 0
        """How many datagrams are known to be in the queue, and not taken yet."""
        self._taken = 0
        """How many messages have left the mailbox."""
        self._counting = Lock()
        self._lock = Lock()
        self.is_open = True
        end.setblocking(False)
        mailbox.is_cut_off = False
        self._tells = mailbox.policy == "block"
        """Whether the producer waits for room."""
        if self._tells:
            with self._counting:
                self._taken = -mailbox.follow(self._count_taken)  # what an earlier producer sent does not count
        bell.watch(end.fileno(), self._listen, is_urgent=True)
        self.tell(wire.LOOK)  # the first note says that somebody reads

    def drain(self) -> None:
        """Take in all that has come."""
        if self._queue is None:
            self._listen()
        with self._lock:
            self._take_all()

    def _listen(self) -> None:
        """Hear what the producer says through the socket: where its messages are, and when it is gone."""
        with self._lock:
            while self.is_open:
                try:
                    data, descriptors, _, _ = socket.recv_fds(self._socket, len(HELLO), 2)
                except BlockingIOError:
                    return
                except OSError:
                    data = b""
                if not data:
                    self._take_all()
                    self._ended()
                    return
                if len(descriptors) < 2:
                    self._ended()
                    self._on_error(OSError(errno.EMFILE, "no descriptor is left for the queue of an edge"))
                    return
                self._queue = QueueReader(*descriptors)
                self._watch(self._queue)

    def _watch(self, queue: QueueReader) -> None:
        if (meeting := self._meeting) is not None:
            drain, when = partial(meeting.drain, self._mailbox), partial(meeting.awaits, self._mailbox)
            self._bell.watch(queue.event, drain, is_urgent=False, when=when)
            return
        alone = None if self._taker is None else partial(self._pass_on, queue, self._taker)
        self._bell.watch(queue.event, self.drain, is_urgent=not self._tells, alone=alone)

    def _take_all(self) -> bool:
        """Take in what the queue holds; whether it held anything. The lock is held."""
        if self._queue is None or not self._has_some(self._queue):
            return False
        self._take(self._queue)
        return True

    def _has_some(self, queue: QueueReader) -> bool:
        """Whether the queue holds something. The lock is held."""
        if self.is_open:
            self._left += queue.news()
        return self._left > 0

    def _take(self, queue: QueueReader) -> None:
        count, self._left = self._left, 0
        for _ in range(count):
            packet = self._open(queue.take())
            queue.done()
            if packet is not None:
                self._mailbox.offer(*packet)
        if queue.is_asked():
            self.tell(wire.LOOK)

    def _pass_on(self, queue: QueueReader, taker: Taker) -> None:
        """Give a message that came alone, while the node waits, to the node; all else goes into the mailbox."""
        with self._lock:
            if not self._has_some(queue) or self._left > 1 or self._waiting or not taker.is_idle:
                self._take(queue)
                return
            packet = self._next(queue)
        self._hand(packet, queue, taker)

    def pull(self) -> bool:
        """Take in what an edge that keeps its messages has in its queue; whether the node has something now.

        A node that may be given messages past its mailbox, and is idle, gets the next one: the rest may as well wait.
        """
        queue = self._queue
        if queue is None or not (self._left or queue.may_have_news):
            return False
        with self._lock:
            if self._taker is None:
                return self._take_all()
            if self._waiting:  # the thread beside was faster
                return True
            if not self._has_some(queue):
                return False
            packet = self._next(queue)
        self._hand(packet, queue, self._taker)
        return True

    def _next(self, queue: QueueReader) -> Arrived | None:
        """What the next datagram brings. The lock is held."""
        self._left -= 1
        packet = self._open(queue.take())
        queue.done()
        return packet

    def _hand(self, packet: Arrived | None, queue: QueueReader, taker: Taker) -> None:
        if packet is not None and packet[1] is not None:
            taker.take_over(*packet)
            return
        if packet is not None:
            self._mailbox.offer(*packet)
        if queue.is_asked():
            self.tell(wire.LOOK)

    def _is_read(self, slot: int) -> None:
        """An array in a slot is not looked at any more."""
        queue = self._queue
        assert queue is not None  # by which it came
        queue.give_back(slot)
        if queue.is_asked():
            self.tell(wire.LOOK)

    def tell(self, kind: int, value: int = 0) -> None:
        """Send a note to the producer. Callable from destructors, in any thread: it neither waits nor raises."""
        try:
            self._socket.send(wire.note(kind, value))
        except OSError:  # the producer is gone, and with it whoever would want to know
            pass

    def _count_taken(self) -> None:
        """The mailbox has given out a message."""
        queue = self._queue
        with self._counting:
            self._taken += 1
            if queue is not None and self._taken > 0:
                queue.took(self._taken)
        if queue is not None and queue.is_asked():
            self.tell(wire.LOOK)

    def _ended(self) -> None:
        """The producer is gone: nothing is to be waited for until another one is connected, or the edge is closed."""
        self.is_open = False
        self._bell.forget(self._socket.fileno())
        if self._queue is not None:
            self._bell.forget(self._queue.event)
            self._queue.close()
        self._mailbox.is_cut_off = True
        self._bell.ring()

    def close(self) -> None:
        """End the connection; arrays that are still in use stay readable."""
        with self._lock:
            if self.is_open:
                self._ended()
        self._ring.close()
        self._socket.close()
