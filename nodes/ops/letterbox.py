"""Puts an image into the input tensor of a model, keeping its aspect, and maps boxes back.

Knows no model and no message: plain arrays in, plain arrays out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from engines.base import Fit

Anchor = Literal["centre", "corner"]
"""Where the picture lies in the input: in the middle (Ultralytics), or in the top left corner (YOLOX)."""
Colour = Literal["rgb", "bgr"]
"""Order of the channels that a model was trained with."""

FILL = 114
"""Gray of the padding, the value that the YOLO family is trained with."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a source image lies in a model's input: input = source * scale + pad."""

    scale: float
    """Input pixels per source pixel, the same in both directions."""
    pad_xy: tuple[int, int]
    """Left and top padding, input pixels."""

    @classmethod
    def fit(cls, source_wh: tuple[int, int], input_wh: tuple[int, int], *, anchor: Anchor = "centre") -> Letterbox:
        """The largest picture of `source_wh` that fits into `input_wh` with its aspect kept."""
        scale = min(input_wh[0] / source_wh[0], input_wh[1] / source_wh[1])
        if anchor == "corner":
            return cls(scale, (0, 0))
        left, top = (
            (side - max(1, round(length * scale))) // 2 for side, length in zip(input_wh, source_wh, strict=True)
        )
        return cls(scale, (left, top))

    def picture_wh(self, source_wh: tuple[int, int]) -> tuple[int, int]:
        """Size of the resized picture without padding, in whole input pixels."""
        return max(1, round(source_wh[0] * self.scale)), max(1, round(source_wh[1] * self.scale))

    def to_source(self, xy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Points (n, 2) or boxes (n, 4) in input pixels, as source pixels."""
        mapped: npt.NDArray[np.float32] = (xy - self._pads(xy)) / np.float32(self.scale)
        return mapped

    def to_input(self, xy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Points (n, 2) or boxes (n, 4) in source pixels, as input pixels."""
        mapped: npt.NDArray[np.float32] = xy * np.float32(self.scale) + self._pads(xy)
        return mapped

    def _pads(self, xy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.tile(np.asarray(self.pad_xy, np.float32), xy.shape[1] // 2)


class ImageTensor:
    """A model's input (1, 3, h, w) float32, allocated once (or `values`) and written anew for every image.

    A pixel of value v becomes `v * scale + offset`, per channel in the order of `colour`. Images of one size follow
    each other without new memory; a new size allocates once more. One user at a time: the tensor is overwritten by the
    next image.
    """

    def __init__(
        self,
        size_wh: tuple[int, int],
        *,
        colour: Colour = "rgb",
        scale: tuple[float, float, float] = (1 / 255, 1 / 255, 1 / 255),
        offset: tuple[float, float, float] = (0.0, 0.0, 0.0),
        values: npt.NDArray[np.float32] | None = None,
    ) -> None:
        width, height = size_wh
        self.size_wh = size_wh
        self.values = np.zeros((1, 3, height, width), np.float32) if values is None else values
        self._channels = (0, 1, 2) if colour == "rgb" else (2, 1, 0)
        self._scale = [np.float32(s) for s in scale]
        self._offset = [np.float32(o) for o in offset]
        self._layout: tuple[tuple[int, ...], Anchor | None] = ((), None)
        self._box = Letterbox(1.0, (0, 0))
        self._resized: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
        self._planes: list[npt.NDArray[np.uint8]] = []

    def letterbox(self, pixels: npt.NDArray[np.uint8], *, anchor: Anchor = "centre") -> Letterbox:
        """Write `pixels`, (h, w, 3) RGB or (h, w) gray, aspect kept and padded; returns how it lies there."""
        if self._layout != (pixels.shape, anchor):
            self._layout = (pixels.shape, anchor)
            source_wh = (pixels.shape[1], pixels.shape[0])
            self._box = Letterbox.fit(source_wh, self.size_wh, anchor=anchor)
            self._allocate(pixels.shape, self._box.picture_wh(source_wh))
            for channel in range(3):
                self.values[0, channel] = FILL * self._scale[channel] + self._offset[channel]
        self._write(pixels, self._box.pad_xy)
        return self._box

    def stretch(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Write `pixels`, (h, w, 3) RGB or (h, w) gray, over the whole tensor; the aspect is not kept."""
        if self._layout != (pixels.shape, None):
            self._layout = (pixels.shape, None)
            self._allocate(pixels.shape, self.size_wh)
        self._write(pixels, (0, 0))

    def fit(self, source_wh: tuple[int, int], *, anchor: Anchor | None) -> tuple[Letterbox, Fit]:
        """How an image of this size would be written by `letterbox`, or with `anchor` None by `stretch`."""
        box = Letterbox(1.0, (0, 0)) if anchor is None else Letterbox.fit(source_wh, self.size_wh, anchor=anchor)
        picture_wh = self.size_wh if anchor is None else box.picture_wh(source_wh)
        scale, offset = ((float(x[0]), float(x[1]), float(x[2])) for x in (self._scale, self._offset))
        return box, Fit(picture_wh, box.pad_xy, self._channels[0] == 2, scale, offset, FILL)

    def _allocate(self, source_shape: tuple[int, ...], picture_wh: tuple[int, int]) -> None:
        shape = (picture_wh[1], picture_wh[0])
        self._resized = np.empty((*shape, *source_shape[2:]), np.uint8)
        self._planes = [np.empty(shape, np.uint8) for _ in source_shape[2:] and range(3)]

    def _write(self, pixels: npt.NDArray[np.uint8], at_xy: tuple[int, int]) -> None:
        height, width = self._resized.shape[:2]
        picture = pixels
        if pixels.shape[:2] != (height, width):
            cv2.resize(pixels, (width, height), dst=self._resized, interpolation=cv2.INTER_LINEAR)
            picture = self._resized
        if picture.ndim == 3:
            cv2.split(picture, self._planes)
        planes = self._planes or [picture] * 3
        left, top = at_xy
        target = self.values[0, :, top : top + height, left : left + width]
        for channel, source in enumerate(self._channels):
            np.multiply(planes[source], self._scale[channel], out=target[channel])
            if self._offset[channel]:
                target[channel] += self._offset[channel]


class BatchTensor:
    """Memory (n, 3, h, w) float32 for up to n images at once, allocated once; each image has a layout of its own.

    `settings` are those of `ImageTensor`.
    """

    def __init__(self, size_wh: tuple[int, int], count: int, **settings: Any) -> None:
        width, height = size_wh
        self._values: npt.NDArray[np.float32] = np.zeros((count, 3, height, width), np.float32)
        self.images = [ImageTensor(size_wh, values=self._values[i : i + 1], **settings) for i in range(count)]

    def first(self, count: int) -> npt.NDArray[np.float32]:
        """The first `count` images (count, 3, h, w), in one piece."""
        return self._values[:count]
