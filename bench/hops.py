"""What one hop costs: a chain of 8 trivial nodes in one thread, and a hand-over between two threads.

    uv run python bench/hops.py

Beside them, in the same run and interleaved: bare calls, asyncio.Queue (8 tasks, one thread), queue.SimpleQueue.
Limits: an inline hop with metrics at most 3 us, a hand-over with newest-wins at most 20 us and twice SimpleQueue.
Times are one message in flight, from the first node to the last, divided by the hops.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from time import monotonic_ns, sleep

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import report
from graph import Captured, EndOfStream, Node
from graph.build import Builder
from graph.metrics import Server
from graph.planner import make_plan
from graph.runtime import Runtime

K, N, ROUNDS = 8, 5000, 5


class Message:
    """A trivial message: when it left."""

    __slots__ = ("t0_ns",)

    def __init__(self) -> None:
        self.t0_ns = monotonic_ns()


class Emit(Node):
    """Emits `n` messages; with `credit`, one at a time."""

    credit: SimpleQueue[None] | None = None

    def __init__(self, n: int) -> None:
        self.left = n

    def process(self) -> Captured[Message]:
        if not self.left:
            raise EndOfStream
        self.left -= 1
        if Emit.credit is not None:
            Emit.credit.get()
        message = Message()
        return Captured(message, message.t0_ns)


class Pass(Node):
    """The trivial node."""

    def process(self, x: Message) -> Message:
        return x


class Take(Node):
    """The end: notes how long a message was under way."""

    samples: list[int] = []  # noqa: RUF012 - one run at a time

    def process(self, x: Message) -> None:
        Take.samples.append(monotonic_ns() - x.t0_ns)
        if Emit.credit is not None:
            Emit.credit.put(None)


def ours(kind: str, passes: int, n: int, *, metrics: bool = True) -> list[int]:
    """The chain through the framework; with the kind `thread`, source and sink sit in threads of their own."""
    nodes: dict[str, object] = {"emit": {"_target_": "bench.hops.Emit", "n": n, "worker": "a"}}
    previous = "emit"
    for i in range(passes):
        nodes[f"pass{i}"] = {"_target_": "bench.hops.Pass", "inputs": {"x": previous}, "worker": "a"}
        previous = f"pass{i}"
    nodes["take"] = {"_target_": "bench.hops.Take", "inputs": {"x": previous}, "worker": "b"}
    module = sys.modules["bench.hops"]
    module.Take.samples = []
    module.Emit.credit = SimpleQueue() if kind == "thread" else None
    if kind == "thread":
        module.Emit.credit.put(None)
    builder = Builder(["bench"])
    runtime = Runtime(make_plan(nodes, {"a": {"kind": kind}, "b": {"kind": kind}}, builder), builder)
    server = Server(runtime, host="127.0.0.1", port=0) if metrics else None
    result = runtime.run()
    assert result.end == "finished", result
    if server:
        server.close()
    return module.Take.samples


def bare_calls() -> list[int]:
    node = Pass()
    samples = []
    for _ in range(N):
        x = Message()
        for _ in range(K):
            x = node.process(x)
        samples.append(monotonic_ns() - x.t0_ns)
    return samples


def asyncio_queues() -> list[int]:
    async def stage(source: asyncio.Queue[Message], target: asyncio.Queue[Message]) -> None:
        while True:
            await target.put(await source.get())

    async def main() -> list[int]:
        queues: list[asyncio.Queue[Message]] = [asyncio.Queue(4) for _ in range(K + 1)]
        tasks = [asyncio.create_task(stage(a, b)) for a, b in pairwise(queues)]
        samples = []
        for _ in range(N):
            await queues[0].put(Message())
            message = await queues[-1].get()
            samples.append(monotonic_ns() - message.t0_ns)
        for task in tasks:
            task.cancel()
        return samples

    return asyncio.run(main())


def simple_queue() -> list[int]:
    there: SimpleQueue[Message | None] = SimpleQueue()
    back: SimpleQueue[None] = SimpleQueue()
    samples = []

    def consume() -> None:
        while (x := there.get()) is not None:
            samples.append(monotonic_ns() - x.t0_ns)
            back.put(None)

    thread = threading.Thread(target=consume)
    thread.start()
    for _ in range(N):
        there.put(Message())
        back.get()
    there.put(None)
    thread.join()
    return samples


def per_hop(samples: list[int], hops: int) -> list[float]:
    return [s / hops for s in samples[len(samples) // 20 :]]


def main() -> None:
    report.header("What a hop costs")
    cases: dict[str, tuple[Callable[[], list[int]], int]] = {
        "inline chain, 8 nodes, metrics on": (lambda: ours("inline", K, N), K + 1),
        "bare calls": (bare_calls, K),
        "asyncio.Queue, 8 tasks": (asyncio_queues, K + 1),
        "thread to thread, newest wins": (lambda: ours("thread", 0, N), 1),
        "thread to thread, queue.SimpleQueue": (simple_queue, 1),
    }
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, (run, hops) in cases.items():
            samples[name] += per_hop(run(), hops)
            sleep(0.1)
    medians = {name: report.row(name, values, unit="us") for name, values in samples.items()}
    report.limit("inline hop", medians["inline chain, 8 nodes, metrics on"], at_most=3000, unit="us")
    handover = medians["thread to thread, newest wins"]
    report.limit("hand-over", handover, at_most=20_000, unit="us")
    report.ratio("hand-over / SimpleQueue", handover / medians["thread to thread, queue.SimpleQueue"], at_most=2.0)


if __name__ == "__main__":
    sys.modules["bench.hops"] = sys.modules["__main__"]
    main()
