"""The counts of one node: written by one thread, cheaply, and read by all."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

BOUNDS_S = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.0167, 0.025, 0.0333, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BOUNDS_NS = [int(s * 1e9) for s in BOUNDS_S]
KEPT_AGES = 65_536


class Histogram:
    """Durations in the buckets `BOUNDS_S`."""

    __slots__ = ("counts", "total_ns")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_ns = 0

    def observe(self, ns: int) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS_NS, ns)] += 1
        self.total_ns += ns

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus' buckets: how many durations were at most as long as each bound."""
        bounds = [*map(str, BOUNDS_S), "+Inf"]
        total = 0
        return [(bound, float(total := total + n)) for bound, n in zip(bounds, self.counts, strict=True)]


class Tally:
    """The counts of one node."""

    __slots__ = ("age", "ages_ns", "at_door", "errors", "gaps", "restarts", "stalls", "took", "waiting_ns")

    def __init__(self) -> None:
        self.errors = self.restarts = self.stalls = 0
        self.waiting_ns = 0
        self.took = Histogram()
        self.age = Histogram()
        self.ages_ns: deque[int] = deque(maxlen=KEPT_AGES)
        self.gaps = 0
        """Captures that a source lost by its own count."""
        self.at_door = 0
        """Captures that a source did not let in because `in_flight` of them were under way."""

    @property
    def steps(self) -> int:
        """Calls of process that returned."""
        return sum(self.took.counts)

    def seen(self, age_ns: int) -> None:
        """Count the age of what a sink showed or said."""
        self.age.observe(age_ns)
        self.ages_ns.append(age_ns)


@dataclass(frozen=True, slots=True)
class EdgeReading:
    """The counts of one edge at one moment."""

    name: str
    waiting: int
    delivered: int
    dropped: Mapping[str, int]
    """Packets lost, by cause."""


@dataclass(frozen=True, slots=True)
class NodeReading:
    """The counts of one node at one moment."""

    name: str
    is_sink: bool
    tally: Tally
    facts: Mapping[str, Mapping[str, str]]
