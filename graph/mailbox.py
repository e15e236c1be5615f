"""The input buffer of one edge."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import cycle
from threading import Lock
from typing import Any

from graph.bell import Bell
from graph.node import Stamp, of_fields
from graph.packet import Packet, Ticket, mark_told
from graph.spec import Policy
from graph.tally import DROPPED, HANDED, OFFERED, TAKEN, THINNED, Cause, EdgeTally

HOLD_WINDOW = 64  # a held edge keeps what a slower anchor may still ask for, not more


class Mailbox:
    """Packets of one edge that wait for their consumer. One thread puts, one takes; nothing blocks.

    `latest` drops the oldest when full; `block` relies on its producer to ask `has_room` first; `hold` keeps what may
    still be sampled. The books balance, packets without a message not counted:
    offered = thinned + taken + the sum of dropped + waiting.
    """

    def __init__(
        self,
        capacity: int,
        *,
        bell: Bell,
        policy: Policy = "latest",
        every: int = 1,
        tells_absence: bool = False,
        tally: EdgeTally | None = None,
    ) -> None:
        self.capacity, self.policy, self.tells_absence = capacity, policy, tells_absence
        self.tally = tally or EdgeTally()
        self.on_room: Bell | None = None
        """Bell of the producer, rung when a full mailbox has room again."""
        self.on_taken: Callable[[], None] | None = None
        """Called for each message that leaves; for a producer in another process, which cannot look."""
        self.closed = False
        self.is_cut_off = False
        """Whether its producer is gone for now: nothing is to be waited for, but more may come."""
        self.is_abandoned = False
        """Whether its consumer has ended: nothing is kept, and nobody waits for room."""
        self.keeps_word = False
        """Whether the consumer hears of what was overwritten: it tells on what its inputs bring, perhaps much later."""
        self.only_joining: frozenset[str] = frozenset()
        """Origins whose captures wait here for those of others, perhaps for long, and are not under way any more."""
        self.told: dict[str, Stamp] = {}
        """Up to where each origin has told everything; kept only where absence matters."""
        self._bell = bell
        self._overwrites = policy == "latest"
        self._is_special = every > 1 or tells_absence or policy == "hold"
        self.packets: deque[Packet] = deque()
        """What waits, oldest first. Others only look whether there is anything."""
        self._books = self.tally.cells
        self._turns = cycle(range(every))
        """0 for each message that `every` lets in: counted anew by a new process, so all edges of a node do alike."""
        self._markers = 0
        """How many of the packets have no message."""
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.packets) - self._markers

    @property
    def offered(self) -> int:
        """Messages that a producer put in."""
        return self._books[OFFERED]

    @property
    def taken(self) -> int:
        """Messages that the consumer took."""
        return self._books[TAKEN]

    @property
    def thinned(self) -> int:
        """Messages that `every` left out."""
        return self._books[THINNED]

    @property
    def handed(self) -> int:
        """Messages that skipped this mailbox, straight to the consumer."""
        return self._books[HANDED]

    @property
    def dropped(self) -> dict[str, int]:
        """Messages lost, by cause."""
        return self.tally.dropped

    @property
    def tells_no_more(self) -> bool:
        """Whether nothing more is to be waited for: it is closed, or its producer is gone for now."""
        return self.closed or self.is_cut_off

    def has_room(self) -> bool:
        """Whether `put` would keep all that waits."""
        return self.policy != "block" or self.is_abandoned or len(self.packets) - self._markers < self.capacity

    def offer(self, stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None) -> None:
        """Take in a message, at the cost of the oldest when full. None: there is none for this capture."""
        if message is not None:
            self._books[OFFERED] += 1
        elif self.tells_absence:
            ticket = None  # nothing of the capture is under way here
        else:
            return
        packet = of_fields(Packet, (stamp, message, sent_ns, ticket))
        if self._is_special:
            self._put_special(packet)
            return
        with self._lock:
            while self._overwrites and len(self.packets) >= self.capacity:
                self.packets.popleft()
                self._books[DROPPED] += 1  # overwritten
            self.packets.append(packet)
        if not self._bell.rung:
            self._bell.ring()

    def _put_special(self, packet: Packet) -> None:
        """Take in a packet where some are thinned out, held, without a message, or of no use any more."""
        if self.is_abandoned:
            if packet.message is not None:
                self.tally.drop("unmatched")
                if self.on_taken is not None:
                    self.on_taken()
            return
        if packet.message is not None and next(self._turns):
            self._books[THINNED] += 1
            packet = Packet(packet.stamp, None, packet.sent_ns)
            if not self.tells_absence:
                return
        if self.policy == "hold" and packet.message is None:  # it says how far the edge has told, and no more
            self._mark_told(packet.stamp)
            self._bell.ring()
            return
        if self.policy == "hold" or packet.stamp.origin in self.only_joining:
            packet = Packet(packet.stamp, packet.message, packet.sent_ns)
        with self._lock:
            if self.policy == "hold" and len(self.packets) >= HOLD_WINDOW:
                self._remove(0, None)
            if packet.message is None:
                self._markers += 1
            while packet.message is not None and self._overwrites and len(self) >= self.capacity:
                self._overwrite()
            self.packets.append(packet)
            self._mark_told(packet.stamp)
        self._bell.ring()

    def _overwrite(self) -> None:
        """Drop the oldest message; the lock is held. What the consumer is to tell on stays as word that it is gone."""
        i = next(i for i, packet in enumerate(self.packets) if packet.message is not None)
        gone = self._remove(i, "overwritten")
        if not self.keeps_word:
            return
        word = Packet(gone.stamp, None, gone.sent_ns)
        if i and self.packets[i - 1].stamp.origin == gone.stamp.origin:
            self.packets[i - 1] = word
        else:
            self.packets.insert(i, word)
            self._markers += 1

    def _mark_told(self, stamp: Stamp) -> None:
        """Mark up to where an origin has told."""
        mark_told(self.told, stamp)

    def head(self) -> Packet | None:
        """The oldest packet, left where it is. One without a message tells that its capture brings nothing."""
        try:
            return self.packets[0]
        except IndexError:
            return None

    def take(self) -> Packet | None:
        """The oldest packet, or None."""
        with self._lock:
            if not self.packets:
                return None
            if self._markers or self.on_room is not None or self.on_taken is not None:
                return self._remove(0, None)
            self._books[TAKEN] += 1
            return self.packets.popleft()

    def follow(self, on_taken: Callable[[], None]) -> int:
        """Have a call made for each message that leaves from now on; how many there are at this moment."""
        with self._lock:
            self.on_taken = on_taken
            return len(self)

    def was_handed(self) -> None:
        """A message went straight to the consumer."""
        self._books[HANDED] += 1
        if self.on_taken is not None:
            self.on_taken()

    def was_stale(self) -> None:
        """The packet taken last turned out to be too old to be used."""
        self._books[TAKEN] -= 1
        self.tally.drop("stale")

    def abandon(self) -> None:
        """The consumer has ended: keep nothing from now on."""
        self.is_abandoned = self._is_special = True
        self.clear("unmatched")
        if self.on_room is not None:
            self.on_room.ring()

    def clear(self, cause: Cause) -> None:
        """Drop all that waits; what is held has had its use."""
        with self._lock:
            while self.packets:
                self._remove(0, None if self.policy == "hold" else cause)

    def is_over(self) -> bool:
        """Whether nothing waits and nothing more can come."""
        return self.closed and not self.packets

    def close(self) -> None:
        """No more packets will come."""
        self.closed = True
        self._bell.ring()

    def _remove(self, i: int, drop: Cause | None) -> Packet:
        """The packet at `i`, removed and entered in the books; the lock is held."""
        packet = self.packets[i]
        was_full = len(self) == self.capacity
        del self.packets[i]
        if packet.message is None:
            self._markers -= 1
            return packet
        if was_full and self.on_room is not None:
            self.on_room.ring()
        if drop is None:
            self._books[TAKEN] += 1
        else:
            self.tally.drop(drop)
        if self.on_taken is not None:
            self.on_taken()
        return packet
