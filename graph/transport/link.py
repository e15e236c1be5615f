"""One edge out of a process: what its consumer has, what it has given back, and what is lost when it is gone."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from itertools import cycle
from threading import Lock
from typing import Any

from graph.bell import Bell, SocketBell
from graph.node import Stamp
from graph.packet import Ticket, mark_told
from graph.plan import PlannedEdge
from graph.tally import CONNECTED, IN_HAND, OFFERED, THINNED, Cause, EdgeTally
from graph.transport import wire
from graph.transport.form import Form
from graph.transport.memory import Writer
from graph.transport.queue import QueueWriter
from graph.transport.uses import Uses

NOTES = 4096  # bytes of notes read at once


class Link:
    """One edge out of this process: the queue to its consumer, and what that has not given back yet.

    Through the socket between them come notes of the consumer, and its end.

    A consumer that is gone loses what it had, and what is sent until it is connected again; nobody waits for it.
    """

    def __init__(self, edge: PlannedEdge, ring: Writer, bell: Bell, tally: EdgeTally) -> None:
        self.edge, self._capacity = edge, edge.capacity
        self.tally, self._cells = tally, tally.cells
        self._ring, self._bell = ring, bell
        self._socket: socket.socket | None = None
        self._queue: QueueWriter | None = None
        self._is_heard = False
        """Whether the consumer has said that it reads."""
        self._number = 0
        """How many messages were sent to it."""
        self._uses = Uses(ring)
        self._tickets: dict[int, Ticket] = {}
        self._forms: dict[int, Form] = {}
        """Those that the consumer was told of, by their number."""
        self._lock = Lock()
        self.is_short = False
        """Whether the producer waits for what the consumer gives back; else that need not wake it."""
        self._turns = cycle(range(edge.every))
        """See `Mailbox`."""
        self.is_plain = not (edge.is_picky or edge.every > 1)
        """Whether every message is for it."""
        self.waits = edge.policy == "block"
        """Whether the producer waits for slots, so that each has to be told."""
        self._has_ended = False
        self.told: dict[str, Stamp] = {}
        """The last capture of each origin that was offered; kept only where absence matters."""
        self._missed: dict[str, Stamp] = {}
        """The same of what was offered last to a consumer that did not read yet."""

    def connect(self, end: socket.socket, *, is_new: bool, counts_captures: bool) -> None:
        """Send to `end` from now on.

        `is_new`: the consumer has just been started; what an earlier one had not taken is lost.
        `counts_captures`: a source may be waiting for the end of a capture.
        """
        with self._lock:
            self._cut()
            end.setblocking(False)
            if is_new:
                self.tally.cells[CONNECTED] = self.tally.sent
            try:
                self._queue = QueueWriter(end, waits=self.waits)
            except ConnectionError:  # it is gone already
                end.close()
                return
            self._socket, self._number, self._missed = end, 0, {}
            self._is_heard = not self._ring.awaits_readers
            if is_new:
                self._tell_absences(self.told)
            if self._has_ended:
                self._tell_end()
        if isinstance(self._bell, SocketBell):  # who may have missed something says so when nothing more may be sent
            is_urgent = counts_captures or self._ring.awaits_readers
            self._bell.watch(end.fileno(), self.drain, is_urgent=is_urgent, when=lambda: self.is_short)
        self._bell.ring()

    def has_room(self) -> bool:
        """Whether a consumer that must not lose anything can take one more; one that is gone has room."""
        if self._has_place():
            self.is_short = False
            return True
        self.drain()
        self.ask()
        self.is_short = not self._has_place()
        return not self.is_short

    def _has_place(self) -> bool:
        """The same by what is known; large fields may fill the queue before the mailbox is full."""
        queue = self._queue
        if queue is None:
            return True
        return self._is_heard and queue.has_taken(self._number - self._capacity + 1) and queue.has_room()

    def ask(self) -> None:
        """Have the consumer tell when there is more room, or a slot comes back. Whoever asks has to look once more."""
        self.is_short = True
        if (queue := self._queue) is not None:
            queue.ask()

    def _tell_absences(self, told: Mapping[str, Stamp]) -> None:
        """Tell a new consumer what it will not get, so that nobody behind it waits for that. The lock is held."""
        for stamp in told.values():
            if self._queue is not None:
                self._queue.put(wire.absence(stamp).datagram)

    def wants(self, stamp: Stamp, message: Any) -> bool:
        """Whether there is a message, and it is to be sent or counted as lost; one that is left out is counted here."""
        if self.edge.is_picky and stamp.origin not in self.edge.origins:
            return False
        if self.edge.tells_absence:
            mark_told(self.told, stamp)
        cells = self.tally.cells
        if message is not None and next(self._turns):
            cells[OFFERED] += 1
            cells[THINNED] += 1
            return False
        return message is not None

    def wants_absence(self, stamp: Stamp) -> bool:
        """Whether to tell that there is no message, where there is none for this edge."""
        return self.edge.tells_absence and not (self.edge.is_picky and stamp.origin not in self.edge.origins)

    def send(self, encoded: wire.Encoded, ticket: Ticket | None, *, counts: bool = True) -> bool:
        """Send a message; `counts` is False for one that only tells that there is none.

        False: nothing was done, as the consumer does not know the form of the message, and it has to be sent whole.
        """
        if not self._is_heard:
            self.drain()
        datagram, slots, _, kept, form, is_whole = encoded
        cells = self._cells
        with self._lock:
            if kept:
                self._is_there()  # what is lent is scarcer than slots are
            queue = self._queue if self._is_heard else None
            if not is_whole and queue is not None and (form is None or self._forms.get(form.number) is not form):
                return False
            if counts:
                cells[OFFERED] += 1
                cells[IN_HAND] = 1
            if not self._is_heard:
                self._missed = dict(self.told)
            if queue is None or not queue.put(datagram):
                is_full = queue is not None and self._is_there()  # it does not read, and some thousand messages wait
                if counts:
                    self.tally.drop("full" if is_full else "lost")
                    cells[IN_HAND] = 0
                return True
            cells[IN_HAND] = 0
            self._number += counts
            if form is not None and is_whole:
                self._forms[form.number] = form
            self._uses.begin(slots, kept)
            if ticket is not None:
                self._tickets[self._number] = ticket
        return True

    def skip(self, slots: Sequence[int]) -> None:
        """Tell of slots that reach the consumer but are not for it: it gives them back at once."""
        with self._lock:
            if self._queue is None or not self._is_heard:
                return
            if self._queue.put(wire.skip(slots)):  # else it will pass over them by itself
                self._uses.begin(slots)

    def lose(self, cause: Cause) -> None:
        """Count a message that cannot be sent."""
        self.tally.cells[OFFERED] += 1
        self.tally.drop(cause)

    def collect(self) -> None:
        """Take in the slots that the consumer has left to be found."""
        queue = self._queue
        if queue is None or not queue.has_something_back:
            return
        with self._lock:
            if self._queue is queue:
                for slot in queue.given_back():
                    self._uses.end(slot)

    def drain(self) -> None:
        """Take in what the consumer has given back, and what it has to say."""
        with self._lock:
            self._is_there()

    def _is_there(self) -> bool:
        """Take in what the consumer has given back; whether it still is there. The lock is held."""
        self.is_short = False
        if self._queue is not None:
            for slot in self._queue.given_back():
                self._uses.end(slot)
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
                if kind == wire.DONE:
                    self._tickets.pop(value, None)
                elif not self._is_heard:
                    self._is_heard = True
                    self._tell_absences(self._missed)
        return self._queue is not None

    def _cut(self) -> None:
        """Forget the consumer; what it had comes back. The lock is held."""
        end, self._socket = self._socket, None
        queue, self._queue = self._queue, None
        if end is not None:
            if isinstance(self._bell, SocketBell):
                self._bell.forget(end.fileno())
            end.close()
        if queue is not None:
            queue.close()
        self._uses.end_all()
        self._tickets, self._forms = {}, {}
        self._bell.ring()

    def end(self) -> None:
        """Tell the consumer that nothing more will come."""
        with self._lock:
            self._has_ended = True
            self._tell_end()

    def _tell_end(self) -> None:
        """Tell the end, for which there is always room. The lock is held."""
        if self._queue is not None:
            self._queue.put(wire.end(), is_last=True)

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._cut()
