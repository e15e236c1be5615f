"""The interface of all engines: `Engine.load(ModelSpec) -> Model`. If you hold a model, it works; there is no `is_loaded`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Precision = Literal["fp32", "fp16", "bf16", "int8"]


class EngineError(RuntimeError):
    """A model cannot be loaded, or not where it was asked to be. The message names model, cause and remedy."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named input or output of a model. A dimension of None is free."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model's file is: a path, or an official address with the sha256 of what must come from there."""

    path: str | None = None
    url: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a node wants loaded."""

    name: str
    weights: Weights
    inputs: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    """Shapes that the node will feed, by input name; "" stands for the sole input. None = any."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model runs, as read back from the runtime, beside what was asked for."""

    backend: str
    requested_device: str
    device: str
    provider: str
    precision: str
    reason: str
    """Why it runs there: "as requested", or what made it fall back."""

    @property
    def fallback(self) -> bool:
        """Whether the model runs somewhere else than where it was asked to."""
        return self.device != self.requested_device


class Model(Protocol):
    """A loaded, warmed-up model."""

    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    metadata: Mapping[str, str]
    """What the model file says of itself, such as {"names": "{0: 'person', ...}"}."""
    placement: Placement

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run once. Inputs in the order of `inputs`, batched; a C-contiguous array of the right type is not copied."""
        ...

    def close(self) -> None:
        """Release the model and its memory."""
        ...


class Engine(Protocol):
    """Loads models onto one kind of runtime and device."""

    def load(self, spec: ModelSpec) -> Model:
        """Load, verify and warm up; raise `EngineError` when anything is not as asked."""
        ...
