"""What all loaded models have in common: inputs are checked by name, outputs belong to the caller, closing is safe."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from engines.base import Array, EngineError, ModelSpec, OutOfMemoryError, Placement, Tensor
from engines.shapes import text, warm_up_shapes

logger = logging.getLogger(__name__)


class LoadedModel(ABC):
    """A model in a runtime. Not for calls from several threads at once."""

    def __init__(
        self,
        name: str,
        placement: Placement,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        metadata: Mapping[str, str],
    ) -> None:
        self.name, self.placement = name, placement
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.metadata = metadata
        self._closed = False

    @abstractmethod
    def _run(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """Run once on inputs that fit; the outputs are never written again."""

    @abstractmethod
    def _release(self) -> None:
        """Release everything."""

    def _plain(self, error: Exception) -> str:
        """The runtime's message without what is of use to its authors only."""
        return " ".join(str(error).split()) or type(error).__name__

    def _is_out_of_memory(self, error: Exception) -> bool:
        return isinstance(error, MemoryError)

    def _free_memory(self) -> str:
        """What is free on the device, for people; empty where that is not known."""
        return ""

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run once; see `engines.base.Model`. Raises EngineError for arrays that do not fit, and when the run fails."""
        self._check(inputs)
        try:
            return self._run(inputs)
        except EngineError:
            raise
        except Exception as e:
            raise self._failure(e, inputs) from e

    def close(self) -> None:
        """Release the model and its memory. May be called again."""
        if not self._closed:
            self._closed = True
            self._release()

    def warm_up(self, spec: ModelSpec, *, runs: int) -> None:
        """Run on zeros, `runs` times for each batch size; a result that is not finite is a warning.

        A model whose height or width is still free after `spec` cannot be warmed up, and is not.
        """
        for shapes in warm_up_shapes(spec, self.inputs):
            zeros = [np.zeros(shape, tensor.dtype) for shape, tensor in zip(shapes, self.inputs, strict=True)]
            for _ in range(runs):
                outputs = self(*zeros)
                if not all(np.isfinite(output).all() for output in outputs):
                    logger.warning(
                        "%s gives values that are not finite for a black image on %s at %s; compare it with fp32",
                        *(self.name, self.placement.device, self.placement.precision),
                    )

    def _check(self, inputs: tuple[Array, ...]) -> None:
        if len(inputs) != len(self.inputs):
            names = [tensor.name for tensor in self.inputs]
            raise EngineError(
                f"{self.name}: {len(inputs)} arrays are given; the model takes {len(self.inputs)}: {names}"
            )
        for tensor, array in zip(self.inputs, inputs, strict=True):
            shape = array.shape
            if array.dtype == tensor.dtype and len(shape) == len(tensor.shape):
                for want, got in zip(tensor.shape, shape, strict=True):
                    if want is not None and want != got:
                        break
                else:
                    continue
            raise EngineError(
                f"{self.name}: input {tensor.name!r} is {array.dtype} {shape}; "
                f"expected {tensor.dtype} {text(tensor.shape)}"
            )
        if self._closed:
            raise EngineError(f"{self.name}: the model is closed; load it again")

    def _failure(self, error: Exception, inputs: tuple[Array, ...]) -> EngineError:
        device = self.placement.device
        if self._is_out_of_memory(error):
            batch = inputs[0].shape[0] if inputs and inputs[0].ndim else 1
            free = self._free_memory() or "unknown how much is free"
            return OutOfMemoryError(
                f"{self.name}: {device} has too little memory for a batch of {batch}: {free}; "
                "lower the batch, choose precision fp16 or a smaller model, or raise memory_limit_mb"
            )
        return EngineError(f"{self.name}: the run failed on {device}: {self._plain(error)}")
