"""One loaded ONNX Runtime session as a `Model`: runs on arrays of the host, or stays on its device."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from engines import nvidia
from engines.base import Array, DeviceArray, EngineError, Place, Placement, Tensor
from engines.device.streams import WorkerStream
from engines.model import LoadedModel

NOISE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |/onnxruntime_src/\S+:\d+ (\S+ .*?\) )?")
OUT_OF_MEMORY = re.compile(r"Failed to allocate memory|out of memory|CUDA failure 2\b|bad_alloc", re.IGNORECASE)
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


class OnnxModel(LoadedModel):
    """A model in an ONNX Runtime session. Not for calls from several threads at once."""

    def __init__(
        self,
        name: str,
        session: Any,
        *,
        placement: Placement,
        metadata: Mapping[str, str],
        stream: WorkerStream | None = None,
    ) -> None:
        super().__init__(name, placement, tensors(session.get_inputs()), tensors(session.get_outputs()), metadata)
        self._input_names = [tensor.name for tensor in self.inputs]
        self._output_names = [tensor.name for tensor in self.outputs]
        self._session, self._stream = session, stream
        self._placed: dict[tuple[tuple[int, ...], ...], list[Any]] = {}

    def _run(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(self._session.run(self._output_names, dict(zip(self._input_names, inputs, strict=True))))

    def on_device(self, *inputs: DeviceArray) -> tuple[DeviceArray, ...]:
        """See `engines.base.StaysOnDevice`. The outputs are ONNX Runtime's own arrays (`OrtValue`)."""
        from onnxruntime import OrtValue

        binding = self._session.io_binding()
        held = [OrtValue.from_dlpack(array) for array in inputs]
        for name, value in zip(self._input_names, held, strict=True):
            binding.bind_ortvalue_input(name, value)
        kind, _, number = self.placement.device.partition(":")
        for name in self._output_names:
            binding.bind_output(name, kind, int(number or 0))
        binding.synchronize_inputs()
        try:
            self._session.run_with_iobinding(binding)
        except Exception as e:
            raise EngineError(f"{self.name}: the run failed on {self.placement.device}: {plain(e)}") from e
        binding.synchronize_outputs()
        return tuple(binding.get_outputs())

    def places(self, *shapes: tuple[int, ...]) -> tuple[Place, ...] | None:
        """See `engines.base.FedOnDevice`. None off a worker with a stream: which one the session runs on is unknown."""
        if self._stream is None or self.placement.device == "cpu":
            return None
        if shapes not in self._placed:
            from onnxruntime import OrtValue

            kind, _, number = self.placement.device.partition(":")
            self._placed[shapes] = [
                OrtValue.ortvalue_from_shape_and_type(shape, tensor.dtype, kind, int(number))
                for shape, tensor in zip(shapes, self.inputs, strict=True)
            ]
        return tuple(
            Place(self.placement.device, value.data_ptr(), shape, tensor.dtype, self._stream.handle)
            for value, shape, tensor in zip(self._placed[shapes], shapes, self.inputs, strict=True)
        )

    def run_placed(self, *shapes: tuple[int, ...]) -> tuple[Array, ...]:
        """See `engines.base.FedOnDevice`. Raises EngineError when the run fails."""
        self.places(*shapes)
        binding = self._session.io_binding()
        for name, value in zip(self._input_names, self._placed[shapes], strict=True):
            binding.bind_ortvalue_input(name, value)
        for name in self._output_names:
            binding.bind_output(name, "cpu")
        # No wait before the run: its inputs were put on the very stream that it runs on.
        try:
            self._session.run_with_iobinding(binding)
            binding.synchronize_outputs()
        except Exception as e:
            raise EngineError(f"{self.name}: the run failed on {self.placement.device}: {plain(e)}") from e
        return tuple(value.numpy() for value in binding.get_outputs())

    def _release(self) -> None:
        self._placed.clear()
        self._session = None

    def _plain(self, error: Exception) -> str:
        return plain(error)

    def _is_out_of_memory(self, error: Exception) -> bool:
        return bool(OUT_OF_MEMORY.search(str(error)))

    def _free_memory(self) -> str:
        return nvidia.free_memory() if self.placement.device != "cpu" else ""
