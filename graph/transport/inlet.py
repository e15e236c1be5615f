"""A consumer's end of an edge from another process: puts what comes into the mailbox, and gives back what was read."""

from __future__ import annotations

import socket
from collections.abc import Callable
from threading import Lock

import numpy as np

from graph.bell import Bell, SocketBell
from graph.mailbox import Mailbox
from graph.packet import Ticket
from graph.tally import Cause
from graph.transport import wire
from graph.transport.memory import Reader
from graph.transport.ring import Bytes, Ref

LARGEST = 1 << 18  # bytes of a datagram; Linux would not let a larger one through


class Inlet:
    """One connection of an edge: it lives as long as its producer does."""

    def __init__(
        self,
        mailbox: Mailbox,
        bell: Bell,
        end: socket.socket,
        ring: Reader,
        *,
        on_error: Callable[[Exception], None],
    ) -> None:
        self._mailbox, self._bell, self._socket, self._on_error = mailbox, bell, end, on_error
        self._ring = ring
        self._is_torn = False
        """Whether an array of the message under way was not there any more."""
        self._buffer = bytearray(LARGEST)
        self._view = memoryview(self._buffer)
        self._lock = Lock()
        self._base = mailbox.taken + sum(mailbox.dropped.values()) + len(mailbox)  # what an earlier producer sent
        self.is_open = True
        end.setblocking(False)
        mailbox.is_cut_off = False
        if mailbox.policy == "block":
            mailbox.on_taken = self._tell_taken
        assert isinstance(bell, SocketBell)
        bell.watch(end.fileno(), self.drain, is_urgent=mailbox.policy != "block")
        self._tell_taken()  # the first note says that somebody reads

    def drain(self) -> None:
        """Take in all that has come."""
        with self._lock:
            while self.is_open:
                try:
                    size = self._socket.recv_into(self._buffer)
                except BlockingIOError:
                    return
                except OSError:
                    size = 0
                if not size:
                    self._ended()
                    return
                self._take_in(self._view[:size])

    def _take_in(self, data: memoryview) -> None:
        kind, has_ticket, number = wire.prefix(data)
        if kind == wire.END:
            self._mailbox.close()
            return
        if kind == wire.SKIP:
            for slot in wire.skipped(data):
                self._ring.skip(slot)
                self.tell(wire.SLOT, slot)
            return
        ticket = _RemoteTicket(self, number) if has_ticket else None
        self._is_torn = False
        try:
            received = wire.decode(data, self._lease)
        except Exception as e:  # whatever the message's own class raises
            if self._is_torn:
                self._lose("lost")
            else:
                self._lose("error")
                self._on_error(e)
            return
        finally:
            self._ring.settle()
        assert received.stamp is not None
        if self._is_torn:
            self._lose("lost")
            self._mailbox.offer(received.stamp, None, received.sent_ns, None)
        else:
            self._mailbox.offer(received.stamp, received.message, received.sent_ns, ticket)

    def _lease(self, ref: Ref) -> Bytes:
        array = self._ring.lease(ref, lambda: self.tell(wire.SLOT, ref.slot))
        if array is None:
            self._is_torn = True
            self.tell(wire.SLOT, ref.slot)
            return np.zeros(ref.size, np.uint8)
        return array

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
        """The mailbox has given out a message: tell how many that makes."""
        mailbox = self._mailbox
        self.tell(wire.TAKEN, max(0, mailbox.taken + sum(mailbox.dropped.values()) - self._base))

    def _ended(self) -> None:
        """The producer is gone: nothing is to be waited for until another one is connected, or the edge is closed."""
        self.is_open = False
        if isinstance(self._bell, SocketBell):
            self._bell.forget(self._socket.fileno())
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
