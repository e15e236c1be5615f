"""What the inputs of a join need not keep any more.

What nothing will match takes the room of what is waited for, and keeps its source from letting others in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from graph.input import NOTHING, Input, is_among
from graph.node import Stamp
from graph.packet import Packet

Passed: TypeAlias = tuple[Input, bool, Mapping[str, int]]
"""An anchor, whether it tells no more, and the last capture of each origin of which nothing more comes."""


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
        passed = [_passed(a) for a in self._anchors]  # before what waits
        waiting = [p.stamp for a in self._anchors for p in a.mailbox.newest_first()]
        for i, is_by_time in self._others:
            if is_by_time and self._lossless and self._may_match_by_time(i):
                continue
            i.mailbox.expire(lambda stamp: _is_past(stamp, passed) and not is_among(stamp, waiting))
            if not self._lossless:
                i.mailbox.give_up()

    def _may_match_by_time(self, i: Input) -> bool:
        """Whether an anchor, also one that comes later, may match by time what is left after what no anchor can."""
        over = all(a.mailbox.tells_no_more for a in self._anchors)
        told = [dict(a.mailbox.told) for a in self._anchors]  # before what waits
        heads = [a.mailbox.head() for a in self._anchors]
        least_ns = [_least_ns(*anchor) for anchor in zip(heads, told, strict=True)]
        if None not in least_ns:
            i.mailbox.make_room(min(t for t in least_ns if t is not None), self._align_ns)
        return any(heads) or not over


def _passed(anchor: Input) -> Passed:
    """What is known of an anchor at this moment."""
    origins = anchor.edge.origins | set(anchor.mailbox.told)
    return anchor, anchor.mailbox.tells_no_more, {o: anchor.passed(o) for o in origins}


def _is_past(stamp: Stamp, passed: Sequence[Passed]) -> bool:
    """Whether no anchor will match the capture `stamp`."""
    same = [p for p in passed if stamp.origin in p[0].edge.origins]
    return all(no_more or stamp.seq <= seqs.get(stamp.origin, NOTHING) for _, no_more, seqs in same or passed)


def _least_ns(head: Packet | None, told: Mapping[str, Stamp]) -> int | None:
    """When the next capture of an anchor was made, or later: what waits, or what it has told. None: that is open."""
    return head.stamp.captured_ns if head is not None else max((s.captured_ns for s in told.values()), default=None)
