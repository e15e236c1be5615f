"""`command=run`: run the graph, show its status, serve its metrics, leave a summary."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from time import monotonic
from typing import TYPE_CHECKING, Any

from graph import report
from graph.errors import CauceError, ConfigError
from graph.metrics import Server
from graph.node import FIGURES
from graph.runtime import Result, Runtime

if TYPE_CHECKING:
    from graph.compose import Graph

log = logging.getLogger(__name__)


class Run:
    """Runs a graph until its sources end, `frames` have entered, or someone stops it.

    Args:
        frames: End after so many captures of each source; null: when the sources end.
        status: Whether to show the status line.
        metric: The entry of the summary that a sweep optimises, such as "fps" or "age_s.p99".
    """

    def __init__(self, frames: int | None = None, *, status: bool = True, metric: str = "age_s.p99") -> None:
        self.frames, self.status, self.metric = frames, status, metric

    def execute(self, graph: Graph) -> Mapping[str, Any]:
        """Run to the end and return the summary; raises the error that ended the run."""
        from graph.status import Status

        if self.frames is not None and (not isinstance(self.frames, int) or self.frames < 1):
            raise ConfigError([f"command.frames: is {self.frames!r}; expected a whole number, 1 or more, or null"])
        out = graph.config.get("out")
        if out:
            Path(str(out)).mkdir(parents=True, exist_ok=True)
        if graph.plan.off:
            log.info("switched off: %s", ", ".join(graph.plan.off))
        status: Status | None = None
        with stops_on_signals() as stops:
            runtime = Runtime(
                graph.plan, graph.builder, frames=self.frames, on_tick=lambda: status.tick() if status else None
            )
            stops(runtime)
            with _served(runtime, graph.config.get("metrics")):
                started = monotonic()
                if self.status:
                    with Status(runtime) as status:
                        result = runtime.run()
                else:
                    result = runtime.run()
                seconds = monotonic() - started
        summary = report.summary(runtime, result, seconds=seconds, out=out, command=sys.argv[1:])
        if out:
            report.write(Path(str(out)) / "summary.json", summary)
        if self.status:
            print(_closing_lines(summary), file=sys.stderr)
        _leave_if_stuck(result)
        if result.error is not None:
            raise result.error
        return summary

    def score(self, summary: Mapping[str, Any]) -> float | None:
        """What a sweep optimises."""
        value: Any = summary
        for key in self.metric.split("."):
            if not isinstance(value, Mapping) or key not in value:
                known = ", ".join(k for k, v in summary.items() if isinstance(v, int | float))
                raise ConfigError(
                    [f"command.metric: the summary has no {self.metric!r}; there is: {known}, age_s.p50, age_s.p99"]
                )
            value = value[key]
        return value if isinstance(value, int | float) else None


@contextmanager
def _served(runtime: Runtime, metrics: Any) -> Iterator[None]:
    if not metrics or metrics.get("port") is None:
        yield
        return
    server = Server(runtime, host=str(metrics.get("host", "127.0.0.1")), port=int(metrics["port"]))
    log.info("metrics on %s", server.url)
    try:
        yield
    finally:
        server.close()


@contextmanager
def stops_on_signals() -> Iterator[Callable[[Runtime], None]]:
    """SIGINT and SIGTERM stop the run that is named to what this yields, at once if one came while it was being made.

    Only the main thread may listen to them.
    """
    runs: list[Runtime] = []
    asked = False

    def stop(*_: object) -> None:
        nonlocal asked
        asked = True
        for run in runs:
            run.stop()

    def name(run: Runtime) -> None:
        runs.append(run)
        if asked:
            run.stop()

    if current_thread() is not main_thread():
        yield name
        return
    before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    if any(getattr(handler, "was_asked", False) for handler in before.values()):  # and a library swallowed the exit
        stop()
    try:
        yield name
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_if_stuck(result: Result) -> None:
    """Leave without the interpreter's own end, which a thread that does not return would block or crash."""
    if result.stuck and result.end != "finished":
        if isinstance(result.error, CauceError):
            print(f"error: {result.error}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1 if result.error else 0)


def _closing_lines(summary: Mapping[str, Any]) -> str:
    age = summary["age_s"]
    ages = f", age {age['p50'] * 1e3:.0f} ms median, {age['p99'] * 1e3:.0f} ms p99" if age["p99"] is not None else ""
    lines = [f"{summary['end']}: {summary['frames']} frames in {summary['seconds']:.1f} s ({summary['fps']} fps){ages}"]
    for name, m in summary["models"].items():
        lines.append(f"  {name}: {m.get('name')} on {m.get('device')}, {m.get('provider')}, {m.get('precision')}")
        if m.get("step", "0") != "0" or m.get("fallback") == "true":
            lines.append(f"    {m.get('reason')}")
    for name, facts in summary["facts"].items():
        if figures := facts.get(FIGURES):
            lines.append(f"  {name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))
    for edge, causes in summary["drops"].items():
        lines.append(f"  dropped on {edge}: " + ", ".join(f"{n} {cause}" for cause, n in causes.items()))
    out = summary["out"]
    if out and Path(out).is_dir():
        lines += [f"  {path}" for path in sorted(Path(out).iterdir()) if not path.name.startswith(".")]
    return "\n".join(lines)
