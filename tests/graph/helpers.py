"""Short ways to make and run toy graphs."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graph.build import Builder
from graph.plan import Plan
from graph.planner import make_plan
from graph.runtime import Result, Runtime

BUILDER = Builder(["tests"])
PLACEMENTS = {
    "inline": {w: {"kind": "inline"} for w in ("main", "a", "b", "c")},
    "threads": {w: {"kind": "thread"} for w in ("main", "a", "b", "c")},
    "processes": {w: {"kind": "process"} for w in ("main", "a", "b", "c")},
    "mixed": {
        "main": {"kind": "inline"},
        "a": {"kind": "process"},
        "b": {"kind": "thread", "process": "a"},
        "c": {"kind": "process"},
    },
}

SAMPLES = {w: {"kind": "process", "transport": "iceoryx2"} for w in ("main", "a", "b", "c")}
"""The placement "samples", which needs an extra."""


def toy(name: str, **entry: Any) -> dict[str, Any]:
    """One entry under `nodes`, of a class of toys.py."""
    return {"_target_": f"tests.graph.toys.{name}", **entry}


def plan(placement: str = "inline", **nodes: Any) -> Plan:
    return make_plan(nodes, SAMPLES if placement == "samples" else PLACEMENTS[placement], BUILDER)


def run(placement: str = "inline", *, frames: int | None = None, **nodes: Any) -> tuple[Result, Runtime]:
    runtime = Runtime(plan(placement, **nodes), BUILDER, frames=frames)
    return runtime.run(), runtime


@contextmanager
def beside(runtime: Runtime) -> Iterator[tuple[Runtime, list[Result]]]:
    """A run beside the test, which is over when the test is."""
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(runtime.run()))
    thread.start()
    try:
        yield runtime, results
    finally:
        runtime.stop()
        thread.join()


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """What a condition gives as soon as it holds."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
    return found


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def books_balance(runtime: Runtime) -> bool:
    """Whether every packet offered to every mailbox is accounted for."""
    return all(edge.balances for edge in runtime.read_edges())


def drops(runtime: Runtime) -> Counter[str]:
    total: Counter[str] = Counter()
    for edge in runtime.read_edges():
        total.update({cause: n for cause, n in edge.dropped.items() if n})
    return total
