"""The producer's end of the edges that leave its process: one outlet for all that listen to an output.

To a step it is what a mailbox is: it is offered messages, says whether there is room, and is closed at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graph.node import Stamp
from graph.packet import Ticket, mark_told
from graph.spec import Policy
from graph.transport import wire
from graph.transport.flat import SMALL
from graph.transport.link import Link
from graph.transport.memory import Writer
from graph.transport.packer import Packer
from graph.transport.ring import BYTE
from graph.transport.views import Array

CACHED = 1 << 20  # bytes that a processor keeps at hand


class Outlet:
    """One output of a node, for all edges that leave the process: a message is encoded once, copied at most once."""

    def __init__(self, ring: Writer, links: Sequence[Link]) -> None:
        self.ring, self.links = ring, links
        self._slot_bytes = ring.spec.slot_bytes
        self._is_small = self._slot_bytes <= CACHED
        """Whether the slot that came back last is best: of large ones part is still in its reader's cache."""
        self.policy: Policy = "block" if any(link.edge.policy == "block" for link in links) else "latest"
        self._packer = Packer(ring)
        self._telling = [link for link in links if link.edge.tells_absence]
        self.tells_absence = bool(self._telling)
        for link in links:
            link.waits = self.policy == "block"
        self._is_plain = all(link.is_plain for link in links)
        self._publishes = ring.awaits_readers
        self._blocking = [link for link in links if link.edge.policy == "block"]

    def has_room(self) -> bool:
        """Whether all consumers that must not lose anything can take one more."""
        for link in self._blocking:
            if not link.has_room():
                return False
        return not self._blocking or self._has_slot()

    def _has_slot(self) -> bool:
        if self.ring.has_free:
            return True
        self._drain()
        if self.ring.has_free:
            return True
        for link in self.links:
            link.ask()
        self._collect()
        return self.ring.has_free

    def _collect(self) -> None:
        for link in self.links:
            link.collect()

    def _drain(self) -> None:
        for link in self.links:
            link.drain()

    def loan(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """A writable array, in a slot if one is free; the bytes of a small one go with its message."""
        kind = BYTE if dtype == "uint8" else np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        if size <= SMALL or size > self._slot_bytes:
            return np.empty(shape, kind)
        if self._is_small:
            self._collect()
        lend = self.ring.loan
        found = lend(shape, kind, is_frugal=True)
        if found is None:  # some may have come back; new pages take milliseconds
            self._collect()
            found = lend(shape, kind, is_frugal=True)
        if found is None:
            self._drain()
            found = lend(shape, kind)
        return np.empty(shape, kind) if found is None else found

    def offer(self, stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None) -> None:
        """Send a message to all that want it; None: there is none for this capture."""
        if self._is_plain:
            for link in self._telling:
                mark_told(link.told, stamp)
            if message is not None:
                self._send(self.links, stamp, message, sent_ns, ticket)
            elif self._telling:
                self._tell_absence(self._telling, stamp)
            return
        takers = [link for link in self.links if link.wants(stamp, message)]
        if takers:
            self._send(takers, stamp, message, sent_ns, ticket)
        if self.tells_absence:
            self._tell_absence([link for link in self.links if link not in takers], stamp)

    def _send(self, takers: Sequence[Link], stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None) -> None:
        has_ticket, packer = ticket is not None, self._packer
        encoded = packer.in_form(stamp, message, sent_ns, has_ticket=has_ticket)
        if encoded is None and (encoded := self._whole(takers, stamp, message, sent_ns, has_ticket)) is None:
            self._tell_absence(takers, stamp)
            return
        published = self.ring.publish(encoded.slots) if self._publishes else ()
        for link in takers:
            if not link.send(encoded, ticket):
                link.send(packer.whole(stamp, message, sent_ns, has_ticket=has_ticket, form=encoded.form), ticket)
        if published:
            for link in self.links:
                if link not in takers:
                    link.skip(published)
        for slot in encoded.held:
            self.ring.release(slot)

    def _whole(
        self, takers: Sequence[Link], stamp: Stamp, message: Any, sent_ns: int, has_ticket: bool
    ) -> wire.Encoded | None:
        """The message for consumers that know nothing of it; None where there is no slot for it, which is counted."""
        packer = self._packer
        try:
            packer.is_frugal = True
            try:
                return packer.whole(stamp, message, sent_ns, has_ticket=has_ticket)
            except wire.NoSlot:  # some may have come back meanwhile
                self._drain()
                packer.is_frugal = False
                return packer.whole(stamp, message, sent_ns, has_ticket=has_ticket)
        except wire.NoSlot:
            for link in takers:
                link.lose("full")
            return None
        except Exception as e:
            for link in takers:
                link.lose("error")
            raise self._unsendable(message, e) from e

    def _unsendable(self, message: Any, e: Exception) -> wire.Unsendable:
        """The error of a message that cannot go to another process."""
        edge, name = self.links[0].edge, type(message).__name__
        if not isinstance(e, wire.TooBig):
            return wire.Unsendable(f"its {name} cannot go to another process ({edge.name}): {type(e).__name__}: {e}")
        return wire.TooBig(
            f"its {name} does not fit the memory planned for {edge.name}: {e}; "
            f"correct what `emits` of the node says of it, or `size_bytes` of {name}"
        )

    def _tell_absence(self, links: Sequence[Link], stamp: Stamp) -> None:
        """Tell those that have to know it that there is nothing for them."""
        told = [link for link in links if link.wants_absence(stamp)]
        if told:
            nothing = wire.absence(stamp)
            for link in told:
                link.send(nothing, None, counts=False)

    def close(self) -> None:
        """Tell all consumers that nothing more will come."""
        for link in self.links:
            link.end()
