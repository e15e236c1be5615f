"""Stand-ins with names for what a vision node is given: an engine whose model answers what the test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from engines.base import Array, ModelSpec, Placement, Tensor

PLACEMENT = Placement("fake", "cpu", "cpu", "FakeProvider", "fp32", "as requested")


@dataclass
class FakeModel:
    """Answers with `answer(image)`, and remembers a copy of the last input."""

    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    answer: Callable[[Array], Array]
    metadata: Mapping[str, str] = field(default_factory=dict)
    placement: Placement = PLACEMENT
    closed: bool = False
    fed: Array | None = None

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        self.fed = inputs[0].copy()
        return (self.answer(inputs[0]),)

    def close(self) -> None:
        self.closed = True


class FakeEngine:
    """Loads a `FakeModel` that gives `output` for every image; by default it takes whatever shape it is asked for."""

    def __init__(
        self,
        output: Array | Callable[[Array], Array],
        *,
        takes: tuple[int | None, ...] | None = None,
        gives: tuple[int | None, ...] | None = None,
        metadata: Mapping[str, str] | None = None,
        dtype: type[np.generic] = np.float32,
    ) -> None:
        self.answer = output if callable(output) else lambda _: output
        self.gives = gives or (() if callable(output) else output.shape)
        self.takes, self.metadata, self.dtype = takes, metadata or {}, dtype
        self.spec: ModelSpec | None = None
        self.model: FakeModel | None = None

    def load(self, spec: ModelSpec) -> FakeModel:
        self.spec = spec
        image = Tensor("images", self.takes or spec.inputs[""], np.dtype(self.dtype))
        output = Tensor("output", self.gives, np.dtype(self.dtype))
        self.model = FakeModel([image], [output], self.answer, self.metadata)
        return self.model
