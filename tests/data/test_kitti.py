"""Distances of labelled objects, from the depth that a lidar measured inside their boxes.

A label tells the centre of the 3D box; what faces the camera is nearer by half the object's extent along the view.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest

from nodes.fuse import Fuse
from nodes.messages import DepthMap, Detections
from nodes.ops.camera import Pinhole

pytestmark = pytest.mark.data


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


def labels(kitti: Path, frame: str) -> list[tuple[str, np.ndarray, np.ndarray, float]]:
    """Name, box, centre (x, z) and length of each labelled object."""
    rows = [line.split() for line in (kitti / "label_2" / f"{frame}.txt").read_text().splitlines()]
    return [
        (r[0], np.array(r[4:8], np.float32), np.array([float(r[11]), float(r[13])]), float(r[10]))
        for r in rows
        if r[0] != "DontCare"
    ]


def found(data: Path, frame: str) -> list[tuple[str, float, float, float, float]]:
    """Name, measured and true distance, measured and true bearing of each object."""
    kitti = data / "kitti"
    height, width = cv2.imread(str(kitti / "image_2" / f"{frame}.png")).shape[:2]
    p2 = calibration(kitti / "calib" / f"{frame}.txt")["P2"].reshape(3, 4)
    camera = Pinhole((width, height), p2[0, 0], p2[1, 1], p2[0, 2], p2[1, 2])
    depth = DepthMap(lidar_depth(kitti, frame, (width, height)), "metres", (width, height))
    out = []
    for name, box, (x, z), length in labels(kitti, frame):
        one = (np.ones(1, np.float32), np.zeros(1, np.int32))
        d = Detections(box[None], *one, (name,), (width, height), camera)
        (hazard,) = Fuse(body_top=None).process(d, depth).items
        out.append(
            (name, hazard.distance_m, z - min(length, 4.5) / 2, hazard.bearing_deg, np.degrees(np.arctan2(x, z)))
        )
    return out


def test_the_pedestrian_at_8_61_m_is_not_where_the_background_is(data):
    ((name, distance_m, _, bearing, true_bearing),) = found(data, "000000")
    assert name == "Pedestrian"
    assert distance_m == pytest.approx(8.61, rel=0.05)
    assert bearing == pytest.approx(true_bearing, abs=1)


@pytest.mark.parametrize("frame", ["000001", "000002"])
def test_others_are_measured_at_the_side_that_faces_the_camera(data, frame):
    for name, distance_m, true_m, bearing, true_bearing in found(data, frame):
        assert distance_m == pytest.approx(true_m, rel=0.08), name
        assert bearing == pytest.approx(true_bearing, abs=1.5), name  # of a long side seen at a slant, the box's middle
