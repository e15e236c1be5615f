"""Cameras of turned and resized images: the same lens, other pixels. Knows no particular lens.

Pixel centres are at whole numbers, as everywhere here and in OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from nodes.ops.camera import Camera, Points, whole_pair

Degrees = Literal[0, 90, 180, 270]
"""Clockwise turn of an image."""

_TURNS: dict[int, tuple[tuple[int, int], tuple[int, int]]] = {
    0: ((1, 0), (0, 1)),
    90: ((0, -1), (1, 0)),
    180: ((-1, 0), (0, -1)),
    270: ((0, 1), (-1, 0)),
}
"""Rotation matrices of x (right) and y (down)."""


def turned_wh(size_wh: tuple[int, int], deg: int) -> tuple[int, int]:
    """Width and height after a clockwise turn."""
    return size_wh if deg % 180 == 0 else (size_wh[1], size_wh[0])


def turn_pixels(xy: npt.ArrayLike, size_wh: tuple[int, int], deg: int) -> Points:
    """Where pixels (n, 2) of an image of `size_wh` are after a clockwise turn by `deg`."""
    middle = (np.asarray(size_wh) - 1) / 2
    new_middle = (np.asarray(turned_wh(size_wh, deg)) - 1) / 2
    pixels: Points = (np.asarray(xy, np.float64).reshape(-1, 2) - middle) @ np.asarray(_TURNS[deg]).T + new_middle
    return pixels


def scale_pixels(xy: npt.ArrayLike, from_wh: tuple[int, int], to_wh: tuple[int, int]) -> Points:
    """Where pixels (n, 2) of an image of `from_wh` are once it is resized to `to_wh`."""
    factor = np.asarray(to_wh) / np.asarray(from_wh)
    pixels: Points = (np.asarray(xy, np.float64).reshape(-1, 2) + 0.5) * factor - 0.5
    return pixels


@dataclass(frozen=True, slots=True)
class Turned:
    """The camera whose image is that of `camera`, turned clockwise; its own x and y axes turn along."""

    camera: Camera
    deg: Degrees

    @property
    def size_wh(self) -> tuple[int, int]:
        """See `Camera.size_wh`."""
        return turned_wh(self.camera.size_wh, self.deg)

    def unproject(self, xy: npt.ArrayLike) -> Points:
        """See `Camera.unproject`."""
        rays = self.camera.unproject(turn_pixels(xy, self.size_wh, -self.deg % 360))
        return np.column_stack([rays[:, :2] @ np.asarray(_TURNS[self.deg]).T, rays[:, 2]])

    def project(self, points: npt.ArrayLike) -> Points:
        """See `Camera.project`."""
        p = np.asarray(points, np.float64).reshape(-1, 3)
        original = np.column_stack([p[:, :2] @ np.asarray(_TURNS[self.deg]), p[:, 2]])
        return turn_pixels(self.camera.project(original), self.camera.size_wh, self.deg)


@dataclass(frozen=True, slots=True)
class Resized:
    """The camera whose image is that of `camera`, resized to `size_wh`."""

    camera: Camera
    size_wh: tuple[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_wh", whole_pair("Resized.size_wh", self.size_wh))

    def unproject(self, xy: npt.ArrayLike) -> Points:
        """See `Camera.unproject`."""
        return self.camera.unproject(scale_pixels(xy, self.size_wh, self.camera.size_wh))

    def project(self, points: npt.ArrayLike) -> Points:
        """See `Camera.project`."""
        return scale_pixels(self.camera.project(points), self.camera.size_wh, self.size_wh)
