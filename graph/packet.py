"""What really travels on an edge: a message with its stamp. Only graph/ sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from graph.node import Stamp


class Packet(NamedTuple):
    """One message on its way. A message of None says: for this capture there will be nothing on this edge."""

    stamp: Stamp
    message: Any
    sent_ns: int
    ticket: Ticket | None = None


def mark_told(told: dict[str, Stamp], stamp: Stamp) -> None:
    """Mark in `told` up to where the origin of `stamp` has told everything.

    Behind a live merge one way may be later than another: what comes by it then says nothing new. A source may say
    once more of its last capture that nothing has come since, until a later time.
    """
    last = told.get(stamp.origin)
    if last is None or stamp.seq > last.seq or (stamp.seq == last.seq and stamp.captured_ns >= last.captured_ns):
        told[stamp.origin] = stamp


class Door:
    """Admits at most `in_flight` captures between a source and the last of its sinks; None admits all."""

    __slots__ = ("_free", "_on_return")

    def __init__(self, in_flight: int | None, on_return: Callable[[], None]) -> None:
        self._free = None if in_flight is None else deque([None] * in_flight)
        self._on_return = on_return

    @property
    def is_open(self) -> bool:
        """Whether one more capture may enter."""
        return self._free is None or bool(self._free)

    def enter(self) -> Ticket | None:
        """A ticket for the capture that enters now; only while the door is open."""
        if self._free is None:
            return None
        self._free.pop()
        return Ticket(self)

    def give_back(self) -> None:
        """Called by a ticket at its end, in any thread, at any point: takes no lock that a thread may hold."""
        if self._free is not None:
            self._free.append(None)
            self._on_return()


class Ticket:
    """Lives as long as a packet of its capture does; its end lets the next capture in.

    The packets are its only owners, so no path through the graph (a drop, a join, an error) can forget to count.
    """

    __slots__ = ("_door",)

    def __init__(self, door: Door) -> None:
        self._door = door

    def __del__(self) -> None:
        self._door.give_back()
