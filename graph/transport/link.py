"""One edge out of a process: what its consumer has, what it has given back, and what is lost when it is gone."""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from threading import Lock, Thread
from typing import Any

from graph.bell import Bell, SocketBell
from graph.node import Stamp
from graph.packet import Ticket
from graph.plan import PlannedEdge
from graph.tally import CONNECTED, IN_HAND, OFFERED, THINNED, Cause, EdgeTally
from graph.transport import wire
from graph.transport.memory import Writer

NOTES = 4096  # bytes of notes read at once


class Link:
    """One edge out of this process: its socket, and what its consumer has not given back yet.

    A consumer that is gone loses what it had, and what is sent until it is connected again; nobody waits for it.
    """

    def __init__(self, edge: PlannedEdge, ring: Writer, bell: Bell, tally: EdgeTally) -> None:
        self.edge = edge
        self.tally = tally
        self._ring, self._bell = ring, bell
        self._socket: socket.socket | None = None
        self._is_heard = False
        """Whether the consumer has said that it reads."""
        self._number = 0
        self._taken = 0
        """How many messages the consumer has taken, by its last note."""
        self._slots: dict[int, int] = {}
        """How often the consumer uses each slot."""
        self._tickets: dict[int, Ticket] = {}
        self._lock = Lock()
        self._writable = select.poll()
        self._has_ended = False
        self._told: dict[str, Stamp] = {}
        """The last capture of each origin that was offered; kept only where absence matters."""

    def connect(self, end: socket.socket, *, is_new: bool, counts_captures: bool) -> None:
        """Send to `end` from now on.

        `is_new`: the consumer has just been started; what an earlier one had not taken is lost.
        `counts_captures`: a source may be waiting for the end of a capture.
        """
        with self._lock:
            self._cut()
            end.setblocking(False)
            self._socket, self._number, self._taken = end, 0, 0
            self._writable = select.poll()
            self._writable.register(end, select.POLLOUT)
            self._is_heard = not self._ring.awaits_readers
            if is_new:
                self.tally.cells[CONNECTED] = self.tally.sent
                self._tell_absences()
            if self._has_ended:
                self._tell_end()
        if isinstance(self._bell, SocketBell):
            self._bell.watch(end.fileno(), self.drain, is_urgent=counts_captures)
        self._bell.ring()

    def has_room(self) -> bool:
        """Whether a consumer that must not lose anything can take one more; one that is gone has room."""
        if not self._is_heard or self._number - self._taken >= self.edge.capacity:
            self.drain()
        if self._socket is None:
            return True
        # Large fields may fill the socket before the mailbox is full; whoever empties that tells it by what he takes.
        has_place = self._is_heard and self._number - self._taken < self.edge.capacity
        return has_place and bool(self._writable.poll(0))

    def _tell_absences(self) -> None:
        """Tell a new consumer what it will not get, so that nobody behind it waits for that. The lock is held."""
        for stamp in self._told.values():
            try:
                assert self._socket is not None
                self._socket.send(wire.absence(stamp).datagram(0, has_ticket=False))
            except OSError:  # it is gone again; the next one will be told
                return

    def wants(self, stamp: Stamp, message: Any) -> bool:
        """Count an offer; whether it is to be sent, as a message or, by `tells_absence`, as None."""
        if self.edge.tells_absence:
            self._told[stamp.origin] = stamp
        if message is None:
            return self.edge.tells_absence
        cells = self.tally.cells
        cells[OFFERED] += 1
        if (cells[OFFERED] - 1) % self.edge.every:
            cells[THINNED] += 1
            return False
        cells[IN_HAND] = 1
        return True

    def send(self, encoded: wire.Encoded, ticket: Ticket | None, *, counts: bool = True) -> None:
        """Send a message; `counts` is False for one that only tells that there is none."""
        if not self._is_heard:
            self.drain()
        with self._lock:
            end = self._socket
            if end is None or not self._is_heard:
                self.lose("lost", counts=counts)
                return
            number = self._number + counts
            try:
                end.send(encoded.datagram(number, has_ticket=ticket is not None))
            except BlockingIOError:  # it has stopped reading, and some hundred messages wait in the socket
                self.lose("full", counts=counts)
            except OSError:
                self.lose("lost", counts=counts)
                self._cut()
            else:
                self.tally.cells[IN_HAND] = 0
                self._number = number
                self._use(encoded.slots)
                if ticket is not None:
                    self._tickets[number] = ticket

    def skip(self, slots: Sequence[int]) -> None:
        """Tell of slots that reach the consumer but are not for it: it gives them back at once."""
        with self._lock:
            if self._socket is None or not self._is_heard:
                return
            try:
                self._socket.send(wire.skip(slots))
            except BlockingIOError:  # it will pass over them by itself
                pass
            except OSError:
                self._cut()
            else:
                self._use(slots)

    def _use(self, slots: Sequence[int]) -> None:
        for slot in slots:
            self._ring.use(slot)
            self._slots[slot] = self._slots.get(slot, 0) + 1

    def lose(self, cause: Cause, *, counts: bool = True) -> None:
        """Count a message that is not sent."""
        if counts:
            self.tally.drop(cause)
            self.tally.cells[IN_HAND] = 0

    def drain(self) -> None:
        """Take in what the consumer has given back."""
        with self._lock:
            while self._socket is not None:
                try:
                    data = self._socket.recv(NOTES)
                except BlockingIOError:
                    break
                except OSError:
                    data = b""
                if not data:
                    self._cut()
                    break
                for kind, value in wire.notes(data):
                    if kind == wire.SLOT:
                        self._given_back(value)
                    elif kind == wire.TAKEN:
                        self._taken = value
                        self._is_heard = True
                        self._bell.ring()
                    else:
                        self._tickets.pop(value, None)

    def _given_back(self, slot: int) -> None:
        self._slots[slot] -= 1
        if not self._slots[slot]:
            del self._slots[slot]
        self._ring.release(slot)

    def _cut(self) -> None:
        """Forget the consumer; what it had comes back. The lock is held."""
        end, self._socket = self._socket, None
        if end is not None:
            if isinstance(self._bell, SocketBell):
                self._bell.forget(end.fileno())
            end.close()
        for slot, uses in self._slots.items():
            for _ in range(uses):
                self._ring.release(slot)
        self._slots, self._tickets = {}, {}
        self._bell.ring()

    def end(self) -> None:
        """Tell the consumer that nothing more will come."""
        with self._lock:
            self._has_ended = True
            self._tell_end()

    def _tell_end(self) -> None:
        """Tell the end, also to a consumer that does not read at the moment. The lock is held."""
        if self._socket is not None:
            try:
                self._socket.send(wire.end())
            except BlockingIOError:
                Thread(target=_send_end, args=(self._socket.dup(),), name="cauce-end", daemon=True).start()
            except OSError:
                pass

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._cut()


def _send_end(end: socket.socket) -> None:
    """Tell the end through `end` as soon as there is room; whoever does not read until then may take any time."""
    writable = select.poll()
    writable.register(end, select.POLLOUT)
    with end:
        while True:
            writable.poll()
            try:
                end.send(wire.end())
            except BlockingIOError:
                continue
            except OSError:  # the consumer is gone
                pass
            return
