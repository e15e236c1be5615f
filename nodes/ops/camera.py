"""Camera models: from a pixel to the ray it sees, and back.

Camera coordinates: x to the right, y down, z forward, metres. Pixels: (0, 0) is the centre of the top left pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import radians, tan
from typing import Protocol

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]


class Camera(Protocol):
    """Intrinsics of one camera for images of `size_wh` pixels. Immutable."""

    def __hash__(self) -> int:
        """What is computed for a camera is kept by it."""
        ...

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the images in pixels."""
        ...

    def unproject(self, xy: npt.ArrayLike) -> Points:
        """Rays (n, 3) of unit length through the pixels (n, 2); NaN where the lens sees nothing."""
        ...

    def project(self, points: npt.ArrayLike) -> Points:
        """Pixels (n, 2) of points (n, 3) in camera coordinates; NaN for what the lens does not see."""
        ...


@dataclass(frozen=True, slots=True)
class Pinhole:
    """A lens without distortion: x = fx X/Z + cx, y = fy Y/Z + cy."""

    size_wh: tuple[int, int]
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_wh", whole_pair("Pinhole.size_wh", self.size_wh))

    @classmethod
    def from_hfov(cls, size_wh: tuple[int, int], hfov_deg: float) -> Pinhole:
        """A pinhole with square pixels whose image is `hfov_deg` wide."""
        if not 0 < hfov_deg < 180:
            raise ValueError(f"hfov_deg is {hfov_deg}; expected more than 0 and less than 180 degrees")
        width, height = size_wh
        f = width / 2 / tan(radians(hfov_deg) / 2)
        return cls(size_wh, f, f, (width - 1) / 2, (height - 1) / 2)

    def unproject(self, xy: npt.ArrayLike) -> Points:
        """See `Camera.unproject`."""
        xy = np.asarray(xy, np.float64).reshape(-1, 2)
        rays = np.column_stack([(xy[:, 0] - self.cx) / self.fx, (xy[:, 1] - self.cy) / self.fy, np.ones(len(xy))])
        unit: Points = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        return unit

    def project(self, points: npt.ArrayLike) -> Points:
        """See `Camera.project`."""
        p = np.asarray(points, np.float64).reshape(-1, 3)
        z = np.where(p[:, 2] > 0, p[:, 2], np.nan)
        return np.column_stack([self.fx * p[:, 0] / z + self.cx, self.fy * p[:, 1] / z + self.cy])


@dataclass(frozen=True, slots=True)
class Mounted:
    """A camera that looks elsewhere than its wearer: rays and points are told in the axes of the wearer's head.

    So a bearing that is read through it is the wearer's, whichever camera saw it. How far the camera is from the middle
    of the head (a hand's breadth) is left out.
    """

    lens: Camera
    rotation: tuple[tuple[float, float, float], ...]
    """(3, 3): turns coordinates of the lens into those of the head."""

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the images in pixels."""
        return self.lens.size_wh

    def unproject(self, xy: npt.ArrayLike) -> Points:
        """See `Camera.unproject`."""
        turned: Points = self.lens.unproject(xy) @ np.array(self.rotation).T
        return turned

    def project(self, points: npt.ArrayLike) -> Points:
        """See `Camera.project`."""
        return self.lens.project(np.asarray(points, np.float64).reshape(-1, 3) @ np.array(self.rotation))


def whole_pair(owner: str, value: Sequence[int]) -> tuple[int, int]:
    """`value` as a tuple of width and height; ValueError that names `owner` where it is anything else."""
    pair = tuple(value) if isinstance(value, Sequence) else ()
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise ValueError(f"{owner} is {value!r}; expected width and height in pixels, such as [640, 480]")
    return pair[0], pair[1]


def numbers(owner: str, value: Sequence[float], count: int) -> tuple[float, ...]:
    """`value` as a tuple of `count` floats; ValueError that names `owner` where it has another length."""
    if not isinstance(value, Sequence) or len(value) != count:
        raise ValueError(f"{owner} is {value!r}; expected {count} numbers")
    return tuple(float(v) for v in value)


def bearing_deg(rays: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Bearings (n,) of rays (n, 3) in degrees: 0 straight ahead, positive right, in the horizontal plane."""
    r = np.asarray(rays, np.float64).reshape(-1, 3)
    return np.degrees(np.arctan2(r[:, 0], r[:, 2]))
