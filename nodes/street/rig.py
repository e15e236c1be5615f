"""The cameras of the glasses and where they sit on the head: lenses of the kind that Aria has, not of one device.

Camera axes: x to the right, y down, z forward. The wearer's head has the axes of the RGB camera, which looks a little
down; the SLAM cameras look outwards at either side.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import radians

import numpy as np
import numpy.typing as npt

from nodes.ops.camera import Camera, Mounted
from nodes.ops.fisheye import Fisheye624
from nodes.ops.turned import Resized

RGB_PITCH_DEG = 4.0
SLAM_YAW_DEG = 38.0


@dataclass(frozen=True, slots=True, eq=False)
class Mount:
    """A camera on the head."""

    camera: Camera
    rotation: npt.NDArray[np.float64]
    """(3, 3): turns camera coordinates into those of the head."""
    offset: npt.NDArray[np.float64]
    """(3,) metres, in the head's coordinates."""
    is_gray: bool = False

    @property
    def mounted(self) -> Mounted:
        """The camera as the wearer's head has it, for bearings around the wearer."""
        x, y, z = self.rotation.tolist()
        return Mounted(self.camera, (tuple(x), tuple(y), tuple(z)))


def turn(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> npt.NDArray[np.float64]:
    """Rotation of a camera, radians: first rolled (its right side down), then pitched up, then yawed to the right."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    yawed = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitched = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    rolled = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    turned: npt.NDArray[np.float64] = yawed @ pitched @ rolled
    return turned


def rgb(size_wh: tuple[int, int]) -> Mount:
    """The colour camera: a circle of 110 degrees."""
    lens = Fisheye624(
        (1408, 1408), 610.9, 704.6, 702.8, k=(0.105, 0.062, -0.012, 0.004, 0.0, 0.0), p=(3e-4, -2e-4),
        s=(-4e-4, 1e-5, 3e-4, -1e-5), valid_radius_px=707.5,
    )  # fmt: skip
    camera: Camera = lens if size_wh == lens.size_wh else Resized(lens, size_wh)
    return Mount(camera, turn(pitch=-radians(RGB_PITCH_DEG)), np.zeros(3))


def slam(side: int) -> Mount:
    """A tracking camera, 640 by 480, left (-1) or right (+1) of the colour camera."""
    lens = Fisheye624(
        (640, 480), 241.6, 319.2 + side, 240.3, k=(-0.026, 0.098, -0.066, 0.010, 0.003, -0.001), p=(1e-4, 2e-4),
        s=(-2e-4, 1e-5, 1e-4, -1e-5),
    )  # fmt: skip
    return Mount(lens, turn(yaw=side * radians(SLAM_YAW_DEG)), np.array([side * 0.055, 0.008, -0.012]), is_gray=True)
