"""Detector and depth beside each other in one process: the overlap gain O = one after the other / beside each other."""

from __future__ import annotations

from threading import Barrier, Thread
from time import perf_counter
from typing import Any

from bench.on_gpu import models, timing
from bench.on_gpu.run import Run

CALLS = 100


def section(run: Run) -> None:
    """Eager and as graphs, on two streams of one thread, and in two threads."""
    for mode in ("graph", "eager") if run.cuda else ("eager",):
        run.attempt(mode, lambda m=mode: measure(run, m))


def measure(run: Run, mode: str) -> None:
    """Two rows for a mode."""
    run.require_time(8)
    precision = "fp16" if run.cuda else "fp32"
    parts = [models.case(run, "detector"), models.case(run, "depth")]
    loaded = [models.load(run, what, precision=precision, mode=mode) for what in parts]
    try:
        arrays = [models.images(what, 1) for what in parts]
        there = [models.uploaded(run, x) for x in arrays]
        if run.cuda:
            streams(run, mode, loaded, there)
        count = CALLS if run.cuda else 3
        serial = sum(_calls(model, x, count) for model, x in zip(loaded, arrays, strict=True)) / count
        beside = _threads(loaded, arrays, count) / count
        run.row(f"two threads, numpy, {mode}", serial_ms=serial, beside_ms=beside, overlap=serial / beside)
    finally:
        for model in loaded:
            model.close()


def streams(run: Run, mode: str, loaded: list[Any], there: list[Any]) -> None:
    """Both from one thread: on one stream, and on two."""
    import torch

    def serial() -> None:
        for model, x in zip(loaded, there, strict=True):
            model.on_device(x)

    def on(two: list[Any]) -> None:
        given = torch.cuda.current_stream()
        for stream, model, x in zip(two, loaded, there, strict=True):
            stream.wait_stream(given)
            with torch.cuda.stream(stream):
                model.on_device(x)
        for stream in two:
            given.wait_stream(stream)

    one = timing.enqueued(run, serial, seconds=1.5)
    alike = [torch.cuda.Stream(run.device) for _ in range(2)]
    beside = timing.enqueued(run, lambda: on(alike), seconds=1.5)
    gain = one["wall_ms"]["p50"] / beside["wall_ms"]["p50"]
    run.row(f"two streams, {mode}", serial_ms=one["wall_ms"], beside_ms=beside["wall_ms"], overlap=gain,
            serial_gpu_ms=one["gpu_ms"], beside_gpu_ms=beside["gpu_ms"])  # fmt: skip


def _calls(model: Any, x: Any, count: int) -> float:
    """Milliseconds of `count` calls."""
    model(x)
    begin = perf_counter()
    for _ in range(count):
        model(x)
    return (perf_counter() - begin) * 1e3


def _threads(loaded: list[Any], arrays: list[Any], count: int) -> float:
    """Milliseconds until both threads have made `count` calls."""
    barrier = Barrier(len(loaded) + 1)

    def work(model: Any, x: Any) -> None:
        model(x)
        barrier.wait()
        for _ in range(count):
            model(x)

    threads = [Thread(target=work, args=pair) for pair in zip(loaded, arrays, strict=True)]
    for thread in threads:
        thread.start()
    barrier.wait()
    begin = perf_counter()
    for thread in threads:
        thread.join()
    return (perf_counter() - begin) * 1e3
