"""What the inputs of a join need not keep any more.

What nothing will match takes the room of what is waited for, and keeps its source from letting others in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from time import monotonic_ns
from typing import TypeAlias

from graph.input import Input, is_among
from graph.node import Stamp
from graph.packet import Packet

Told: TypeAlias = tuple[Input, bool, Mapping[str, Stamp]]
"""An anchor, whether it tells no more, and how far it has told."""

PATIENCE_NS = 1_000_000_000  # that long the captures of one live source may keep it waiting for those of another


class Expiry:
    """Drops from the other inputs of a join what its anchors can match no more."""

    def __init__(self, anchors: Sequence[Input], others: Iterable[Input], *, align_ns: float, lossless: bool) -> None:
        self._anchors, self._align_ns, self._lossless = anchors, align_ns, lossless
        origins: frozenset[str] = frozenset().union(*(a.edge.origins for a in anchors))
        self._others = [(i, bool(origins - i.edge.origins)) for i in others if i.edge.policy != "hold"]
        """Each with whether some anchors have no capture of their own there, and match by time."""

    def look(self) -> None:
        """Drop what need not be kept as things stand at this moment, when no anchor or not the oldest is decided."""
        if not any(i.mailbox.packets for i, _ in self._others):
            return
        told = [(a, a.mailbox.tells_no_more, dict(a.mailbox.told)) for a in self._anchors]  # before what waits
        waiting = [p.stamp for a in self._anchors for p in a.mailbox.newest_first()]
        for i, is_by_time in self._others:
            if is_by_time and self._lossless and self._may_match_by_time(i, told):
                continue
            i.mailbox.expire(lambda stamp: _is_past(stamp, told) and not is_among(stamp, waiting))
            if not self._lossless:
                i.mailbox.give_up(monotonic_ns() - PATIENCE_NS)

    def _may_match_by_time(self, i: Input, told: Sequence[Told]) -> bool:
        """Whether an anchor, also one that comes later, may match by time what is left after what no anchor can."""
        heads = [a.mailbox.head() for a in self._anchors]
        least_ns = [_least_ns(head, seen) for head, (_, _, seen) in zip(heads, told, strict=True)]
        if None not in least_ns:
            i.mailbox.make_room(min(t for t in least_ns if t is not None), self._align_ns)
        return any(heads) or not all(no_more for _, no_more, _ in told)


def _is_past(stamp: Stamp, told: Sequence[Told]) -> bool:
    """Whether no anchor will match the capture `stamp`, by what each has told, and whether it may tell more."""
    same = [t for t in told if stamp.origin in t[0].edge.origins]
    return all(no_more or anchor.is_past(stamp, seen) for anchor, no_more, seen in same or told)


def _least_ns(head: Packet | None, told: Mapping[str, Stamp]) -> int | None:
    """When the next capture of an anchor was made, or later: what waits, or what it has told. None: that is open."""
    return head.stamp.captured_ns if head is not None else max((s.captured_ns for s in told.values()), default=None)
