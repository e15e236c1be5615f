"""Notices a lossless graph that stands still: inputs that are processed together wait for each other, without room."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic

from graph.errors import Standstill
from graph.plan import Plan
from graph.reading import EdgeReading
from graph.tally import BUSY_SINCE, ENTERED, OVER, UP, Tally

LOOK_S = 0.5
STILL_S = 10.0


class StandstillDetector:
    """Looks at a run from outside. Live runs cannot stand still, as they drop what there is no room for."""

    def __init__(
        self, plan: Plan, tallies: Mapping[str, Tally], read_edges: Callable[[], Mapping[str, EdgeReading]]
    ) -> None:
        self._plan, self._tallies, self._read_edges = plan, tallies, read_edges
        self._seen: object = None
        self._since = self._looked_at = monotonic()

    def look(self) -> Standstill | None:
        """What to say of a graph in which nothing has moved for long, while nodes are up and none is in a step."""
        now = monotonic()
        unseen_s = now - self._looked_at
        if not self._plan.lossless or unseen_s < min(LOOK_S, STILL_S / 4):
            return None
        self._looked_at = now
        left = [tally for tally in self._tallies.values() if not tally.cells[OVER]]
        is_at_work = not left or any(t.cells[BUSY_SINCE] or not t.cells[UP] for t in left)
        seen = [(t.steps, t.cells[ENTERED]) for t in left], self._read_edges()
        if is_at_work or seen != self._seen or unseen_s > STILL_S / 2:  # the whole program was stopped, as by Ctrl-Z
            self._seen, self._since = seen, now
        return self._error() if now - self._since >= STILL_S else None

    def _error(self) -> Standstill:
        edges, readings = self._plan.edges, self._read_edges()
        full = [
            f"nodes.{e.target}.inputs.{e.port} is full of what comes from {e.source} (capacity: {e.capacity})"
            for e in edges
            if e.policy == "block" and readings[e.name].waiting >= e.capacity
        ]
        shut = [
            f"nodes.{name}.in_flight lets no more than {node.spec.in_flight} captures in"
            for name, node in self._plan.nodes.items()
            if node.spec.in_flight is not None and not self._tallies[name].cells[OVER]
        ]
        return Standstill([*full, *shut])
