"""What was seen of one class over the last frames, so that flicker is no news. Knows neither words nor sound."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from statistics import median_low

ANOTHER_NS = 1_500_000_000
"""So soon after the words, somebody with another number is taken for the same one, found again."""
LEAST_FRAMES = 3
"""A class, and how near it is, is believed from so many frames on, of which most say so."""


@dataclass(frozen=True, slots=True)
class Glance:
    """One frame's view of one class."""

    at_ns: int
    count: int
    level: int
    """0 urgent, then the zones from near to far, then what is of unknown distance."""


@dataclass(slots=True)
class Presence:
    """What was seen of one class lately, and what was said of it."""

    glances: deque[Glance] = field(default_factory=deque)
    last_seen_ns: int = 0
    said_count: int = 0
    """0: nothing was said of those who are there."""
    said_level: int = 0
    said_ns: int | None = None
    said_id: int | None = None
    """Number of the one that was spoken of last, where they have numbers."""
    since_ns: dict[str, int] = field(default_factory=dict)

    def look(self, glance: Glance, *, confirm_ns: int, forget_ns: int) -> tuple[int, int]:
        """Take in a frame; the number and the level that most of the last frames tell. A number of 0: not yet sure."""
        kept = self.glances
        kept.append(glance)
        while (age_ns := glance.at_ns - kept[0].at_ns) > confirm_ns and (
            len(kept) > LEAST_FRAMES or age_ns > forget_ns
        ):
            kept.popleft()
        if len(kept) < LEAST_FRAMES or glance.at_ns - kept[0].at_ns < confirm_ns / 2:
            return 0, glance.level
        level = sorted(g.level for g in islice(reversed(kept), LEAST_FRAMES))[LEAST_FRAMES // 2]
        return median_low(g.count for g in kept), level

    def lasts_ns(self, what: str, is_so: bool, *, now_ns: int) -> int:
        """For how long `what` has been so without a break; -1 where it is not."""
        if not is_so:
            self.since_ns.pop(what, None)
            return -1
        return now_ns - self.since_ns.setdefault(what, now_ns)

    def is_another(self, track_id: int | None, *, now_ns: int) -> bool:
        """Whether the one with this number is not the one that was spoken of; at first a new number proves nothing."""
        is_old = self.said_ns is not None and now_ns - self.said_ns > ANOTHER_NS
        return is_old and track_id is not None and track_id != self.said_id
