"""torch.compile: whether it gives the same, how long it takes to begin, and what it gains."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from time import perf_counter

from bench.on_gpu import models, parity, timing
from bench.on_gpu.run import NotRun, Run

LONG_S = 45
"""A network may take this long to compile, and nothing can interrupt it."""


def section(run: Run) -> None:
    """Detector and depth in fp16, and the small detector in the others."""
    if not find_spec("triton"):
        raise NotRun("no package triton")
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        raise NotRun("no C compiler, which triton needs")
    for which, precision in (("side", "fp16"), ("detector", "fp16"), ("depth", "fp16"), ("side", "fp32"),
                             ("side", "bf16")):  # fmt: skip
        what = models.case(run, which)
        run.attempt(f"{what.name} {precision} compile", lambda w=what, p=precision: measure(run, w, p))


def measure(run: Run, what: models.Case, precision: str) -> None:
    """A check and a row."""
    if run.left() < LONG_S:
        raise NotRun("no time left")
    given = models.images(what, 1)
    wanted = parity.reference(run, what, given)
    begin = perf_counter()
    model = models.load(run, what, precision=precision, mode="compile")
    seconds = perf_counter() - begin
    try:
        limit = parity.AT_MOST[what.is_detector][precision]
        found = models.error(what, model(given)[0], wanted)
        run.check(f"{what.name} {precision} compile b1", found <= limit, error=found, at_most=limit)
        there = models.uploaded(run, given)
        times = timing.enqueued(run, lambda: model.on_device(there), seconds=1)
        run.row(f"{what.name} {precision} compile", load_s=seconds, **times)
    finally:
        model.close()
