"""What the counts of nodes and edges say at one moment, for metrics, status line and summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graph.tally import Tally


@dataclass(frozen=True, slots=True)
class EdgeReading:
    """The counts of one edge at one moment."""

    name: str
    offered: int
    thinned: int
    """Left out by `every`."""
    waiting: int
    """In the mailbox, or on the way to it."""
    delivered: int
    dropped: Mapping[str, int]
    """Packets lost, by cause."""

    @property
    def balances(self) -> bool:
        """Whether every packet is accounted for."""
        return self.offered == self.thinned + self.waiting + self.delivered + sum(self.dropped.values())


@dataclass(frozen=True, slots=True)
class NodeReading:
    """The counts of one node at one moment."""

    name: str
    is_sink: bool
    tally: Tally
    facts: Mapping[str, Mapping[str, str]]
    words: str = ""
    """What the node has to say of itself."""
    is_alive: bool = True
    """Whether it is set up, not waiting for a restart, and not stuck."""
    rate_is_ok: bool = True
    """Whether it makes as many steps a second as `min_rate_hz` asks for."""
