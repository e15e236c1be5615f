"""The input buffer of one edge."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import Any

from graph.bell import Bell
from graph.node import Stamp, of_fields
from graph.packet import Packet, Ticket
from graph.spec import Policy
from graph.tally import DROPPED, HANDED, OFFERED, TAKEN, THINNED, Cause, EdgeTally

HOLD_WINDOW = 64  # a held edge keeps what a slower anchor may still ask for, not more
BEFORE_ALL = -(2**63)


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
        self.capacity, self.policy, self.every, self.tells_absence = capacity, policy, every, tells_absence
        self.tally = tally or EdgeTally()
        self.on_room: Bell | None = None
        """Bell of the producer, rung when a full mailbox has room again."""
        self.on_taken: Callable[[], None] | None = None
        """Called for each message that leaves; for a producer in another process, which cannot look."""
        self.on_wanted: Callable[[], None] | None = None
        """Called where the consumer waits for more than is here: the producer must know of all the room by then."""
        self.closed = False
        self.is_cut_off = False
        """Whether its producer is gone for now: nothing is to be waited for, but more may come."""
        self.is_abandoned = False
        """Whether its consumer has ended: nothing is kept, and nobody waits for room."""
        self.told: dict[str, Stamp] = {}
        """Up to where each origin has told everything; kept only where absence matters."""
        self._bell = bell
        self._overwrites = policy == "latest"
        self._is_special = every > 1 or tells_absence or policy == "hold"
        self.packets: deque[Packet] = deque()
        """What waits, oldest first. Others only look whether there is anything."""
        self._books = self.tally.cells
        self._matched_ns = BEFORE_ALL
        """When the last one was captured of those that were taken out of their order."""
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
        if packet.message is not None and (self._books[OFFERED] - 1) % self.every:
            self._books[THINNED] += 1
            packet = Packet(packet.stamp, None, packet.sent_ns)
            if not self.tells_absence:
                return
        if self.policy == "hold" and packet.message is None:  # it says how far the edge has told, and no more
            self.told[packet.stamp.origin] = packet.stamp
            self._bell.ring()
            return
        if self.policy == "hold":  # what is held may stay for long; its capture is not under way any more
            packet = Packet(packet.stamp, packet.message, packet.sent_ns)
        with self._lock:
            if self.policy == "hold" and len(self.packets) >= HOLD_WINDOW:
                self._remove(0, None)
            if packet.message is None:
                self._markers += 1
            while packet.message is not None and self._overwrites and len(self) >= self.capacity:
                self._remove(0, "overwritten")
            self.packets.append(packet)
            self.told[packet.stamp.origin] = packet.stamp
        self._bell.ring()

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

    def was_handed(self) -> None:
        """A message went straight to the consumer."""
        self._books[HANDED] += 1
        if self.on_taken is not None:
            self.on_taken()

    def was_stale(self) -> None:
        """The packet taken last turned out to be too old to be used."""
        self._books[TAKEN] -= 1
        self.tally.drop("stale")

    def take_this(self, packet: Packet, drop: Cause | None = None) -> None:
        """Remove a packet that a look into the mailbox returned."""
        with self._lock:
            for i, waiting in enumerate(self.packets):
                if waiting is packet:
                    self._matched_ns = max(self._matched_ns, packet.stamp.captured_ns)
                    self._remove(i, drop)
                    return

    def newest_first(self) -> list[Packet]:
        """What waits, newest first."""
        with self._lock:
            return [p for p in reversed(self.packets) if p.message is not None]

    def match(self, stamp: Stamp) -> Packet | None:
        """The packet of the same capture. Older ones of its origin, which nothing can match any more, are dropped."""
        with self._lock:
            i = 0
            while i < len(self.packets):
                packet = self.packets[i]
                if packet.stamp.origin != stamp.origin or packet.stamp.seq > stamp.seq:
                    i += 1
                elif packet.stamp.seq == stamp.seq:
                    return packet
                else:
                    self._remove(i, "unmatched")
        return None

    def nearest(self, captured_ns: int, align_ns: float) -> Packet | None:
        """The packet nearest in capture time, within `align_ns`. Those of no use for any later capture are dropped.

        Up to the first that was not captured earlier: whether more have come yet must make no difference.
        """
        with self._lock:
            self._forget(captured_ns, align_ns)
            last_ns = self._matched_ns
            near = []
            for packet in self.packets:
                if last_ns >= captured_ns and packet.stamp.captured_ns > last_ns:
                    break
                last_ns = max(last_ns, packet.stamp.captured_ns)
                if packet.message is not None:
                    near.append(packet)
        best = min(near, key=lambda p: abs(p.stamp.captured_ns - captured_ns), default=None)
        return best if best is not None and abs(best.stamp.captured_ns - captured_ns) <= align_ns else None

    def make_room(self, captured_ns: int, align_ns: float) -> None:
        """The next capture comes at `captured_ns` or later, and waits for what is not here yet."""
        with self._lock:
            self._forget(captured_ns, align_ns)
        if self.on_wanted is not None:
            self.on_wanted()

    def _forget(self, captured_ns: int, align_ns: float) -> None:
        """Drop what was captured long before, and all but the last before, which is nearer. The lock is held."""
        before = [t for p in self.packets if (t := p.stamp.captured_ns) <= captured_ns and p.message is not None]
        oldest_ns = max(captured_ns - align_ns, max(before, default=captured_ns))
        while self.packets and self.packets[0].stamp.captured_ns < oldest_ns:
            self._remove(0, "unmatched")

    def sample(self, captured_ns: int) -> Packet | None:
        """The newest packet captured at or before `captured_ns`; it stays, what is older goes."""
        with self._lock:
            found = None
            for packet in self.packets:
                if packet.stamp.captured_ns > captured_ns:
                    break
                found = packet if packet.message is not None else found
            while found is not None and self.packets[0] is not found:
                self._remove(0, None)
            return found

    def keep_only(self, origins: frozenset[str]) -> None:
        """Drop what comes of other origins: its consumer can match none of it, and it would take the room."""
        with self._lock:
            i = 0
            while i < len(self.packets):
                if self.packets[i].stamp.origin in origins:
                    i += 1
                else:
                    self._remove(i, "unmatched")

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
