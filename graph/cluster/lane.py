"""Edges between processes of this machine and an actor: sockets and slots on this side, calls on the other."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from graph.bell import SocketBell
from graph.cluster.pull import CUT, END, MESSAGE, Parcel, Shelf, window
from graph.mailbox import HOLD_WINDOW, Mailbox
from graph.node import Stamp
from graph.packet import Packet, Ticket
from graph.plan import PlannedEdge
from graph.tally import CONNECTED, OFFERED, EdgeTally
from graph.transport import memory, wire
from graph.transport.inlet import Inlet
from graph.transport.link import Link
from graph.transport.memory import Handle, Writer
from graph.transport.outlet import Outlet
from graph.transport.ring import RingSpec


class Lane:
    """One edge from here into an actor. What cannot be sent yet waits, and the newest wins where the edge says so."""

    def __init__(
        self,
        edge: PlannedEdge,
        index: int,
        handle: Any,
        bell: SocketBell,
        shelf: Shelf | None,
        post: Callable[..., None],
    ) -> None:
        self.edge = edge
        self.tally = EdgeTally()
        self._index, self._handle, self._bell, self._shelf, self._post = index, handle, bell, shelf, post
        self._box = Mailbox(
            HOLD_WINDOW if edge.policy == "hold" else edge.capacity,
            bell=bell,
            policy="block" if edge.policy == "block" else "latest",
            tells_absence=edge.tells_absence,
            tally=self.tally,
        )
        self._box.keeps_word = edge.tells_absence and len(edge.origins) > 1
        self._window = window(edge)
        self._number = self._under_way = 0
        self._tickets: dict[int, Ticket] = {}
        self._inlet: Inlet | None = None
        self._has_ended = self._is_cut_off = False

    def connect(self, end: socket.socket, ring: Handle, spec: RingSpec) -> None:
        """Take what the producer sends by `end`, which becomes ours as `ring` does."""
        if self._inlet is not None:
            self._inlet.drain()
            self._inlet.close()
        try:
            reader = memory.reader(ring, spec)
            on_error = partial(self._post, self._on_error)
            self._inlet = Inlet(self._box, self._bell, end, reader, on_error=on_error)
        finally:
            memory.close(ring)

    def _on_error(self, error: Exception) -> None:
        """What came cannot be read here; its line takes it from there."""
        raise wire.Unsendable(
            f"{self.edge.name}: {type(error).__name__}: {error}; the class of a message must be importable everywhere"
        ) from error

    def pump(self) -> None:
        """Send what waits, as far as the actor has come."""
        while self._under_way < self._window and (packet := self._box.take()) is not None:
            self._send(packet)
        if self._box.is_over() and not self._has_ended:
            self._has_ended = True
            self._call(Parcel(END), None)
        elif self._box.is_cut_off != self._is_cut_off and not self._box.packets:
            self._is_cut_off = self._box.is_cut_off
            if self._is_cut_off:
                self._call(Parcel(CUT), None)

    def _send(self, packet: Packet) -> None:
        stamp, message, ticket = packet.stamp, packet.message, packet.ticket
        counts = ticket is None
        if ticket is not None:
            self._tickets[self._number] = ticket
        self._under_way += counts
        if self._shelf is not None and message is not None:
            message = self._shelf.placed((stamp.origin, stamp.seq, packet.sent_ns), message)
        self._call(Parcel(MESSAGE, tuple(stamp), packet.sent_ns, not counts), message, counts=counts)

    def _call(self, parcel: Parcel, message: Any, *, counts: bool = False) -> None:
        number, self._number = self._number, self._number + 1
        ref = self._handle.take.remote(self._index, number, tuple(parcel), message)
        ref.future().add_done_callback(partial(self._answered, number, counts))

    def _answered(self, number: int, counts: bool, future: Any) -> None:
        """In a thread of Ray's. An actor that does not answer is found dead by its line."""
        if future.exception() is None:
            self._post(self._arrived, number, counts)

    def _arrived(self, number: int, counts: bool) -> None:
        self._under_way -= counts
        self._tickets.pop(number, None)

    def close(self) -> None:
        """End the connection."""
        self._tickets.clear()
        self._box.clear("lost")
        if self._inlet is not None:
            self._inlet.close()


class Landing:
    """The end of one edge from an actor: hands on to a process of this machine."""

    def __init__(self, edge: PlannedEdge, ring: Writer, bell: SocketBell, before: EdgeTally) -> None:
        self.edge = edge
        self.tally = EdgeTally()
        """Its messages are numbered as the actor numbers them, so both count the same ones."""
        self.tally.cells[OFFERED], self.tally.cells[CONNECTED] = before.sent, before.connected
        self._link = Link(replace(edge, every=1), ring, bell, self.tally)  # the actor has thinned them out
        self._outlet = Outlet(ring, [self._link])

    def connect(self, end: socket.socket, *, is_new: bool, counts_captures: bool) -> None:
        """See `Link.connect`."""
        self._link.connect(end, is_new=is_new, counts_captures=counts_captures)

    def has_room(self) -> bool:
        """See `Ends.has_room`."""
        return self._outlet.has_room()

    def take_in(self, parcel: Parcel, ticket: Ticket | None) -> None:
        """See `Ends.take_in`."""
        if parcel.kind == END:
            self._outlet.close()
        else:
            assert parcel.stamp is not None
            self._outlet.offer(Stamp(*parcel.stamp), parcel.message, parcel.sent_ns, ticket)

    def gone(self, error: Exception) -> None:
        """See `Ends.gone`; its line finds it out as well."""

    def close(self) -> None:
        """End the connection."""
        self._link.close()
