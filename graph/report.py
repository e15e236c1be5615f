"""The summary of a run: what went through, how fast, how old, what was lost, and on which devices."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any

from graph.runtime import Result, Runtime


def percentile_s(ages_ns: Iterable[int], percent: int) -> float | None:
    """A percentile of ages, in seconds; None of nothing."""
    values = sorted(ages_ns)
    if len(values) < 2:
        return values[0] / 1e9 if values else None
    return quantiles(values, n=100, method="inclusive")[percent - 1] / 1e9


def frames(runtime: Runtime) -> int:
    """Captures that entered the graph, of the source that let in most."""
    return max((e.delivered for e in runtime.read_edges() if "in_flight" in e.dropped), default=0)


def summary(
    runtime: Runtime, result: Result, *, seconds: float, out: str | None, command: Sequence[str]
) -> dict[str, Any]:
    """The summary as plain data. Ages are those of each sink, and of all sinks together."""
    nodes, edges = runtime.read_nodes(), runtime.read_edges()
    entered = frames(runtime)
    sinks = {n.name: list(n.tally.ages_ns) for n in nodes if n.is_sink}
    everything = [age for ages in sinks.values() for age in ages]
    return {
        "end": result.end,
        "error": str(result.error) if result.error else None,
        "frames": entered,
        "seconds": round(seconds, 3),
        "fps": round(entered / seconds, 2) if seconds > 0 else None,
        "lossless": runtime.plan.lossless,
        "age_s": {"p50": percentile_s(everything, 50), "p99": percentile_s(everything, 99)},
        "age_s_by_sink": {k: {"p50": percentile_s(v, 50), "p99": percentile_s(v, 99)} for k, v in sinks.items()},
        "drops": {e.name: lost for e in edges if (lost := {c: n for c, n in e.dropped.items() if n})},
        "errors": {n.name: n.tally.errors for n in nodes if n.tally.errors},
        "restarts": {n.name: n.tally.restarts for n in nodes if n.tally.restarts},
        "stalls": {n.name: n.tally.stalls for n in nodes if n.tally.stalls},
        "steps": {n.name: n.tally.steps for n in nodes},
        "step_ms_mean": {n.name: round(n.tally.took.total_ns / n.tally.steps / 1e6, 3) for n in nodes if n.tally.steps},
        "models": {n.name: dict(n.facts["model"]) for n in nodes if "model" in n.facts},
        "facts": {n.name: {k: dict(v) for k, v in n.facts.items() if k != "model"} for n in nodes if n.facts},
        "out": out,
        "command": list(command),
    }


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
