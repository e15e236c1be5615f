"""The engines of a whole graph, without the graph: detector, depth every N-th frame, two cameras beside every third."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from time import perf_counter
from typing import Any

from bench.on_gpu import models, timing
from bench.on_gpu.run import Run

EVERY = (1, 3, 6)
SIDE_EVERY = 3
IN_FLIGHT = 2
PARTS = {"detector": 1, "depth": 1, "side": 2}
"""Networks and their batches."""


def section(run: Run) -> None:
    """Frames a second of ours against the bound B = 1 / sum(runs per frame x t_i), and against eager fp32 in a row."""
    mode = "graph" if run.cuda else "eager"
    precision = "fp16" if run.cuda else "fp32"
    if run.cuda:
        import torch

        torch.cuda.reset_peak_memory_stats(run.device)
    with ExitStack() as stack:
        ours, plain = {}, {}
        for which, batch in PARTS.items():
            what = models.case(run, which)
            ours[which] = models.load(run, what, batches=(batch,), precision=precision, mode=mode)
            stack.callback(ours[which].close)
            plain[which] = models.load(run, what)
            stack.callback(plain[which].close)
        arrays = {w: models.images(models.case(run, w), n) for w, n in PARTS.items()}
        there = {w: models.uploaded(run, x) for w, x in arrays.items()}
        alone = {}
        for which, model in ours.items():
            times = timing.enqueued(run, lambda m=model, x=there[which]: m.on_device(x), seconds=1)
            alone[which] = times.get("gpu_ms", times["wall_ms"])["p50"]
        run.row("alone", **{f"{which}_ms": ms for which, ms in alone.items()})
        for every in EVERY:
            run.attempt(f"N={every}", lambda n=every: measure(run, (ours, there), (plain, arrays), alone, n))
        memory(run)


def measure(run: Run, ours: Any, plain: Any, alone: dict[str, float], every: int) -> None:
    """A row for one N."""
    run.require_time(6)
    bound = 1000 / (alone["detector"] + alone["depth"] / every + alone["side"] / SIDE_EVERY)
    frames = Frames(run, *ours, every)
    fps = timing.rate(run, frames.submit, seconds=4, finish=frames.finish)
    lags: list[float] = []
    one = timing.rate(run, lambda i: frames.alone(i, lags), seconds=4, finish=frames.finish)
    base = timing.rate(run, lambda i: sequential(*plain, i, every), seconds=3, finish=lambda: None)
    run.row(
        f"N={every}",
        fps=fps, bound_fps=bound, of_bound=fps / bound, one_in_flight_fps=one,
        frame_ms=timing.summary(lags[timing.WARM_UP :]), eager_fp32_fps=base, speedup=fps / base,
    )  # fmt: skip


def sequential(loaded: dict[str, Any], arrays: dict[str, Any], i: int, every: int) -> None:
    """One frame as a simple loop does it: a call after the other, and one for each camera beside."""
    loaded["detector"](arrays["detector"])
    if i % every == 0:
        loaded["depth"](arrays["depth"])
    if i % SIDE_EVERY == 0:
        for n in range(PARTS["side"]):
            loaded["side"](arrays["side"][n : n + 1])


class Frames:
    """Submits frames, each network on a stream of its own; at most `IN_FLIGHT` frames are under way."""

    def __init__(self, run: Run, loaded: dict[str, Any], there: dict[str, Any], every: int) -> None:
        self._loaded, self._there, self._every, self._cuda = loaded, there, every, run.cuda
        self._begun: deque[list[Any]] = deque()
        self._streams: dict[str, Any] = {}
        if run.cuda:
            import torch

            self._streams = {w: torch.cuda.Stream(run.device, priority=-1 if w == "detector" else 0) for w in loaded}

    def submit(self, i: int) -> None:
        """Begin frame `i`; wait for an older one where too many are under way."""
        due = {"detector": True, "depth": i % self._every == 0, "side": i % SIDE_EVERY == 0}
        self._begun.append([self._begin(which) for which, is_due in due.items() if is_due])
        while len(self._begun) > IN_FLIGHT:
            self._wait(self._begun.popleft())

    def alone(self, i: int, lags: list[float]) -> None:
        """Frame `i` from its beginning to its end, before the next one begins; its milliseconds go to `lags`."""
        begin = perf_counter()
        self.submit(i)
        self.finish()
        lags.append((perf_counter() - begin) * 1e3)

    def finish(self) -> None:
        """Wait for all frames."""
        while self._begun:
            self._wait(self._begun.popleft())

    def _begin(self, which: str) -> Any:
        if not self._cuda:
            return self._loaded[which].on_device(self._there[which])
        import torch

        with torch.cuda.stream(self._streams[which]):
            self._loaded[which].on_device(self._there[which])
            return self._streams[which].record_event()

    def _wait(self, begun: list[Any]) -> None:
        if self._cuda:
            for event in begun:
                event.synchronize()


def memory(run: Run) -> None:
    """The most that PyTorch held for all six models, and what the GPU has in use."""
    if not run.cuda:
        return
    import torch

    free, total = torch.cuda.mem_get_info(run.device)
    run.row(
        "memory_mb",
        allocated=torch.cuda.max_memory_allocated(run.device) >> 20,
        reserved=torch.cuda.max_memory_reserved(run.device) >> 20,
        in_use_now=(total - free) >> 20,
    )
