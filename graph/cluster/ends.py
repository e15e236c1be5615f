"""Where the edges of an actor begin and end. All run in the actor's loop, but what nodes call in their own threads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from graph.bell import Bell
from graph.cluster.loop import LoopBell, Turns, post
from graph.cluster.pull import CUT, END, MESSAGE, Parcel, PulledTicket, Reader, Shelf, shifted
from graph.mailbox import HOLD_WINDOW, Mailbox
from graph.node import Stamp
from graph.packet import Ticket, mark_told
from graph.plan import PlannedEdge
from graph.spec import Policy
from graph.tally import CONNECTED, OFFERED, EdgeTally
from graph.transport.views import Array


class Outbox:
    """What one edge has to send, until its reader asks for it. To a step it is what a mailbox is."""

    def __init__(self, edge: PlannedEdge, tally: EdgeTally, loop: asyncio.AbstractEventLoop, room: Bell) -> None:
        self.edge, self.tally = edge, tally
        self.policy: Policy = "block" if edge.policy == "block" else "latest"
        self.tells_absence = edge.tells_absence
        self.is_cut = False
        """Whether the consumer is dead: what is sent is lost until there is a new one, and nobody waits for it."""
        self.is_shared = False
        self._bell = LoopBell(loop)
        capacity = HOLD_WINDOW if edge.policy == "hold" else edge.capacity
        self._box = Mailbox(
            capacity,
            bell=self._bell,
            policy=self.policy,
            every=edge.every,
            tells_absence=edge.tells_absence,
            tally=tally,
        )
        self._box.on_room = room
        self._box.keeps_word = edge.tells_absence and len(edge.origins) > 1
        self._generation = -1
        self._next = 0
        self._tickets: dict[int, Ticket] = {}
        self._told: dict[str, Stamp] = {}
        """Up to where each origin has been told of, for a consumer that combines it with others."""

    def has_room(self) -> bool:
        """See `Way.has_room`."""
        return self.is_cut or self._box.has_room()

    def offer(self, stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None) -> None:
        """See `Way.offer`."""
        if self.tells_absence:
            mark_told(self._told, stamp)
        self._box.offer(stamp, message, sent_ns, ticket)
        if self.is_cut:
            self._box.clear("lost")

    def close(self) -> None:
        """See `Way.close`."""
        self._box.close()

    def cut(self, generation: int) -> None:
        """The consumer is dead, and with it all readers up to `generation`; a later one may have been heard already."""
        if generation < self._generation:
            return
        self.is_cut = True
        self._box.clear("lost")
        self._tickets.clear()

    async def give(self, reader: Reader, number: int, theta_ns: int, shelf: Shelf, *, lossless: bool) -> Parcel | None:
        """The `number`th parcel for this reader, once there is one; None for a reader that has been replaced."""
        if reader.generation > self._generation:
            self._begin(reader)
        while reader.generation == self._generation:
            if number == self._next and (packet := self._box.take()) is not None:
                self._next += 1
                self._bell.ring()  # whoever waits for the next number
                stamp, message = packet.stamp, packet.message
                if packet.ticket is not None and message is not None:
                    self._tickets[number] = packet.ticket
                if self.is_shared and message is not None:
                    message = shelf.placed((stamp.origin, stamp.seq, packet.sent_ns), message)
                sent = tuple(shifted(stamp, -theta_ns, lossless=lossless))
                return Parcel(MESSAGE, sent, packet.sent_ns - theta_ns, number in self._tickets, message)
            if self._box.is_over():
                return Parcel(END)
            await self._bell.heard()
        return None

    def _begin(self, reader: Reader) -> None:
        """There is a new reader: what another one had is settled."""
        self._generation, self._next, self.is_cut = reader.generation, 0, False
        self._tickets.clear()
        passed = self.tally.sent - len(self._box)
        if reader.is_new:
            self.tally.cells[CONNECTED] = passed
            for stamp in list(self._told.values()) if not self._box.packets else ():
                self._box.offer(stamp, None, 0, None)  # it will not get these, and must not wait for them
        elif reader.had is not None:  # its producer died, whose last counts nobody has heard
            self.correct(self.tally.connected + reader.had - passed)
        self._bell.ring()

    def correct(self, unheard: int) -> None:
        """Enter what an earlier producer sent without telling, or told without its having arrived."""
        if unheard < 0:
            self.tally.drop("lost", -unheard)
        else:
            self.tally.cells[OFFERED] += unheard

    def done(self, generation: int, number: int) -> None:
        """The capture of a parcel has ended, where it went."""
        if generation == self._generation:
            self._tickets.pop(number, None)


class Fan:
    """One output of a node, for all edges by which it leaves."""

    def __init__(self, outboxes: Sequence[Outbox]) -> None:
        self.outboxes = outboxes
        self.policy: Policy = "block" if any(o.policy == "block" for o in outboxes) else "latest"
        self.tells_absence = any(o.tells_absence for o in outboxes)
        self.shelf = Shelf()
        for outbox in outboxes:
            outbox.is_shared = len(outboxes) > 1

    def has_room(self) -> bool:
        """See `Way.has_room`."""
        return all(o.has_room() for o in self.outboxes if o.policy == "block")

    def offer(self, stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None) -> None:
        """See `Way.offer`."""
        for outbox in self.outboxes:
            if not outbox.edge.is_picky or stamp.origin in outbox.edge.origins:
                outbox.offer(stamp, message, sent_ns, ticket)

    def close(self) -> None:
        """See `Way.close`."""
        for outbox in self.outboxes:
            outbox.close()

    def loan(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """A writable array; Ray copies into its store whatever is written elsewhere."""
        return np.empty(shape, dtype)


class Entry:
    """The end of one edge: what comes goes into the mailbox, in the order in which it was sent."""

    def __init__(self, mailbox: Mailbox, consumer: Bell, loop: asyncio.AbstractEventLoop, theta_ns: int) -> None:
        self.mailbox, self._consumer, self._loop, self._theta_ns = mailbox, consumer, loop, theta_ns
        self.on_room: Callable[[], None] = lambda: None
        self.had = 0
        """How many messages have come since the actor was started."""
        self._turns = Turns(loop)
        self._waiting: deque[asyncio.Future[None]] = deque()
        if mailbox.policy == "block":
            mailbox.on_taken = partial(post, loop, self._was_taken)

    async def take(self, number: int, parcel: Parcel, *, lossless: bool) -> None:
        """Take in the `number`th parcel that the run pushes; returns when it needs nothing of the run any more.

        That is when its capture has ended, if the source counts captures; else when it was taken, if it must not be
        lost; else at once.
        """
        await self._turns.come(number)
        ended: asyncio.Future[None] = self._loop.create_future()
        waits = parcel.has_ticket
        ticket = PulledTicket(partial(post, self._loop, _settle, ended)) if parcel.has_ticket else None
        if parcel.kind == MESSAGE and parcel.message is not None and self.mailbox.policy == "block" and not waits:
            waits = True
            self._waiting.append(ended)
        self.take_in(parcel, ticket, lossless=lossless)
        del parcel, ticket
        if waits:
            await ended

    def take_in(self, parcel: Parcel, ticket: Ticket | None, *, lossless: bool) -> None:
        """Put a parcel into the mailbox."""
        mailbox = self.mailbox
        if parcel.kind == END:
            mailbox.close()
        elif parcel.kind == CUT:
            mailbox.is_cut_off = True
            self._consumer.ring()
        else:
            mailbox.is_cut_off = False
            self.had += parcel.message is not None
            assert parcel.stamp is not None
            stamp = shifted(Stamp(*parcel.stamp), self._theta_ns, lossless=lossless)
            mailbox.offer(stamp, parcel.message, parcel.sent_ns + self._theta_ns, ticket)

    def _was_taken(self) -> None:
        if self._waiting:
            _settle(self._waiting.popleft())
        self.on_room()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
