"""The input buffer of an edge whose packets are combined with those of others: looked into, and taken out of order."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import Any

from graph.mailbox import Mailbox
from graph.node import Stamp
from graph.packet import Packet
from graph.tally import Cause

BEFORE_ALL = -(2**63)
PATIENCE_NS = 1_000_000_000


def is_long_ago(ns: int) -> bool:
    """Whether what should have come since then is not waited for any more, where a live source may be kept waiting."""
    return monotonic_ns() - ns > PATIENCE_NS


class MatchingMailbox(Mailbox):
    """A mailbox that finds the packet which belongs to a capture, and drops what can belong to none any more."""

    _matched_ns = BEFORE_ALL
    """When the last one was captured of those that were taken out of their order."""
    copies = 1
    """How many messages of one capture may come, if they are to be counted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._counted: dict[str, tuple[Stamp, int, int]] = {}
        """By origin: its last capture, how often that was told, and since when."""

    def _mark_told(self, stamp: Stamp) -> None:
        if self.copies > 1:
            last, count, since_ns = self._counted.get(stamp.origin, (None, 0, 0))
            if last is None or stamp.seq > last.seq:
                self._counted[stamp.origin] = stamp, 1, monotonic_ns()
            elif stamp == last:  # and not that nothing has come since
                self._counted[stamp.origin] = last, count + 1, since_ns
        super()._mark_told(stamp)

    def has_all_copies(self, told: Stamp) -> bool:
        """Whether no more are to be waited for of the capture that was told last: all have come, or long ago some."""
        last, count, since_ns = self._counted.get(told.origin, (None, 0, 0))
        return last is not None and last.seq == told.seq and (count >= self.copies or is_long_ago(since_ns))

    def newest_first(self) -> list[Packet]:
        """What waits, newest first."""
        with self._lock:
            return [p for p in reversed(self.packets) if p.message is not None]

    def match(self, stamp: Stamp, *, in_order: bool = True) -> Packet | None:
        """The packet of the same capture. Older ones of its origin, which nothing can match any more, are dropped.

        `in_order`: no older ones will be asked for.
        """
        with self._lock:
            i = 0
            while i < len(self.packets):
                packet = self.packets[i]
                if packet.stamp.origin == stamp.origin and packet.stamp.seq == stamp.seq:
                    return packet
                if in_order and packet.stamp.origin == stamp.origin and packet.stamp.seq < stamp.seq:
                    self._remove(i, "unmatched")
                else:
                    i += 1
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

    def take_this(self, packet: Packet, drop: Cause | None = None) -> None:
        """Remove a packet that a look into the mailbox returned."""
        with self._lock:
            for i, waiting in enumerate(self.packets):
                if waiting is packet:
                    self._matched_ns = max(self._matched_ns, packet.stamp.captured_ns)
                    self._remove(i, drop)
                    return

    def overwrite(self, stamp: Stamp) -> None:
        """Drop the captures of its origin before `stamp`, which was taken in their place."""
        self._drop_all(lambda p: p.stamp.origin == stamp.origin and p.stamp.seq < stamp.seq, "overwritten")

    def make_room(self, captured_ns: int, align_ns: float) -> None:
        """The next capture comes at `captured_ns` or later, and waits for what is not here yet."""
        with self._lock:
            self._forget(captured_ns, align_ns)

    def expire(self, is_past: Callable[[Stamp], bool]) -> None:
        """Drop the captures that nothing can match any more."""
        self._drop_all(lambda packet: is_past(packet.stamp))

    def give_up(self) -> None:
        """Where it is full: drop what has long been waiting for captures of others, whose source may wait as well.

        Two sources that wait for each other's captures would else stand still for ever.
        """
        if not self.has_room():
            self._drop_all(lambda packet: packet.stamp.origin in self.only_joining and is_long_ago(packet.sent_ns))

    def keep_only(self, origins: frozenset[str]) -> None:
        """Drop what comes of other origins: its consumer can match none of it, and it would take the room."""
        self._drop_all(lambda packet: packet.stamp.origin not in origins)

    def _drop_all(self, is_useless: Callable[[Packet], bool], cause: Cause = "unmatched") -> None:
        """Drop what can be used no more, wherever it waits."""
        with self._lock:
            i = 0
            while i < len(self.packets):
                if is_useless(self.packets[i]):
                    self._remove(i, cause)
                else:
                    i += 1
