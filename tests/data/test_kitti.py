"""Distances of labelled objects, from the depth that a lidar measured inside their boxes.

A label tells the centre of a 3D box, a lidar sees the side that faces it: what was measured must lie between the two,
along the ground, within 3 % of noise.
"""

from dataclasses import dataclass
from math import atan2, cos, degrees, hypot, sin
from pathlib import Path

import cv2
import numpy as np
import pytest

from nodes.fuse import Fuse
from nodes.messages import DepthMap, Detections
from nodes.ops.camera import Pinhole

pytestmark = pytest.mark.data


@dataclass(frozen=True)
class Label:
    """One line of label_2: a box in the picture, and one on the ground, seen from above (x right, z ahead)."""

    name: str
    xyxy: np.ndarray
    width_m: float
    length_m: float
    x: float
    z: float
    turned: float

    @property
    def centre_m(self) -> float:
        return hypot(self.x, self.z)

    @property
    def bearing_deg(self) -> float:
        return degrees(atan2(self.x, self.z))

    @property
    def front_m(self) -> float:
        """Distance at which the line of sight to the centre enters the box."""
        heading = np.array([cos(self.turned), -sin(self.turned)])
        aside = np.array([sin(self.turned), cos(self.turned)])
        sight = np.array([self.x, self.z]) / self.centre_m
        return self.centre_m - min(
            half / abs(side @ sight) if abs(side @ sight) > 1e-6 else np.inf
            for side, half in ((heading, self.length_m / 2), (aside, self.width_m / 2))
        )


def calibration(path: Path) -> dict[str, np.ndarray]:
    rows = (line.split(":") for line in path.read_text().splitlines() if line)
    return {name: np.array(values.split(), float) for name, values in rows}


def lidar_depth(kitti: Path, frame: str, size_wh: tuple[int, int]) -> np.ndarray:
    """Sparse depth in metres (h, w), NaN where no point falls."""
    c = calibration(kitti / "calib" / f"{frame}.txt")
    points = np.fromfile(kitti / "velodyne" / f"{frame}.bin", np.float32).reshape(-1, 4)[:, :3]
    camera = c["R0_rect"].reshape(3, 3) @ (c["Tr_velo_to_cam"].reshape(3, 4) @ np.c_[points, np.ones(len(points))].T)
    u, v, z = c["P2"].reshape(3, 4) @ np.r_[camera, np.ones((1, camera.shape[1]))]
    depth = np.full((size_wh[1], size_wh[0]), np.nan, np.float32)
    x, y = np.round(u / z).astype(int), np.round(v / z).astype(int)
    inside = (z > 0.5) & (x >= 0) & (x < size_wh[0]) & (y >= 0) & (y < size_wh[1])
    order = np.argsort(-z[inside])
    depth[y[inside][order], x[inside][order]] = z[inside][order]
    return depth


def labels(kitti: Path, frame: str) -> list[Label]:
    rows = [line.split() for line in (kitti / "label_2" / f"{frame}.txt").read_text().splitlines()]
    return [
        Label(r[0], np.array(r[4:8], np.float32), float(r[9]), float(r[10]), float(r[11]), float(r[13]), float(r[14]))
        for r in rows
        if r[0] != "DontCare"
    ]


class Scene:
    """One frame: its lidar as a depth map, its labels, and what `Fuse` makes of both."""

    def __init__(self, data: Path, frame: str) -> None:
        kitti = data / "kitti"
        height, width = cv2.imread(str(kitti / "image_2" / f"{frame}.png")).shape[:2]
        p2 = calibration(kitti / "calib" / f"{frame}.txt")["P2"].reshape(3, 4)
        self.size_wh = (width, height)
        self.camera = Pinhole(self.size_wh, p2[0, 0], p2[1, 1], p2[0, 2], p2[1, 2])
        self.depth = DepthMap(lidar_depth(kitti, frame, self.size_wh), "metres", self.size_wh)
        self.labels = labels(kitti, frame)

    def hazard(self, label: Label):
        one = (np.ones(1, np.float32), np.zeros(1, np.int32))
        detections = Detections(label.xyxy[None], *one, (label.name,), self.size_wh, self.camera)
        (hazard,) = Fuse().process(detections, self.depth).items
        return hazard


def test_the_pedestrian_at_8_61_m_is_not_where_the_background_is(data):
    scene = Scene(data, "000000")
    (pedestrian,) = scene.labels
    left, top, right, bottom = pedestrian.xyxy.astype(int)
    assert np.nanmedian(scene.depth.values[top:bottom, left:right]) > 12
    hazard = scene.hazard(pedestrian)
    assert pedestrian.centre_m == pytest.approx(8.61, abs=0.01)
    assert hazard.distance_m == pytest.approx(8.61, rel=0.05)
    assert hazard.bearing_deg == pytest.approx(12.3, abs=0.5)


@pytest.mark.parametrize(
    ("frame", "name", "centre_m"),
    [
        ("000000", "Pedestrian", 8.6),
        ("000001", "Car", 60.8),
        ("000001", "Cyclist", 46.1),
        ("000001", "Truck", 69.4),
        ("000002", "Misc", 9.1),
        ("000002", "Car", 34.5),
    ],
)
def test_what_is_measured_lies_between_the_side_that_faces_the_camera_and_the_centre(data, frame, name, centre_m):
    scene = Scene(data, frame)
    (label,) = [x for x in scene.labels if x.name == name]
    hazard = scene.hazard(label)
    assert label.centre_m == pytest.approx(centre_m, abs=0.1)
    assert 0.97 * label.front_m < hazard.distance_m < 1.03 * label.centre_m
    # The middle of the picture of a long box that is seen at a slant is not the picture of its middle.
    assert hazard.bearing_deg == pytest.approx(label.bearing_deg, abs=1.5)
