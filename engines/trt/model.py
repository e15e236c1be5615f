"""One loaded TensorRT engine as a `Model`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

from engines.base import Array, EngineError, ModelSpec, Place, Placement
from engines.model import LoadedModel
from engines.trt.execution import Execution

logger = logging.getLogger(__name__)
T = TypeVar("T")


class TrtModel(LoadedModel):
    """A model on TensorRT. Not for calls from several threads at once, but not bound to the thread that loaded it."""

    def __init__(self, name: str, execution: Execution, *, placement: Placement, metadata: Mapping[str, str]) -> None:
        super().__init__(name, placement, execution.inputs, execution.outputs, metadata)
        self._execution = execution

    @property
    def enqueue_ns(self) -> int | None:
        """How long the last call took to put its work on the stream: what the GPU waits for where it is the longer."""
        return self._execution.enqueue_ns

    def warm_up(self, spec: ModelSpec, *, runs: int) -> None:
        """See `LoadedModel.warm_up`; what was compiled for this GPU on the way is kept."""
        super().warm_up(spec, runs=runs)
        self._execution.save()

    def places(self, *shapes: tuple[int, ...]) -> tuple[Place, ...]:
        """See `engines.base.FedOnDevice`."""
        return self._told(lambda: self._execution.places(shapes), shapes)

    def run_placed(self, *shapes: tuple[int, ...]) -> tuple[Array, ...]:
        """See `engines.base.FedOnDevice`."""
        return self._told(lambda: self._execution.run_placed(shapes), shapes)

    def _run(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        return self._told(lambda: self._execution(inputs), tuple(array.shape for array in inputs))

    def _told(self, call: Callable[[], T], shapes: tuple[tuple[int, ...], ...]) -> T:
        """What `call` gives; its error with who failed, on what."""
        try:
            return call()
        except EngineError as e:
            on = ", ".join(map(str, shapes))
            raise type(e)(f"{self.name}: the run on {on} failed on {self.placement.device}: {e}") from e

    def _release(self) -> None:
        try:
            self._execution.close()
        except EngineError as e:
            # After an error on the GPU its driver refuses everything, giving memory back too.
            logger.warning("%s: not everything could be given back: %s", self.name, e)
