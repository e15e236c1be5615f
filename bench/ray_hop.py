"""What a hop through a Ray cluster costs: a frame of 1408x1408x3 from here into an actor, and its number back.

    uv run --extra ray python bench/ray_hop.py

Beside it, in the same run: a bare call of an actor with the frame as argument, waited for, and the same graph with a
process worker in the actor's place. 30 frames a second, from the capture to the moment a node here has the answer; the
node in the middle touches every page of the frame.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import report
from graph import Captured, EndOfStream, Node
from graph.build import Builder
from graph.planner import make_plan
from graph.runtime import Runtime

SHAPE, FPS, N, WARM = (1408, 1408, 3), 30, 200, 20


class Shot:
    """A frame."""

    def __init__(self, pixels: Any) -> None:
        self.pixels = pixels


class Answer(int):
    """What the actor makes of it."""


class Camera(Node):
    """Fills a frame and stamps it, `FPS` times a second."""

    def __init__(self, n: int) -> None:
        self.left, self.due = n, 0.0

    def setup(self) -> None:
        self.private = np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8)
        self.due = time.monotonic()

    def process(self) -> Captured[Shot]:
        if not self.left:
            raise EndOfStream
        self.left -= 1
        self.due = max(self.due + 1 / FPS, time.monotonic())
        time.sleep(max(0.0, self.due - time.monotonic()))
        captured_ns = time.monotonic_ns()
        pixels = self.loan(SHAPE)
        np.copyto(pixels, self.private)
        return Captured(Shot(pixels), captured_ns)


class Touch(Node):
    """Reads a byte of every page."""

    def process(self, shot: Shot) -> Answer:
        return Answer(int(shot.pixels.reshape(-1)[::4096].sum()))


class Take(Node):
    """The end; how old the answer is, the framework counts."""

    def process(self, answer: Answer) -> None:
        pass


def ours(kind: str) -> list[int]:
    """Ages through the framework, with the node in the middle in a worker of that kind."""
    more = {"resources": {"CPU": 1}} if kind == "ray" else {}
    nodes = {
        "camera": {"_target_": "bench.ray_hop.Camera", "n": N + WARM, "worker": "camera"},
        "touch": {"_target_": "bench.ray_hop.Touch", "inputs": {"shot": "camera"}, "worker": "far"},
        "take": {"_target_": "bench.ray_hop.Take", "inputs": {"answer": "touch"}},
    }
    placement = {"camera": {"kind": "thread"}, "main": {"kind": "thread"}, "far": {"kind": kind, **more}}
    builder = Builder(["bench"])
    runtime = Runtime(make_plan(nodes, placement, builder), builder)
    result = runtime.run()
    assert result.end == "finished", result.error
    return runtime.tally("take").ages_ns[WARM:]


def bare() -> list[int]:
    """Ages of a call with the frame as argument."""
    import ray

    @ray.remote(num_cpus=1)
    class Actor:
        def touch(self, pixels: Any) -> int:
            return int(pixels.reshape(-1)[::4096].sum())

    actor = Actor.remote()
    camera = Camera(N + WARM)
    camera.setup()
    ages = []
    for _ in range(N + WARM):
        captured = camera.process()
        ray.get(actor.touch.remote(captured.message.pixels))
        ages.append(time.monotonic_ns() - captured.captured_ns)
    ray.kill(actor)
    return ages[WARM:]


def main() -> None:
    import ray

    ray.init(num_cpus=2, object_store_memory=400 << 20, include_dashboard=False, log_to_driver=False, namespace="cauce")
    report.header(f"A frame into an actor and an answer back, {FPS} frames a second", packages=("numpy", "ray"))
    for name, measured in (
        ("actor, by the framework", lambda: ours("ray")),
        ("actor, a bare call", bare),
        ("process, by the framework", lambda: ours("process")),
    ):
        report.row(name, measured())


if __name__ == "__main__":
    main()
