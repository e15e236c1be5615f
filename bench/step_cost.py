"""What the metrics cost a step: all that it and its edge write into their counts, in shared memory and in own.

    uv run python bench/step_cost.py

Limit: 1 us for all that one step writes. The peer is prometheus_client, as people use it without a multiprocess
directory: one histogram and one counter with a label. Interleaved; each sample is the mean of 1000 calls, the bare loop
taken off.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter_ns

sys.path.insert(0, str(Path(__file__).parents[1]))

from prometheus_client import CollectorRegistry, Counter, Histogram

from bench import report
from graph.tally import (
    BOUNDS_NS,
    BUSY_SEQ,
    BUSY_SINCE,
    OFFERED,
    TAKEN,
    TOTAL,
    WAITING,
    Block,
    EdgeTally,
    Tally,
)

CALLS, SAMPLES = 1000, 200
LIMIT_NS = 1000


def ours(block: Block | None) -> dict[str, Callable[[int], object]]:
    """The writes of `WorkStep` and of the mailbox before it, as they stand there."""
    tally, edge = Tally(block), EdgeTally(block)
    took, cells, books = tally.took.cells, tally.cells, edge.cells

    seen = tally.seen

    def write(ns: int) -> None:
        books[OFFERED] += 1
        books[TAKEN] += 1
        cells[BUSY_SEQ] = ns
        cells[BUSY_SINCE] = ns
        cells[BUSY_SINCE] = 0
        took[bisect_left(BOUNDS_NS, ns)] += 1
        took[TOTAL] += ns
        cells[WAITING] += ns

    def write_and_see(ns: int) -> None:
        write(ns)
        seen(ns)

    where = "own memory" if block is None else "shared memory"
    return {
        f"{where}: duration into its histogram": tally.took.observe,
        f"{where}: all that a step writes": write,
        f"{where}: all that a step of a sink writes": write_and_see,
    }


def prometheus() -> dict[str, Callable[[int], object]]:
    registry = CollectorRegistry()
    took = Histogram("took_seconds", "Duration.", ["node"], registry=registry).labels("a")
    waited = Counter("waited_seconds", "Waiting.", ["node"], registry=registry).labels("a")

    def step(ns: int) -> None:
        took.observe(ns / 1e9)
        waited.inc(ns / 1e9)

    return {"prometheus_client: histogram and counter": step}


def nothing(ns: int) -> None:
    pass


def timed(function: Callable[[int], object], calls: int) -> float:
    """Nanoseconds of one call, with durations from 0.1 to 100 ms, as a step sees them."""
    durations = [100_000 * (1 + i % 1000) for i in range(calls)]
    begin = perf_counter_ns()
    for ns in durations:
        function(ns)
    return (perf_counter_ns() - begin) / calls


def main(words: Sequence[str] = ()) -> int:
    calls, samples = (20, 5) if "--quick" in words else (CALLS, SAMPLES)
    report.header("What the metrics cost a step", packages=("prometheus-client",))
    block = Block(Tally.size(is_sink=True, outputs=0) + EdgeTally.SIZE)
    cases = {**ours(None), **ours(block), **prometheus()}
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(samples):
        bare = timed(nothing, calls)
        for name, function in cases.items():
            taken[name].append(max(0.0, timed(function, calls) - bare))
    medians = {name: report.row(name, ns, unit="us") for name, ns in taken.items()}
    within = [report.limit(name, medians[name], at_most=LIMIT_NS, unit="us") for name in medians if "all that" in name]
    block.close()
    return 0 if all(within) or "--strict" not in words else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
