"""What happens when a node fails or does not return: policies, back-off, and a detector outside user code."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Thread
from time import monotonic_ns

from graph.errors import Stalled
from graph.node import Stamp
from graph.plan import PlannedNode
from graph.spec import NodeSpec
from graph.tally import BUSY_SEQ, BUSY_SINCE, STALLS, Tally

log = logging.getLogger(__name__)
LONGEST_BACKOFF_S = 30.0
WELL_S = 60.0  # who was well for so long before it failed starts counting anew


class Restarts:
    """How often, and after which pause, a node may be restarted."""

    def __init__(self, spec: NodeSpec) -> None:
        self._spec = spec
        self.count = 0

    def next_pause_s(self, well_for_s: float = 0.0) -> float | None:
        """The pause before the next restart, after the node was well for so long; None: there were enough."""
        if well_for_s > WELL_S:
            self.count = 0
        if self.count >= self._spec.max_restarts:
            return None
        pause: float = min(self._spec.backoff_s * 2**self.count, LONGEST_BACKOFF_S)
        self.count += 1
        return pause


@dataclass(frozen=True, slots=True)
class Watched:
    """What the stall detector sees of a node at work, in whatever process."""

    planned: PlannedNode
    tally: Tally
    stack: Callable[[], str]
    """Where its thread is."""
    restart: Callable[[str], None] | None = None
    """Ends the node's process, so that it starts anew; None where it has none of its own."""


class StallDetector:
    """Looks at all nodes from outside and reports each step that takes too long, once, with the node's stack."""

    def __init__(self, watched: Iterable[Watched]) -> None:
        self._watched = list(watched)
        self._reported: dict[str, int] = {}

    def look(self) -> Stalled | None:
        """Report what is stuck, and restart it where that is its policy; the error of one whose policy is to stop."""
        fatal = None
        for w in self._watched:
            spec = w.planned.spec
            since_ns, limit_s = w.tally.cells[BUSY_SINCE], spec.stall_after_s
            if not since_ns or limit_s is None or self._reported.get(spec.name) == since_ns:
                continue
            stuck_s = (monotonic_ns() - since_ns) / 1e9
            if stuck_s < limit_s:
                continue
            self._reported[spec.name] = since_ns
            w.tally.cells[STALLS] += 1
            error = Stalled(spec.name, "process", f"it has not returned for {stuck_s:.1f} s", stamp=_at(w))
            log.warning("%s; it is here:\n%s", error, w.stack())
            if spec.on_stall == "restart" and w.restart is not None:
                w.restart(f"hung in {spec.name}")
            fatal = error if spec.on_stall == "stop" else fatal
        return fatal


def _at(w: Watched) -> Stamp | None:
    """What the node is at, where its captures come from one origin only."""
    origins = frozenset().union(*(e.origins for e in w.planned.edges if e.port == w.planned.anchor))
    return Stamp(next(iter(origins)), w.tally.cells[BUSY_SEQ], 0) if len(origins) == 1 else None


def stack_of(thread: Thread) -> str:
    """Where a thread is at this moment, as text; ours is the first part of it, the node's the last."""
    frame = sys._current_frames().get(thread.ident or -1)
    return "".join(traceback.format_stack(frame)).rstrip() if frame else "  (its thread has ended)"
