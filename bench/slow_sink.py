"""A sink that sleeps 250 ms every 50th message adds nothing to the age at any other sink.

    uv run python bench/slow_sink.py

Two runs of the same graph, interleaved: one whose second sink sleeps, one whose second sink does not. Limit: the 99th
percentile of the age at the first sink within 5 %. The peer is one loop that calls both sinks, as people write it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import report
from graph import Captured, EndOfStream, Node
from graph.build import Builder
from graph.planner import make_plan
from graph.runtime import Runtime

N, PERIOD_S, ROUNDS = 300, 0.01, 4


class Tick(Node):
    """A camera of 100 frames a second; a message is the time at which it was due."""

    def __init__(self) -> None:
        self.i, self.start_ns = 0, 0

    def process(self) -> Captured[int]:
        if self.i == N:
            raise EndOfStream
        self.start_ns = self.start_ns or time.monotonic_ns()
        due_ns = self.start_ns + int(self.i * PERIOD_S * 1e9)
        self.i += 1
        time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        return Captured(due_ns, due_ns)


class Work(Node):
    """Two milliseconds of work that leaves the interpreter's lock, as inference does."""

    def process(self, x: int) -> int:
        time.sleep(0.002)
        return x


class Sink(Node):
    """Sleeps `sleep_s` at every 50th message."""

    def __init__(self, sleep_s: float = 0.0) -> None:
        self.sleep_s, self.n = sleep_s, 0

    def process(self, x: int) -> None:
        self.n += 1
        if self.sleep_s and self.n % 50 == 0:
            time.sleep(self.sleep_s)


def ours(sleep_s: float) -> list[int]:
    """Ages at the sink that does not sleep."""
    here = "bench.slow_sink."
    nodes = {
        "camera": {"_target_": f"{here}Tick", "worker": "camera"},
        "work": {"_target_": f"{here}Work", "inputs": {"x": "camera"}},
        "speech": {"_target_": f"{here}Sink", "sleep_s": sleep_s, "worker": "speech", "inputs": {"x": "work"}},
        "view": {"_target_": f"{here}Sink", "worker": "view", "inputs": {"x": "work"}},
    }
    builder = Builder(["bench"])
    workers = {w: {"kind": "thread"} for w in ("camera", "main", "speech", "view")}
    runtime = Runtime(make_plan(nodes, workers, builder), builder)
    assert runtime.run().end == "finished"
    return list(runtime.tally("view").ages_ns)


def one_loop(sleep_s: float) -> list[int]:
    tick, work, speech = Tick(), Work(), Sink(sleep_s)
    ages = []
    for _ in range(N):
        captured = tick.process()
        x = work.process(captured.message)
        speech.process(x)
        ages.append(time.monotonic_ns() - captured.captured_ns)
    return ages


def main() -> None:
    report.header("A sink that sleeps 250 ms every 50th message")
    samples: dict[str, list[int]] = {}
    for _ in range(ROUNDS):
        for name, run in (("ours", ours), ("one loop", one_loop)):
            for label, sleep_s in (("without", 0.0), ("with", 0.25)):
                samples.setdefault(f"{name}, {label} the sleep", []).extend(run(sleep_s))
    for name, ages in samples.items():
        report.row(f"age at the other sink, {name}", ages)
    p99 = {name: sorted(ages)[int(0.99 * len(ages))] for name, ages in samples.items()}
    report.ratio("ours: p99 with / without", p99["ours, with the sleep"] / p99["ours, without the sleep"], at_most=1.05)
    print(f"one loop: p99 with / without {p99['one loop, with the sleep'] / p99['one loop, without the sleep']:.1f}")


if __name__ == "__main__":
    sys.modules["bench.slow_sink"] = sys.modules["__main__"]
    main()
