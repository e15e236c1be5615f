"""Shapes and memory of a TensorRT engine: what it takes, what a node gives, and what is free."""

from __future__ import annotations

from engines.base import EngineError, OutOfMemoryError
from engines.cuda import Device
from engines.trt.types import CudaEngine


def shape_range(engine: CudaEngine, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Least and largest shape of an input."""
    shape = tuple(engine.get_tensor_shape(name))
    if all(n >= 0 for n in shape):
        return shape, shape
    least, _, largest = engine.get_tensor_profile_shape(name, 0)
    return tuple(least), tuple(largest)


def common(least: tuple[int, ...], largest: tuple[int, ...]) -> tuple[int | None, ...]:
    """A shape whose sizes are free where they differ."""
    return tuple(a if a == b else None for a, b in zip(least, largest, strict=True))


def require_batch(shape: tuple[int, ...], least: tuple[int, ...], largest: tuple[int, ...]) -> None:
    """EngineError where the engine was not built for a batch of this size."""
    if all(a <= n <= b for a, n, b in zip(least, shape, largest, strict=True)):
        return
    wider = [max(min(shape[0], least[0]), 1), least[0], max(shape[0], largest[0])]
    raise EngineError(
        f"a batch of {shape[0]} is given, but the engine was built for {least[0]} to {largest[0]}; set batch to {wider}"
    )


def require_memory(device: Device, engine: CudaEngine, held: int, *, limit_mb: int | None) -> None:
    """OutOfMemoryError before anything is tried, where what is sure to be needed is not there.

    `held` are the bytes of weights, inputs and outputs; what lies between the steps, the engine says.
    """
    scratch = engine.device_memory_size_v2
    needed = f"{(held + scratch) / 1e6:.1f} MB are needed"
    if limit_mb is not None and held + scratch > limit_mb << 20:
        raise OutOfMemoryError(
            f"{needed}, memory_limit_mb is {limit_mb}; raise it, lower the largest batch, or choose a smaller model"
        )
    free, total = device.memory()
    # The weights are on the device by now, and are no longer free.
    if scratch > free:
        raise OutOfMemoryError(
            f"{needed}, {free >> 20} of {total >> 20} MB are free on cuda:{device.number}; lower the largest batch, "
            "choose a smaller model, or close what else uses the GPU"
        )
