"""Times of calls: on the host's clock, and between CUDA events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from bench.on_gpu.run import Run

WARM_UP, LEAST, MOST = 5, 3, 2000


def summary(ms: Sequence[float]) -> dict[str, Any]:
    """Figures of samples in milliseconds; a percentile that they are too few for is None."""
    found: dict[str, Any] = {"n": len(ms), "p50": float(np.median(ms)), "min": min(ms), "max": max(ms)}
    for share, least in ((90, 10), (99, 100)):
        found[f"p{share}"] = float(np.percentile(ms, share)) if len(ms) >= least else None
    return found


def wall(run: Run, call: Callable[[], object], *, seconds: float) -> dict[str, Any]:
    """Milliseconds of `call`, which returns when its work is done."""
    samples: list[float] = []
    for i in _rounds(run, seconds, samples):
        begin = perf_counter()
        call()
        if i >= WARM_UP:
            samples.append((perf_counter() - begin) * 1e3)
    return summary(samples)


def enqueued(run: Run, call: Callable[[], object], *, seconds: float) -> dict[str, dict[str, Any]]:
    """Of a `call` that only submits its work to the current stream, in milliseconds.

    `enqueue_ms` is what the call itself takes, `gpu_ms` what the GPU does (between two events), `wall_ms` both, until
    the work is done. On the CPU there is only `wall_ms`.
    """
    if not run.cuda:
        return {"wall_ms": wall(run, call, seconds=seconds)}
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    samples: dict[str, list[float]] = {"wall_ms": [], "gpu_ms": [], "enqueue_ms": []}
    for i in _rounds(run, seconds, samples["wall_ms"]):
        torch.cuda.synchronize()
        begin = perf_counter()
        start.record()
        call()
        submitted = perf_counter()
        end.record()
        end.synchronize()
        done = perf_counter()
        if i >= WARM_UP:
            samples["enqueue_ms"].append((submitted - begin) * 1e3)
            samples["wall_ms"].append((done - begin) * 1e3)
            samples["gpu_ms"].append(start.elapsed_time(end))
    return {name: summary(ms) for name, ms in samples.items()}


def rate(run: Run, call: Callable[[int], object], *, seconds: float, finish: Callable[[], object]) -> float:
    """Calls a second; `call` gets its number, and `finish` waits for all that was begun."""
    for i in range(WARM_UP):
        call(i)
    finish()
    count, begin = 0, perf_counter()
    ends = begin + _scaled(run, seconds)
    while count < LEAST or perf_counter() < ends:
        call(count)
        count += 1
    finish()
    return count / (perf_counter() - begin)


def _rounds(run: Run, seconds: float, samples: Sequence[float]) -> Any:
    ends, i = perf_counter() + _scaled(run, seconds), 0
    while len(samples) < LEAST or (len(samples) < MOST and perf_counter() < ends):
        yield i
        i += 1


def _scaled(run: Run, seconds: float) -> float:
    """`seconds` of a full run, in this one; less where the section has less left."""
    return max(min(seconds * run.minutes / 8, run.left()), 0.0)
