"""Memory for the inputs and outputs of one model, on the host and on the device, made once for the largest batch."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from engines.base import Array
from engines.cuda import Device


@dataclass(frozen=True, slots=True)
class Buffer:
    """One input or output."""

    host: Array
    """(bytes,) uint8, pinned."""
    address: int
    """Where it lies on the device."""
    dtype: np.dtype[Any]

    def view(self, shape: tuple[int, ...]) -> Array:
        """The first bytes of the host's memory as an array of this shape."""
        array: Array = self.host[: prod(shape) * self.dtype.itemsize].view(self.dtype).reshape(shape)
        return array


def size_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Bytes of such an array; one at least, since there is no memory of none."""
    return max(prod(shape) * dtype.itemsize, 1)


def make(
    device: Device, tensors: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], stack: ExitStack
) -> dict[str, Buffer]:
    """Buffers by name for `tensors`, their largest shape and type; `stack` gives them back."""
    made = {}
    for name, (shape, dtype) in tensors.items():
        size = size_of(shape, dtype)
        address = device.allocate(size)
        stack.callback(device.free, address)
        host = device.allocate_host(size)
        stack.callback(device.free_host, host)
        made[name] = Buffer(host, address, dtype)
    return made
