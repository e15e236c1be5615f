"""The live status line of a run: on a terminal it stays in place, elsewhere it is a plain line now and then."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from time import monotonic
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from graph import report
from graph.runtime import Runtime

WINDOW_S = 2.0
PLAIN_EVERY_S = 5.0
RECENT_AGES = 200


class Status:
    """Shows frames per second, age, drops, fallbacks and last words. `tick` may be called as often as one likes."""

    def __init__(self, runtime: Runtime, console: Console | None = None) -> None:
        self._runtime = runtime
        self._console = console or Console(stderr=True, highlight=False)
        self._live = (
            Live(console=self._console, auto_refresh=False, transient=True) if self._console.is_terminal else None
        )
        self._seen: deque[tuple[float, int]] = deque()
        self._last = monotonic()

    def __enter__(self) -> Status:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def tick(self) -> None:
        """Refresh, if it is time to."""
        now = monotonic()
        if now - self._last < (0.2 if self._live else PLAIN_EVERY_S):
            return
        self._last = now
        text = self.line(now)
        if self._live is not None:
            self._live.update(Text(text, overflow="ellipsis", no_wrap=True), refresh=True)
        else:
            self._console.print(text, markup=False, soft_wrap=True)

    def line(self, now: float) -> str:
        """The status in one line."""
        entered = report.frames(self._runtime)
        self._seen.append((now, entered))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()
        (t0, n0), (t1, n1) = self._seen[0], self._seen[-1]
        fps = f"{(n1 - n0) / (t1 - t0):.1f} fps" if t1 > t0 else "-- fps"
        return "  ".join(
            part for part in (f"{entered} frames", fps, self._age(), *self._losses(), *self._told()) if part
        )

    def _age(self) -> str:
        ages = [a for n in self._runtime.read_nodes() if n.is_sink for a in list(n.tally.ages_ns)[-RECENT_AGES:]]
        p50, p99 = report.percentile_s(ages, 50), report.percentile_s(ages, 99)
        return f"age {p50 * 1e3:.0f}/{p99 * 1e3:.0f} ms" if p50 is not None and p99 is not None else ""

    def _losses(self) -> list[str]:
        lost = {e.name: sum(e.dropped.values()) for e in self._runtime.read_edges()}
        dropped = [f"{name} {n}" for name, n in lost.items() if n]
        errors = [f"{n.name} {n.tally.errors}" for n in self._runtime.read_nodes() if n.tally.errors]
        return [
            *(["drops: " + ", ".join(dropped)] if dropped else []),
            *(["errors: " + ", ".join(errors)] if errors else []),
        ]

    def _told(self) -> list[str]:
        """What nodes have to say of themselves: a fallback, the last words."""
        told = []
        for node in self._runtime.read_nodes():
            facts: Mapping[str, Any] = node.facts
            model = facts.get("model", {})
            if model.get("fallback") == "true":
                told.append(f"{node.name} FELL BACK to {model['device']}")
            elif model.get("refused"):
                told.append(f"{node.name} on {model['backend']}, choice {int(model['step']) + 1} ({model['refused']})")
            if not node.is_alive:
                told.append(f"{node.name} IS DOWN")
            elif not node.rate_is_ok:
                told.append(f"{node.name} IS SLOW")
            if node.words:
                told.append(f"{node.name}: {node.words}")
        return told
