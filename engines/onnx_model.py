"""One loaded ONNX Runtime session as a `Model`: checks what goes in, runs, gives back arrays."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from engines.base import Array, EngineError, ModelSpec, Placement, Tensor
from engines.shapes import text, warm_up_shapes

logger = logging.getLogger(__name__)

NOISE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |/onnxruntime_src/\S+:\d+ (\S+ .*?\) )?")
DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(bool)": np.bool_,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(int16)": np.int16,
    "tensor(uint16)": np.uint16,
    "tensor(int32)": np.int32,
    "tensor(uint32)": np.uint32,
    "tensor(int64)": np.int64,
    "tensor(uint64)": np.uint64,
}


def tensors(args: Iterable[Any]) -> tuple[Tensor, ...]:
    """Inputs or outputs as the session describes them; EngineError for a type that numpy does not have."""
    found = []
    for arg in args:
        if arg.type not in DTYPES:
            raise EngineError(f"{arg.name!r} is a {arg.type}, which numpy does not have; export the model with float32")
        shape = tuple(n if isinstance(n, int) and n >= 0 else None for n in arg.shape)
        found.append(Tensor(arg.name, shape, np.dtype(DTYPES[arg.type])))
    return tuple(found)


def plain(error: Exception) -> str:
    """The runtime's message without its own codes and source positions."""
    return NOISE.sub("", str(error)).strip().rstrip(".")


class OnnxModel:
    """A model in an ONNX Runtime session. Not for calls from several threads at once."""

    def __init__(self, name: str, session: Any, *, placement: Placement) -> None:
        self.name, self.placement = name, placement
        self.inputs: Sequence[Tensor] = tensors(session.get_inputs())
        self.outputs: Sequence[Tensor] = tensors(session.get_outputs())
        self.metadata: Mapping[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        self._input_names = [tensor.name for tensor in self.inputs]
        self._output_names = [tensor.name for tensor in self.outputs]
        self._session = session

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run once; see `engines.base.Model`. Raises EngineError for arrays that do not fit, and when the run fails."""
        self._check(inputs)
        try:
            return tuple(self._session.run(self._output_names, dict(zip(self._input_names, inputs, strict=True))))
        except Exception as e:
            if self._session is None:
                raise EngineError(f"{self.name}: the model is closed; load it again") from None
            raise EngineError(f"{self.name}: the run failed on {self.placement.device}: {plain(e)}") from e

    def close(self) -> None:
        """Release the session and its memory. May be called again."""
        self._session = None

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
            raise EngineError(
                f"{self.name}: {len(inputs)} arrays are given; the model takes {len(self.inputs)}: {self._input_names}"
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
