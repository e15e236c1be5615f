"""An engine around another one that notes when each call of its models began and ended. Nothing in a node changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np

from engines.base import Array, Engine, Model, ModelSpec, Placement, Tensor

Clock = Callable[[], int]


@dataclass(slots=True)
class Call:
    """One call of a model; nanoseconds of the clock."""

    begun_ns: int
    ended_ns: int
    enqueue_ns: int | None
    """Time that it took to submit the work, where the model tells it."""
    not_finite: int
    """Values of the outputs that are NaN or infinite; 0 where they were not looked at."""


class StopwatchModel:
    """A model whose calls are timed. `looks` counts what is not finite too, outside of the time that is noted."""

    def __init__(self, model: Model, clock: Clock, *, looks: bool = False) -> None:
        self.model, self.clock, self.looks = model, clock, looks
        self.inputs: Sequence[Tensor] = model.inputs
        self.outputs: Sequence[Tensor] = model.outputs
        self.metadata: Mapping[str, str] = model.metadata
        self.last: Call | None = None

    @property
    def placement(self) -> Placement:
        """Where the model runs now: a ladder may go down a step."""
        return self.model.placement

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """See `engines.base.Model`."""
        begun = self.clock()
        outputs = self.model(*inputs)
        ended = self.clock()
        not_finite = sum(int((~np.isfinite(o)).sum()) for o in outputs if o.dtype.kind == "f") if self.looks else 0
        self.last = Call(begun, ended, getattr(self.model, "enqueue_ns", None), not_finite)
        return outputs

    def close(self) -> None:
        """Release the model."""
        self.model.close()


class StopwatchEngine:
    """Loads models of `engine`, each with a stopwatch. The last one is `model`, what it was asked for `spec`."""

    def __init__(self, engine: Engine, *, clock: Clock = perf_counter_ns, looks: bool = False) -> None:
        self.engine, self.clock, self.looks = engine, clock, looks
        self.model: StopwatchModel | None = None
        self.spec: ModelSpec | None = None

    def load(self, spec: ModelSpec) -> Model:
        """See `engines.base.Engine`."""
        self.spec = spec
        self.model = StopwatchModel(self.engine.load(spec), self.clock, looks=self.looks)
        return self.model
