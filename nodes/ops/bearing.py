"""Where boxes are, as seen from the wearer: bearings and angular heights through the lens. Knows no message."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nodes.ops.camera import Camera, bearing_deg

Floats = npt.NDArray[np.float64]

TOWARDS_CENTRE = np.linspace(0, 1, 21)
"""Steps from a point that the lens does not see to the middle of the picture."""


def box_bearings_deg(camera: Camera, xyxy: npt.NDArray[np.float32]) -> Floats:
    """(n, 3) degrees: of the left edge, the middle and the right edge of each box (n, 4).

    What the lens does not see is taken as where it begins to see, on the way to the middle of the picture.
    """
    left, top, right, bottom = xyxy.T
    edges = [np.stack([x, (top + bottom) / 2], axis=1) for x in (left, (left + right) / 2, right)]
    places = np.stack(edges, axis=1).reshape(-1, 2) - 0.5
    return bearing_deg(_seen_rays(camera, places)).reshape(-1, 3)


def box_heights_deg(camera: Camera, xyxy: npt.NDArray[np.float32]) -> Floats:
    """(n,) degrees between the top and the bottom of each box (n, 4), at the middle of its width."""
    left, top, right, bottom = xyxy.T
    tops, bottoms = (_seen_rays(camera, np.stack([(left + right) / 2, y], axis=1) - 0.5) for y in (top, bottom))
    heights: Floats = np.degrees(np.arccos(np.clip((tops * bottoms).sum(axis=1), -1, 1)))
    return heights


def _seen_rays(camera: Camera, places: npt.NDArray[np.floating]) -> Floats:
    """Rays (n, 3) through pixels (n, 2), or through the next ones towards the middle of the picture that are seen."""
    rays = camera.unproject(places)
    for i in np.flatnonzero(np.isnan(rays).any(axis=1)):
        rays[i] = _nearest_seen(camera, places[i])
    return rays


def _nearest_seen(camera: Camera, place: npt.NDArray[np.floating]) -> Floats:
    """Ray (3,) of the first point from `place` towards the middle that the lens sees; straight ahead without any."""
    middle = (np.array(camera.size_wh) - 1) / 2
    rays = camera.unproject(place + TOWARDS_CENTRE[:, None] * (middle - place))
    seen = np.flatnonzero(np.isfinite(rays).all(axis=1))
    return rays[seen[0]] if len(seen) else np.array([0.0, 0.0, 1.0])
