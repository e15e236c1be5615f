"""One of the edges that a node combines: what of it has arrived, and whether more may come of a capture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graph.matching import MatchingMailbox
from graph.node import Stamp
from graph.plan import PlannedEdge

NOTHING = -1


@dataclass(frozen=True, slots=True)
class Input:
    """One edge of a node that combines several."""

    edge: PlannedEdge
    mailbox: MatchingMailbox

    def has_told(self, stamp: Stamp) -> bool:
        """Whether all that this edge has for the capture `stamp` has arrived."""
        if self.mailbox.tells_no_more:
            return True
        if stamp.origin in self.edge.origins or stamp.origin in self.mailbox.told:
            return stamp.seq <= self.passed(stamp.origin)
        return self.has_told_until(stamp.captured_ns)

    def has_told_until(self, captured_ns: int) -> bool:
        """Whether everything captured up to then has arrived, of all origins of the edge, which come in order."""
        told = dict(self.mailbox.told)
        if self.mailbox.tells_no_more or any(s.captured_ns > captured_ns for s in told.values()):
            return True  # of the same moment another origin may have something yet
        everywhere = all(o in told and told[o].captured_ns >= captured_ns for o in self.edge.origins)
        return everywhere and not self.edge.repeats

    def passed(self, origin: str) -> int:
        """The last capture of an origin of which nothing more comes."""
        told = self.mailbox.told.get(origin)
        if told is None:
            return NOTHING
        return told.seq if not self.edge.repeats or self.mailbox.has_all_copies(told) else told.seq - 1


def is_among(stamp: Stamp, stamps: Iterable[Stamp]) -> bool:
    """Whether one of them is of the same capture."""
    return any(s.seq == stamp.seq and s.origin == stamp.origin for s in stamps)
