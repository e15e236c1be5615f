"""Whether each node is at work, and as often as it should be."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from time import monotonic, monotonic_ns

from graph.plan import Plan
from graph.tally import BUSY_SINCE, UP, Tally

WINDOW_S = 3.0
EVERY_S = 0.25


class Health:
    """Looks at all nodes now and then, from outside: a node that hangs cannot tell."""

    def __init__(self, plan: Plan, tallies: Mapping[str, Tally]) -> None:
        self._specs = {name: node.spec for name, node in plan.nodes.items()}
        self._tallies = tallies
        self._seen: dict[str, deque[tuple[float, int]]] = {name: deque() for name in tallies}
        self._looked_at = 0.0

    def look(self) -> None:
        """Note how far each node has come; may be called as often as one likes."""
        now = monotonic()
        if now - self._looked_at < EVERY_S:
            return
        self._looked_at = now
        for name, seen in self._seen.items():
            seen.append((now, self._tallies[name].steps))
            while len(seen) > 2 and now - seen[1][0] >= WINDOW_S:
                seen.popleft()

    def is_alive(self, name: str) -> bool:
        """Whether the node is set up, not waiting for a restart, and not stuck in a step."""
        cells, limit_s = self._tallies[name].cells, self._specs[name].stall_after_s
        since_ns = cells[BUSY_SINCE]
        is_stuck = bool(since_ns) and limit_s is not None and monotonic_ns() - since_ns > limit_s * 1e9
        return bool(cells[UP]) and not is_stuck

    def rate_hz(self, name: str) -> float | None:
        """Steps a second over the last seconds; None while it is too early to tell."""
        seen = self._seen[name]
        if len(seen) < 2 or seen[-1][0] - seen[0][0] < WINDOW_S - 2 * EVERY_S:
            return None
        return (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0])

    def rate_is_ok(self, name: str) -> bool:
        """Whether it makes at least `min_rate_hz` steps a second, where that is asked of it."""
        wanted_hz = self._specs[name].min_rate_hz
        rate_hz = self.rate_hz(name)
        return wanted_hz is None or rate_hz is None or rate_hz >= wanted_hz
