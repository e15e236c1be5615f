"""What must hold whatever the speed: memory, errors, threads, and whom an output belongs to."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

import numpy as np

from bench.on_gpu import models, tracing
from bench.on_gpu.run import NotRun, Run
from engines.base import EngineError, OutOfMemoryError
from engines.torch import Torch

CYCLES, SETTLED = 20, 3
MOST_GROWTH = 0.05
ROUNDS = 20


def section(run: Run) -> None:
    """All of them, each on its own."""
    parts: dict[str, Callable[[Run], None]] = {
        "a device that is not there": wrong_device,
        "outputs stay as they are": outputs_stay,
        "on the device": on_device,
        "two threads": two_threads,
        "too little memory": too_little_memory,
        "loads and unloads": loads_and_unloads,
    }
    for name, part in parts.items():
        run.attempt(name, lambda p=part: p(run))


def wrong_device(run: Run) -> None:
    """It is an EngineError that names the device."""
    told = ""
    try:
        Torch("cuda:99").load(models.spec(models.case(run, "side")))
    except EngineError as e:
        told = str(e)
    run.check("a device that is not there", "cuda:99 is asked for" in told, told=told)


def outputs_stay(run: Run) -> None:
    """An output is the same after the next run, as an array and as a tensor, eager and as a graph."""
    what = models.case(run, "side")
    one, other = models.images(what, 1), models.images(what, 1, seed=1)
    for mode in _modes(run):
        model = models.load(run, what, mode=mode)
        (first,) = model(one)
        kept = first.copy()
        model(other)
        run.check(f"arrays stay as they are, {mode}", np.array_equal(first, kept))
        (there,) = model.on_device(models.uploaded(run, one))
        before = there.cpu().numpy().copy()
        (after,) = model.on_device(models.uploaded(run, other))
        same = np.array_equal(there.cpu().numpy(), before) and _alike(what, before, kept)
        run.check(f"tensors stay as they are, {mode}", same and not _alike(what, after.cpu().numpy(), kept))
        model.close()


def on_device(run: Run) -> None:
    """No copy between host and device, whatever stream the caller is on."""
    what = models.case(run, "side")
    given = models.images(what, 2)
    for mode in _modes(run):
        model = models.load(run, what, batches=(2,), mode=mode)
        (wanted,) = model(given)
        there = models.uploaded(run, given)
        (got,) = model.on_device(there)
        run.check(f"on_device gives the same, {mode}", _alike(what, got.cpu().numpy(), wanted))
        if run.cuda:
            run.check(f"streams of the caller, {mode}", _on_other_streams(what, model, there, wanted))
            run.attempt(f"copies, {mode}", lambda m=model, t=there, name=mode: _copies(run, m, t, name))
        model.close()


def _alike(what: models.Case, got: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether both come from the same image and network: the GPU may add in another order."""
    return models.error(what, got, wanted) < 1e-7


def _copies(run: Run, model: Any, there: Any, mode: str) -> None:
    found = tracing.activities(lambda: model.on_device(there))
    crossing = {name: n for name, n in found.items() if "HtoD" in name or "DtoH" in name}
    run.check(f"on_device crosses no bus, {mode}", not crossing, copies=crossing or None, seen=found.total())


def _on_other_streams(what: models.Case, model: Any, there: Any, wanted: np.ndarray) -> bool:
    """Inputs that are still being made, on streams that change, and dropped at once."""
    import torch

    right = True
    for _ in range(ROUNDS):
        with torch.cuda.stream(torch.cuda.Stream(there.device)):
            late = (there * 2) / 2
            (got,) = model.on_device(late)
            del late
            scribbled = torch.full_like(there, 7.0)
            right &= _alike(what, got.cpu().numpy(), wanted)
            del scribbled
    return right


def two_threads(run: Run) -> None:
    """Two models, each loaded, captured and run in a thread of its own, give what each gives alone."""
    parts = [models.case(run, "side"), models.case(run, "depth")]
    for mode in _modes(run):
        right: dict[str, bool] = {}
        troubles: list[str] = []

        def work(what: models.Case, mode: str = mode, right: Any = right, troubles: Any = troubles) -> None:
            try:
                model = models.load(run, what, mode=mode)
                wanted = [model(models.images(what, 1, seed=s))[0] for s in range(3)]
                close = [
                    _alike(what, model(models.images(what, 1, seed=i % 3))[0], wanted[i % 3]) for i in range(ROUNDS)
                ]
                right[what.name] = all(close)
                model.close()
            except Exception as e:
                troubles.append(f"{what.name}: {type(e).__name__}: {e}")

        models.spec(parts[0])  # what both read is made before
        threads = [Thread(target=work, args=(what,)) for what in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        is_right = len(right) == len(parts) and all(right.values())
        run.check(f"two threads, {mode}", is_right, told="; ".join(troubles) or None)


def too_little_memory(run: Run) -> None:
    """It is an OutOfMemoryError that says what, how much and what was free; smaller models load afterwards."""
    if not run.cuda:
        raise NotRun("no GPU")
    import torch

    torch.cuda.empty_cache()
    taken = torch.cuda.memory_reserved(run.device) >> 20
    large, small = models.case(run, "depth_high"), models.case(run, "side")
    try:
        for name, limit_mb, batch in (("its weights", taken + 24, 1), ("a batch", taken + 300, 64)):
            told, is_memory = "", False
            try:
                models.load(run, large, batches=(batch,), memory_limit_mb=limit_mb).close()
            except OutOfMemoryError as e:
                told, is_memory = str(e), True
            except Exception as e:
                told = f"{type(e).__name__}: {e}"
            is_clear = is_memory and large.name in told and f"batch of {batch}" in told and "MB free" in told
            run.check(f"too little memory for {name}", is_clear, told=told)
        for limit in (taken + 600, None):
            models.load(run, small, memory_limit_mb=limit).close()
            run.check(f"a smaller model afterwards, limit {'none' if limit is None else 'set'}", True)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, run.device)


def loads_and_unloads(run: Run) -> None:
    """The GPU's memory is where it was."""
    what = models.case(run, "side")
    used: list[int] = []
    for _ in range(CYCLES if run.cuda else 1):
        model = models.load(run, what, mode="graph" if run.cuda else "eager", warm_up=1)
        model(models.images(what, 1))
        model.close()
        used.append(_used(run))
    if not run.cuda:
        raise NotRun("no GPU: they loaded and unloaded, but its memory is what is measured")
    growth = used[-1] / used[SETTLED - 1] - 1
    run.check(f"{CYCLES} loads and unloads", growth <= MOST_GROWTH, growth=growth, used_mb=[n >> 20 for n in used])


def _used(run: Run) -> int:
    if not run.cuda:
        return 0
    import torch

    free, total = torch.cuda.mem_get_info(run.device)
    return int(total - free)


def _modes(run: Run) -> tuple[str, ...]:
    return ("eager", "graph") if run.cuda else ("eager",)
