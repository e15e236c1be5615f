"""Whether our networks give on the device what they give on the CPU in fp32."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bench.on_gpu import models
from bench.on_gpu.run import Run

BATCHES = (1, 2, 4)
AT_MOST: Mapping[bool, Mapping[str, float]] = {
    True: {"fp32": 1e-5, "fp16": 1e-2, "bf16": 1e-1},
    False: {"fp32": 1e-6, "fp16": 1e-3, "bf16": 2e-2},
}
"""By whether it is a detector, and precision: `models.error`.

A CPU gives 2e-4 and 2e-5 for fp16, 1e-2 and 1e-3 for bf16, and in another layout 1e-10 and 1e-11 for fp32. Factors of
ten bits, as TF32 has, give 5e-6 for depth: the limit of fp32 tells such from real fp32.
"""


def section(run: Run) -> None:
    """Every network, precision and mode, for batches of 1, 2 and 4."""
    sizes = ("detector", "depth") if run.small else ("detector", "depth", "side", "depth_low", "depth_high")
    for which in sizes:
        what = models.case(run, which)
        run.attempt(what.name, lambda w=what: network(run, w))


def network(run: Run, what: models.Case) -> None:
    """All precisions and modes of one network."""
    run.require_time(6)
    given = models.images(what, max(BATCHES))
    pair = given, reference(run, what, given)
    for precision in ("fp32", "fp16", "bf16"):
        for mode in ("eager", "graph") if run.cuda else ("eager",):
            name = f"{what.name} {precision} {mode}"
            run.attempt(name, lambda p=precision, m=mode: compare(run, what, pair, p, m))


def reference(run: Run, what: models.Case, given: np.ndarray) -> np.ndarray:
    """What the CPU gives in fp32."""
    model = models.load(run, what, device="cpu", warm_up=0)
    (wanted,) = model(given)
    model.close()
    return wanted


def compare(run: Run, what: models.Case, pair: tuple[np.ndarray, np.ndarray], precision: str, mode: str) -> None:
    """One check for each batch; every image of a batch is a part of `pair`, input and expected output."""
    run.require_time(4)
    given, wanted = pair
    model = models.load(run, what, precision=precision, mode=mode)
    try:
        for batch in BATCHES:
            (got,) = model(given[:batch])
            found = models.error(what, got, wanted[:batch]) if np.isfinite(got).all() else float("nan")
            limit = AT_MOST[what.is_detector][precision]
            run.check(f"{what.name} {precision} {mode} b{batch}", found <= limit, error=found, at_most=limit)
    finally:
        model.close()
