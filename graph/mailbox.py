"""The input buffer of one edge, and what wakes the worker that waits for it."""

from __future__ import annotations

from collections import deque
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, Literal, get_args

from graph.node import Stamp
from graph.packet import Packet, Ticket
from graph.spec import Policy

Cause = Literal["overwritten", "stale", "unmatched", "error", "stopped"]
HOLD_WINDOW = 64  # a held edge keeps what a slower anchor may still ask for, not more
CAUSES: tuple[Cause, ...] = get_args(Cause)


class Bell:
    """Wakes the thread of one worker. Ringing is cheap, never blocks, and is allowed anywhere, destructors included."""

    __slots__ = ("_queue", "rung")

    def __init__(self) -> None:
        self._queue: SimpleQueue[None] = SimpleQueue()
        self.rung = False

    def ring(self) -> None:
        """Wake the waiter now, or let its next wait return at once. Rings add up to one."""
        if not self.rung:
            self.rung = True
            self._queue.put(None)

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait for a ring. Whatever was written before the ring is visible to the waiter afterwards."""
        try:
            self._queue.get(timeout=timeout_s)
        except Empty:
            pass
        self.rung = False


class Mailbox:
    """Packets of one edge that wait for their consumer. One thread puts, one takes; nothing blocks.

    `latest` drops the oldest when full; `block` relies on its producer to ask `has_room` first; `hold` keeps what may
    still be sampled. The books balance, packets without a message not counted:
    offered = thinned + taken + the sum of dropped + waiting.
    """

    def __init__(
        self, capacity: int, *, bell: Bell, policy: Policy = "latest", every: int = 1, tells_absence: bool = False
    ) -> None:
        self.capacity, self.policy, self.every, self.tells_absence = capacity, policy, every, tells_absence
        self.offered = self.taken = self.thinned = 0
        self.handed = 0
        """Messages that skipped this mailbox, straight to a consumer of the same thread."""
        self.dropped = dict.fromkeys(CAUSES, 0)
        self.on_room: Bell | None = None
        """Bell of the producer, rung when a full mailbox has room again."""
        self.closed = False
        self.told: dict[str, Stamp] = {}
        """Up to where each origin has told everything; kept only where absence matters."""
        self._bell = bell
        self._overwrites = policy == "latest"
        self._is_special = every > 1 or tells_absence or policy == "hold"
        self.packets: deque[Packet] = deque()
        """What waits, oldest first. Others only look whether there is anything."""
        self._markers = 0
        """How many of the packets have no message."""
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.packets) - self._markers

    def has_room(self) -> bool:
        """Whether `put` would keep all that waits."""
        return self.policy != "block" or len(self.packets) - self._markers < self.capacity

    def offer(self, stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None) -> None:
        """Take in a message, at the cost of the oldest when full. None: there is none for this capture."""
        if message is not None:
            self.offered += 1
        elif not self.tells_absence:
            return
        packet = Packet(stamp, message, sent_ns, ticket)
        if self._is_special:
            self._put_special(packet)
            return
        with self._lock:
            while self._overwrites and len(self.packets) >= self.capacity:
                self.packets.popleft()
                self.dropped["overwritten"] += 1
            self.packets.append(packet)
        if not self._bell.rung:
            self._bell.ring()

    def _put_special(self, packet: Packet) -> None:
        """Take in a packet where some are thinned out, held, or without a message."""
        if packet.message is not None and (self.offered - 1) % self.every:
            self.thinned += 1
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
            if self._markers or self.on_room is not None:
                return self._remove(0, None)
            self.taken += 1
            return self.packets.popleft()

    def was_stale(self) -> None:
        """The packet taken last turned out to be too old to be used."""
        self.taken -= 1
        self.dropped["stale"] += 1

    def take_this(self, packet: Packet, drop: Cause | None = None) -> None:
        """Remove a packet that a look into the mailbox returned."""
        with self._lock:
            for i, waiting in enumerate(self.packets):
                if waiting is packet:
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
        """The packet nearest in capture time, within `align_ns`. Those too old for any later capture are dropped."""
        with self._lock:
            while self.packets and self.packets[0].stamp.captured_ns < captured_ns - align_ns:
                self._remove(0, "unmatched")
            near = [p for p in self.packets if p.message is not None]
        best = min(near, key=lambda p: abs(p.stamp.captured_ns - captured_ns), default=None)
        return best if best is not None and abs(best.stamp.captured_ns - captured_ns) <= align_ns else None

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
            self.taken += 1
        else:
            self.dropped[drop] += 1
        return packet
