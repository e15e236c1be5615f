"""The kernel that puts an image into the input of a model, loaded on one device."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int, c_void_p
from pathlib import Path

import numpy as np

from engines.base import EngineError, Fit, Place
from engines.cuda import Device

CODE = Path(__file__).with_name("fit.ptx")
TYPES = (c_void_p, c_void_p, *[c_int] * 11, *[c_float] * 6)
TILE_W, TILE_H = 32, 8
"""Threads of a block: neighbours in a row read and write neighbouring bytes."""


class FitKernel:
    """The kernel of fit.cu, in the context of a device that is in use."""

    def __init__(self, device: Device) -> None:
        self._device = device
        text = ctypes.create_string_buffer(CODE.read_bytes())
        try:
            self._module = device.call("cuModuleLoadData", ctypes.addressof(text))
        except EngineError as e:
            raise EngineError(f"{CODE.name} cannot be loaded: {e}; it needs compute capability 7.5 or newer") from e
        self._functions = {
            np.dtype(name): device.call("cuModuleGetFunction", self._module, f"fit_{name}".encode())
            for name in ("float32", "float16")
        }

    def launch(self, source: int, shape: tuple[int, ...], place: Place, fit: Fit) -> None:
        """Put the image of this shape at the address `source` into `place`, on the place's stream."""
        function = self._functions.get(place.dtype)
        if function is None or len(place.shape) != 4 or place.shape[:2] != (1, 3):
            raise EngineError(f"the model takes {place.dtype} {place.shape}; expected (1, 3, h, w) float32 or float16")
        height, width = place.shape[2:]
        channels = shape[2] if len(shape) == 3 else 1
        values = (
            *(source, place.address, shape[1], shape[0], channels, width, height, *fit.at_xy, *fit.picture_wh),
            *(int(fit.is_bgr), fit.fill, *fit.scale, *fit.offset),
        )
        grid = (-(-width // TILE_W), -(-height // TILE_H), 1)
        self._device.call(
            "cuLaunchKernel", function, *grid, TILE_W, TILE_H, 1, 0, place.stream, (values, TYPES), 0
        )  # fmt: skip

    def close(self) -> None:
        """Unload it."""
        self._functions.clear()
        self._device.call("cuModuleUnload", self._module)
