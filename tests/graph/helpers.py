"""Short ways to make and run toy graphs."""

from __future__ import annotations

from collections import Counter
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
