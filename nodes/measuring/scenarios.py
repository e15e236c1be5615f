"""The ways in which a model is fed, in the terms of MLPerf: one frame after the other, as fast as possible, paced."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from time import sleep
from typing import Any

import numpy as np

from engines.base import Array, EngineError
from engines.shapes import text
from nodes.measuring.figures import summary, warnings
from nodes.measuring.stopwatch import Clock
from nodes.measuring.subject import Subject, told
from nodes.messages import Frame

Progress = Callable[[float, str], None]
MOST_BESIDE = 64
"""Calls that are begun and not asked for yet; the engine itself runs fewer."""
WARM_CALLS = 3
"""The first calls of a size of batch are the slow ones, whatever the engine warmed up."""


@dataclass(frozen=True, slots=True)
class Until:
    """An end: after so many calls and so many seconds, whichever is later."""

    count: int
    seconds: float

    def __call__(self, clock: Clock, progress: Progress, words: str) -> Iterator[int]:
        """Numbers of calls, until the end."""
        begun, n = clock(), 0
        while n < self.count or clock() - begun < self.seconds * 1e9:
            yield n
            n += 1
            if n % max(1, self.count // 50) == 0:
                share = min(n / max(1, self.count), (clock() - begun) / 1e9 / self.seconds if self.seconds else 1)
                progress(min(share, 1.0), words)


@dataclass(frozen=True, slots=True)
class Bench:
    """A subject and the frames that it is fed with, again and again."""

    subject: Subject
    frames: Sequence[Frame]
    progress: Progress
    wait: Callable[[float], None] = sleep

    def warm_up(self, until: Until) -> None:
        """Process without noting anything."""
        for n in until(self.subject.clock, self.progress, "warm-up"):
            self.subject.process(self.frames[n % len(self.frames)])

    def single_stream(self, until: Until) -> dict[str, Any]:
        """One frame after the other, each timed: before the engine, in it, after it, and all of it."""
        parts: dict[str, list[int]] = {"pre": [], "engine": [], "post": [], "end_to_end": []}
        enqueues = []
        clock = self.subject.clock
        for n in until(clock, self.progress, "single_stream"):
            _, begun, call, ended = self.subject.process(self.frames[n % len(self.frames)])
            parts["pre"].append(call.begun_ns - begun)
            parts["engine"].append(call.ended_ns - call.begun_ns)
            parts["post"].append(ended - call.ended_ns)
            parts["end_to_end"].append(ended - begun)
            if call.enqueue_ns is not None:
                enqueues.append(call.enqueue_ns)
        total = sum(parts["end_to_end"])
        figures: dict[str, Any] = {name: summary(samples) for name, samples in parts.items()}
        enqueue = summary(enqueues) if enqueues else None
        found = warnings(figures["pre"], figures["engine"], figures["post"], enqueue)
        figures |= {"enqueue": enqueue} if enqueue else {}
        return {"parts": figures, "per_s": len(parts["engine"]) / total * 1e9 if total else None, "warnings": found}

    def offline(self, until: Until) -> dict[str, Any]:
        """As fast as possible, one after the other: a model takes no calls from several threads at once."""
        clock, n = self.subject.clock, 0
        begun = clock()
        for n in until(clock, self.progress, "offline"):
            self.subject.process(self.frames[n % len(self.frames)])
        seconds = (clock() - begun) / 1e9
        return {"n": n + 1, "seconds": seconds, "per_s": (n + 1) / seconds if seconds else None}

    def paced(self, until: Until, fps: float) -> dict[str, Any]:
        """A camera of `fps`: the newest frame is processed, older ones are dropped; age is from capture to the end."""
        clock, period = self.subject.clock, 1e9 / fps
        begun, last, drops = clock(), -1, 0
        ages: list[int] = []
        for _ in until(clock, self.progress, f"paced at {fps:g} fps"):
            newest = int((clock() - begun) // period)
            if newest <= last:
                newest = last + 1
                while (left := begun + newest * period - clock()) > 0:
                    self.wait(left / 1e9)
            drops += newest - last - 1
            last = newest
            self.subject.process(self.frames[newest % len(self.frames)])
            ages.append(int(clock() - begun - newest * period))
        seconds = (clock() - begun) / 1e9
        return {"fps": fps, "age": summary(ages), "drops": drops, "captures": last + 1,
                "per_s": len(ages) / seconds if seconds else None}  # fmt: skip

    def batches(self, sizes: Sequence[int], until: Until) -> list[dict[str, Any]]:
        """The engine alone, with inputs of several images, as they leave the node's own preparation."""
        images = self.inputs(max(sizes))
        return [self._batch(np.concatenate(images[:size]), until) for size in sizes]

    def _batch(self, batch: Array, until: Until) -> dict[str, Any]:
        """One size of batch, with a model that is loaded for it."""
        size, clock, spec = len(batch), self.subject.clock, self.subject.engine.spec
        assert spec is not None, "the subject is loaded"
        shapes = {name: (size, *shape[1:]) for name, shape in spec.inputs.items()}
        try:
            model = self.subject.engine.engine.load(replace(spec, inputs=shapes, batch_sizes=(size,)))
        except EngineError as e:
            takes = text(self.subject.model.inputs[0].shape)
            return {"batch": size, "error": f"{e}" if size == 1 else f"does not load (input {takes}): {e}"}
        samples = []
        try:
            with told(self.subject.name):
                for _ in range(WARM_CALLS):
                    model(batch)
                for _ in until(clock, self.progress, f"engine alone, batch {size}"):
                    begun = clock()
                    model(batch)
                    samples.append(clock() - begun)
        finally:
            model.close()
        figures = summary(samples)
        return {"batch": size, "engine": figures, "per_s": size / figures["mean"] * 1e3 if figures["mean"] else None}

    def beside(self, until: Until) -> dict[str, Any] | None:
        """The engine alone, with as many calls beside each other as it wants; None where it takes one at a time."""
        submit = getattr(self.subject.model.model, "submit", None)
        if submit is None:
            return None
        clock, count, begun_calls = self.subject.clock, 0, deque[Callable[[], Any]]()
        (image,) = self.inputs(1)
        with told(self.subject.name):
            begun = clock()
            for n in until(clock, self.progress, "calls beside each other"):
                count = n + 1
                begun_calls.append(submit(image))
                if len(begun_calls) > MOST_BESIDE:
                    begun_calls.popleft()()
            for result in begun_calls:
                result()
        seconds = (clock() - begun) / 1e9
        return {"n": count, "seconds": seconds, "per_s": count / seconds if seconds else None}

    def inputs(self, count: int) -> list[Array]:
        """Inputs (1, 3, h, w) of the model for the first frames, again from the first where they are too few."""
        kept, model = [], self.subject.model.model
        try:
            keeper = _Keeper(model)
            self.subject.model.model = keeper  # type: ignore[assignment]
            for frame in islice(cycle(self.frames), count):
                self.subject.process(frame)
                kept.append(keeper.fed)
        finally:
            self.subject.model.model = model
        return kept


class _Keeper:
    """Hands calls on, and keeps a copy of the last input."""

    def __init__(self, model: Any) -> None:
        self.model, self.placement = model, model.placement

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        self.fed = inputs[0].copy()
        outputs: tuple[Array, ...] = self.model(*inputs)
        return outputs
