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
from graph.node import Stamp, of_fields
from graph.packet import Ticket
from graph.tally import Cause
from graph.transport import wire
from graph.transport.form import Known, learned
from graph.transport.memory import Reader
from graph.transport.queue import LARGEST, QueueReader
from graph.transport.wire import decoded, opened

HELLO = 64  # bytes of what comes through the socket: with it come the descriptors of the queue


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
    ) -> None:
        assert isinstance(bell, SocketBell)
        self._forms: dict[int, Known] = {}
        self._waiting = mailbox.packets
        self._mailbox, self._bell, self._socket, self._on_error = mailbox, bell, end, on_error
        self._ring, self._taker = ring, taker
        self._lease, self._settle = ring.lease, ring.settle
        ring.on_end(self._is_read)
        self._queue: QueueReader | None = None
        self._left = 0
        """How many datagrams are known to be in the queue, and not taken yet."""
        self._number = 0
        """How many messages have come."""
        self._told = self._told_at = 0
        """How many the producer knows to be taken, and up to where the queue was read then."""
        self._tells_every = max(1, mailbox.capacity // 2)  # it still has room for as many, so it need not wait
        self._lock = Lock()
        self._base = mailbox.tally.settled + len(mailbox)  # what an earlier producer sent
        self.is_open = True
        end.setblocking(False)
        mailbox.is_cut_off = False
        self._tells = mailbox.policy == "block"
        """Whether the producer waits for room."""
        if self._tells:
            mailbox.on_taken, mailbox.on_wanted = self._tell_taken, self._tell_rest
        bell.watch(end.fileno(), self._listen, is_urgent=True)
        self._tell_how_many()  # the first note says that somebody reads

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
                    data, descriptors, _, _ = socket.recv_fds(self._socket, HELLO, 2)
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
                self._queue = QueueReader(data, *descriptors)
                alone = None if self._taker is None else partial(self._pass_on, self._queue, self._taker)
                self._bell.watch(self._queue.event, self.drain, is_urgent=not self._tells, alone=alone)

    def _take_all(self) -> None:
        """Take in what the queue holds. The lock is held."""
        if self._queue is not None and self._has_some(self._queue):
            self._take(self._queue)

    def _has_some(self, queue: QueueReader) -> bool:
        """Whether the queue holds something. The lock is held."""
        if self.is_open:
            self._left += queue.news()
        return self._left > 0

    def _take(self, queue: QueueReader) -> None:
        count, self._left = self._left, 0
        for _ in range(count):
            packet = self._packet(queue.take())
            queue.done()
            if packet is not None:
                self._mailbox.offer(*packet)
            if self._tells and queue.read_since(self._told_at) >= LARGEST:
                self._tell_how_many()  # it may wait for room in the queue, however few messages that are

    def pull(self) -> bool:
        """Give the node, which is idle, the next message of an edge that keeps all of them; whether there was one."""
        queue, taker = self._queue, self._taker
        if queue is None or taker is None or not (self._left or queue.may_have_news):
            return False
        return self._pass_on(queue, taker)

    def _pass_on(self, queue: QueueReader, taker: Taker) -> bool:
        """Give a message that came alone, or the next of those that are all kept, to the node if that is idle.

        All else goes into the mailbox. Whether there was something.
        """
        with self._lock:
            if not self._has_some(queue):
                return False
            if self._waiting or not taker.is_idle or (self._left > 1 and not self._tells):
                self._take(queue)
                return True
            self._left -= 1
            packet = self._packet(queue.take())
            queue.done()  # before the producer is told: it looks for room then, and for the last time
        if packet is not None:
            stamp, message, sent_ns, ticket = packet
            if message is None:
                self._mailbox.offer(stamp, None, sent_ns, ticket)
            else:
                taker.take_over(stamp, message, sent_ns, ticket)
        return True

    def _packet(self, datagram: memoryview) -> tuple[Stamp, Any, int, Ticket | None] | None:
        """What a datagram brings to the mailbox, if anything. The lock is held."""
        head = ~datagram[0]
        if head < 0:
            return self._whole(opened(datagram))
        self._number += 1
        ticket = _RemoteTicket(self, self._number) if head & 1 else None
        form = self._forms.get(head >> 1)
        if form is None:  # the message that told of it could not be read, which has ended the run
            self._lose("error")
            return None
        return form.made(datagram, self._lease, ticket)

    def _whole(self, fields: tuple[Any, ...]) -> tuple[Stamp, Any, int, Ticket | None] | None:
        """The same of one that can be read by itself."""
        kind, has_ticket, origin, seq, captured_ns, offset_ns, sent_ns, what = fields
        message, ticket = None, None
        if what is not None:
            self._number += 1
            if has_ticket:
                ticket = _RemoteTicket(self, self._number)
            try:
                message = decoded[kind](what, self._lease)
                if kind == wire.FORM:
                    self._forms[what[0]] = learned(origin, message, what[1])
            except Exception as e:  # whatever the message's own class raises
                if self._settle is None or self._settle():
                    self._lose("error")
                    self._on_error(e)
                else:
                    self._lose("lost")
                return None
            if self._settle is not None and not self._settle():
                self._lose("lost")
                message, ticket = None, None
        elif kind == wire.END:
            self._mailbox.close()
            return None
        elif kind == wire.SKIP:
            for slot in fields[1]:
                self._ring.skip(slot)
                self._is_read(slot)
            return None
        return of_fields(Stamp, (origin, seq, captured_ns, offset_ns)), message, sent_ns, ticket

    def _is_read(self, slot: int) -> None:
        """An array in a slot is not looked at any more."""
        queue = self._queue
        if queue is None or not queue.give_back(slot):
            self.tell(wire.SLOT, slot)

    def _lose(self, cause: Cause) -> None:
        """Count a message that cannot be used."""
        self._mailbox.tally.drop(cause)
        if self._mailbox.on_taken is not None:
            self._mailbox.on_taken()

    def tell(self, kind: int, value: int) -> None:
        """Send a note to the producer. Callable from destructors, in any thread: it neither waits nor raises."""
        try:
            self._socket.send(wire.note(kind, value))
        except OSError:  # the producer is gone, and with it whoever would want to know
            pass

    def _tell_taken(self) -> None:
        """The mailbox has given out a message: tell how many that makes, before the producer can be out of room."""
        queue = self._queue
        is_late = self._taken - self._told >= self._tells_every
        if is_late or (queue is not None and queue.read_since(self._told_at) >= LARGEST):
            self._tell_how_many()

    def _tell_rest(self) -> None:
        """Tell of all that was taken, for the producer to use the last place too."""
        if self._taken > self._told:
            self._tell_how_many()

    @property
    def _taken(self) -> int:
        return max(0, self._mailbox.tally.settled - self._base)

    def _tell_how_many(self) -> None:
        taken = self._told = self._taken  # told is what was read here, whatever another thread does meanwhile
        self._told_at = 0 if self._queue is None else self._queue.at
        self.tell(wire.TAKEN, taken)

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


class _RemoteTicket(Ticket):
    """Stands for the ticket that waits in the producer; its end is told there."""

    __slots__ = ("_inlet", "_number")

    def __init__(self, inlet: Inlet, number: int) -> None:
        self._inlet, self._number = inlet, number

    def __del__(self) -> None:
        self._inlet.tell(wire.DONE, self._number)
