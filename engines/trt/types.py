"""The part of TensorRT's Python interface that is used here: the same in TensorRT 10, 11 and TensorRT for RTX.

NVIDIA's packages bring no types of their own. Names and arguments are theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Shape = Sequence[int]
"""Dimensions; -1 is free, or not known yet."""


class Network(Protocol):
    """What the parser fills and the builder reads."""

    num_inputs: int

    def get_input(self, index: int) -> Any:
        """A tensor with `name`, `shape` and `dtype`."""
        ...


class Parser(Protocol):
    """Reads an ONNX file into a network."""

    num_errors: int

    def parse_from_file(self, model: str) -> bool:
        """False on failure; see `get_error`."""
        ...

    def get_error(self, index: int) -> Any:
        """An error with `desc()` and `node_name()`."""
        ...

    def supports_operator(self, op_name: str) -> bool:
        """Whether there is an importer for this operator; not that every use of it can be built."""
        ...


class Profile(Protocol):
    """Least, usual and largest shape of each free input."""

    def set_shape(self, input: str, min: Shape, opt: Shape, max: Shape) -> None:
        """Set them for one input."""
        ...


class Config(Protocol):
    """How to build. TensorRT for RTX has `num_compute_capabilities` and `set_compute_capability` besides."""

    progress_monitor: Any

    def add_optimization_profile(self, profile: Profile) -> int:
        """Its index; -1 where it is not valid."""
        ...

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        """Limit what the builder, and later the engine, may use."""
        ...

    def set_flag(self, flag: Any) -> None:
        """Set a flag."""
        ...

    def clear_flag(self, flag: Any) -> None:
        """Clear a flag."""
        ...


class Builder(Protocol):
    """Makes engines."""

    def create_network(self, flags: int) -> Network:
        """An empty network."""
        ...

    def create_builder_config(self) -> Config:
        """A configuration with the defaults."""
        ...

    def create_optimization_profile(self) -> Profile:
        """An empty profile."""
        ...

    def build_serialized_network(self, network: Network, config: Config) -> Any | None:
        """The engine's bytes (a buffer); None on failure."""
        ...


class Context(Protocol):
    """One execution of an engine: shapes and addresses. Takes one call at a time."""

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Choose a profile."""
        ...

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """False where it is outside of the profile."""
        ...

    def get_tensor_shape(self, name: str) -> Shape:
        """Shape of an input or output, given the shapes that were set."""
        ...

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Where it lies on the device."""
        ...

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Put one run on the stream."""
        ...


class CudaEngine(Protocol):
    """A deserialised engine."""

    num_io_tensors: int
    device_memory_size_v2: int
    """Bytes that a run needs for what lies between its steps."""

    def get_tensor_name(self, index: int) -> str:
        """Name of an input or output."""
        ...

    def get_tensor_mode(self, name: str) -> Any:
        """A `TensorIOMode`."""
        ...

    def get_tensor_dtype(self, name: str) -> Any:
        """A `DataType`."""
        ...

    def get_tensor_shape(self, name: str) -> Shape:
        """Shape with -1 for what is free."""
        ...

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Sequence[Shape]:
        """Least, usual and largest shape of an input."""
        ...

    def create_execution_context(self, config: Any = ..., /) -> Context | None:
        """A context, by a strategy for its memory or, on TensorRT for RTX, a runtime configuration; None on failure."""
        ...


class Runtime(Protocol):
    """Reads engines."""

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> CudaEngine | None:
        """None on failure, without an exception: the reason is in the log only."""
        ...
