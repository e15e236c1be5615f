"""t_i: what each network takes alone, as a model of our engine."""

from __future__ import annotations

from typing import Any

from bench.on_gpu import environment, models, timing
from bench.on_gpu.run import NotRun, Run

TABLE: tuple[tuple[str, str, str, bool, tuple[int, ...]], ...] = (
    ("detector", "fp32", "eager", False, (1,)),
    ("detector", "fp16", "eager", False, (1,)),
    ("detector", "fp16", "graph", False, (1, 2, 4)),
    ("detector", "fp16", "graph", True, (1, 4)),
    ("depth", "fp32", "eager", False, (1,)),
    ("depth", "fp16", "eager", False, (1,)),
    ("depth", "fp16", "graph", False, (1, 2, 4)),
    ("side", "fp16", "eager", False, (2,)),
    ("side", "fp16", "graph", False, (1, 2)),
    ("depth_low", "fp16", "graph", False, (1,)),
    ("depth_high", "fp16", "graph", False, (1,)),
    ("detector", "fp32", "graph", False, (1,)),
    ("depth", "fp32", "graph", False, (1,)),
    ("detector", "fp16", "eager", True, (1,)),
    ("detector", "bf16", "graph", False, (1,)),
    ("depth", "bf16", "graph", False, (1,)),
    ("depth_high", "fp16", "eager", False, (1,)),
)
"""Network, precision, mode, channels_last, batches; what matters most comes first."""


def section(run: Run) -> None:
    """The table, and the clocks afterwards."""
    table = [row for row in TABLE if row[0] == "side"] if run.small else TABLE
    for which, precision, mode, channels_last, batches in table:
        what = models.case(run, which)
        name = f"{what.name} {precision} {mode}{' channels_last' if channels_last else ''}"
        params = {"precision": precision, "mode": mode, "channels_last": channels_last}
        run.attempt(name, lambda w=what, n=name, p=params, b=batches: measure(run, w, n, p, b))
    if run.cuda:
        run.row("clocks afterwards", value=environment.clocks())


def measure(run: Run, what: models.Case, name: str, params: dict[str, Any], batches: tuple[int, ...]) -> None:
    """A row for each batch: with numpy in and out, and with tensors that stay on the device."""
    if params["mode"] == "graph" and not run.cuda:
        raise NotRun("no GPU")
    run.require_time(4)
    model = models.load(run, what, batches=batches, **params)
    try:
        for batch in batches:
            given = models.images(what, batch)
            call = timing.wall(run, lambda g=given: model(g), seconds=0.6)
            there = models.uploaded(run, given)
            stay = timing.enqueued(run, lambda t=there: model.on_device(t), seconds=1.2)
            run.row(f"{name} b{batch}", batch=batch, **params, **stay, numpy_ms=call, **_derived(what, stay, batch))
    finally:
        model.close()


def _derived(what: models.Case, stay: dict[str, Any], batch: int) -> dict[str, Any]:
    """Achieved TFLOP/s, and whether submitting the work takes longer than doing it."""
    if "gpu_ms" not in stay:
        return {}
    gpu, enqueue = stay["gpu_ms"]["p50"], stay["enqueue_ms"]["p50"]
    tflops = what.gflop * batch / gpu if what.gflop else None
    return {"tflop_s": tflops, "enqueue_share": enqueue / gpu, "is_launch_bound": enqueue > 0.8 * gpu}
