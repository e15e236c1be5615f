"""One loaded TensorRT engine as a `Model`."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from engines.base import Array, EngineError, ModelSpec, Placement
from engines.model import LoadedModel
from engines.trt.execution import Execution

logger = logging.getLogger(__name__)


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

    def _run(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        try:
            return self._execution(inputs)
        except EngineError as e:
            shapes = ", ".join(str(array.shape) for array in inputs)
            raise type(e)(f"{self.name}: the run on {shapes} failed on {self.placement.device}: {e}") from e

    def _release(self) -> None:
        try:
            self._execution.close()
        except EngineError as e:
            # After an error on the GPU its driver refuses everything, giving memory back too.
            logger.warning("%s: not everything could be given back: %s", self.name, e)
