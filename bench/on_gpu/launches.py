"""How many kernels a network launches, and whether launching them takes longer than running them."""

from __future__ import annotations

from bench.on_gpu import models, timing, tracing
from bench.on_gpu.run import Run


def section(run: Run) -> None:
    """Detector and depth in fp16, eager and as a graph."""
    for which in ("detector", "depth"):
        what = models.case(run, which)
        for mode in ("eager", "graph"):
            run.attempt(f"{what.name} {mode}", lambda w=what, m=mode: measure(run, w, m))


def measure(run: Run, what: models.Case, mode: str) -> None:
    """A row: times as in `timing.enqueued`, and the kernels of one call where the profiler tells."""
    run.require_time(3)
    model = models.load(run, what, precision="fp16", mode=mode)
    try:
        there = models.uploaded(run, models.images(what, 1))
        times = timing.enqueued(run, lambda: model.on_device(there), seconds=1)
        share = times["enqueue_ms"]["p50"] / times["gpu_ms"]["p50"]
        run.row(f"{what.name} fp16 {mode}", **times, enqueue_share=share, is_launch_bound=share > 0.8)
        run.attempt(
            f"{what.name} {mode}: kernels",
            lambda: run.row(
                f"{what.name} fp16 {mode} kernels",
                n=tracing.kernels(tracing.activities(lambda: model.on_device(there))),
            ),
        )
    finally:
        model.close()
