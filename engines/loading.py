"""What all engines have in common: a model is opened, compared with what was asked for, warmed up, and then given."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from engines.base import Array, EngineError, Model, ModelSpec, OutOfMemoryError, Precision
from engines.model import LoadedModel
from engines.shapes import shape_problem
from engines.sources import Scheme, calibrated, onnx_source

logger = logging.getLogger(__name__)


class Loader(ABC):
    """An engine. What its class adds is how a model is opened."""

    scheme: Scheme = "u8s8"
    """The kind of int8 files that it reads."""

    def __init__(self, device: str, precision: Precision | None, *, allow_fallback: bool, warm_up: int) -> None:
        self.device, self.precision = device, precision
        self.allow_fallback, self.warm_up = allow_fallback, warm_up

    @abstractmethod
    def _open(self, spec: ModelSpec) -> LoadedModel:
        """Open `spec`. Messages of its EngineErrors need not name the model."""

    def _fallback_remedy(self) -> str:
        """What to do so that a model gets where it was asked to be; empty, or with "; or " at its end."""
        return ""

    def load(self, spec: ModelSpec) -> Model:
        """Load `spec`, verify that it is what and where it was asked to be, and warm it up."""
        try:
            model = self._open(spec)
        except EngineError as e:
            raise type(e)(f"{spec.name}: {e}") from e
        except MemoryError as e:
            raise OutOfMemoryError(f"{spec.name}: too little memory on {self.device} to load it") from e
        try:
            self._verify(spec, model)
            model.warm_up(spec, runs=self.warm_up)
        except BaseException:
            model.close()
            raise
        at = model.placement
        if at.fallback:
            logger.warning("%s: %s was asked for, it runs on %s: %s", spec.name, self.device, at.device, at.reason)
        logger.info("%s runs on %s (%s, %s)", spec.name, at.device, at.provider, at.precision)
        return model

    def prepare(
        self,
        spec: ModelSpec,
        *,
        precision: Precision | None = None,
        samples: Sequence[Array] = (),
        origin: str = "",
        told: Callable[[int], None] = lambda _: None,
    ) -> Path:
        """See `engines.base.Exporter`."""
        try:
            if precision == "int8":
                return calibrated(spec, self.scheme, samples, origin, told=told)
            return self._prepared(spec, precision or self.precision)
        except EngineError as e:
            raise type(e)(f"{spec.name}: {e}") from e

    def _prepared(self, spec: ModelSpec, precision: Precision | None) -> Path:
        """The file that this engine loads for `spec`."""
        return onnx_source(spec, precision, scheme=self.scheme).path

    def _verify(self, spec: ModelSpec, model: LoadedModel) -> None:
        at = model.placement
        file = at.path.name if at.path else "the model"
        if problem := shape_problem(spec, model.inputs, file):
            raise EngineError(f"{spec.name}: {problem}")
        if at.fallback and not self.allow_fallback:
            raise EngineError(
                f"{spec.name}: device {self.device} is asked for, but {at.backend} put the model on {at.device} "
                f"({at.provider}): {at.reason}; {self._fallback_remedy()}set device to cpu, or allow_fallback to true"
            )
        if self.precision is not None and at.precision not in (self.precision, "unknown"):
            raise EngineError(
                f"{spec.name}: precision {self.precision} is asked for, but {at.backend} runs the model in "
                f"{at.precision} on {at.device}; set precision to {at.precision}, or choose another backend or device"
            )


def word_problems(
    params: Mapping[str, Any], *, precisions: tuple[str, ...] = get_args(Precision), null: str = ""
) -> Iterator[str]:
    """Mistakes in the parameters that all engines have; `null` says what precision null means, if it may be that."""
    precision = params.get("precision", precisions[0])
    if precision not in precisions and not (null and precision is None):
        tail = f", or null for {null}" if null else ""
        yield f"precision: is {precision!r}; expected {', '.join(precisions)}{tail}"
    for key, least in (("threads", 1), ("warm_up", 0), ("memory_limit_mb", 1)):
        value = params.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            yield f"{key}: is {value!r}; expected a whole number, {least} or more"


def refuse(target: str, problems: Iterator[str]) -> None:
    """EngineError with all `problems` of the parameters of `target`, if there are any."""
    if found := list(problems):
        raise EngineError(f"{target}: {'; '.join(found)}")
