"""What happens when a node fails or does not return: policies, back-off, and a detector outside user code."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterable
from threading import Thread
from time import monotonic_ns
from typing import Protocol

from graph.errors import Stalled
from graph.node import Stamp
from graph.spec import NodeSpec
from graph.tally import Tally

log = logging.getLogger(__name__)
LONGEST_BACKOFF_S = 30.0


class Restarts:
    """How often, and after which pause, a node may be restarted."""

    def __init__(self, spec: NodeSpec) -> None:
        self._spec = spec
        self.count = 0

    def next_pause_s(self) -> float | None:
        """The pause before the next restart; None: there were enough."""
        if self.count >= self._spec.max_restarts:
            return None
        pause: float = min(self._spec.backoff_s * 2**self.count, LONGEST_BACKOFF_S)
        self.count += 1
        return pause


class Watched(Protocol):
    """What the stall detector sees of a node at work."""

    spec: NodeSpec
    tally: Tally
    busy_since_ns: int
    """When the step under way began; 0 between steps."""
    stamp: Stamp | None

    def thread(self) -> Thread:
        """The thread that the node is stepped by."""
        ...


class StallDetector:
    """Looks at all nodes from outside and reports each step that takes too long, once, with the node's stack."""

    def __init__(self, watched: Iterable[Watched]) -> None:
        self._watched = list(watched)
        self._reported: dict[str, int] = {}

    def look(self) -> Stalled | None:
        """Report what is stuck; the error of one whose policy is to stop."""
        fatal = None
        for w in self._watched:
            since_ns, limit_s = w.busy_since_ns, w.spec.stall_after_s
            if not since_ns or limit_s is None or self._reported.get(w.spec.name) == since_ns:
                continue
            stuck_s = (monotonic_ns() - since_ns) / 1e9
            if stuck_s < limit_s:
                continue
            self._reported[w.spec.name] = since_ns
            w.tally.stalls += 1
            error = Stalled(w.spec.name, "process", f"it has not returned for {stuck_s:.1f} s", stamp=w.stamp)
            log.warning("%s; it is here:\n%s", error, stack_of(w.thread()))
            fatal = error if w.spec.on_stall == "stop" else fatal
        return fatal


def stack_of(thread: Thread) -> str:
    """Where a thread is at this moment, as text; ours is the first part of it, the node's the last."""
    frame = sys._current_frames().get(thread.ident or -1)
    return "".join(traceback.format_stack(frame)).rstrip() if frame else "  (its thread has ended)"
