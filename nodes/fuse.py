"""Joins what was detected with how far it is, into what the wearer may need to hear of. Knows no words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import radians, sin
from typing import Any

import numpy as np

from graph import Node
from nodes.messages import DepthMap, Detections, Hazard, Hazards, Priority
from nodes.ops import checks
from nodes.ops.camera import Pinhole, bearing_deg
from nodes.ops.distance import object_distance_m, object_nearness


class Fuse(Node):
    """Gives each detection its bearing, its distance where there is depth, and its priority; most urgent first.

    Args:
        min_conf: What is less certain is not passed on.
        classes: What to pass on, by class name; null: everything.
        urgent_m: Something nearer than this in the wearer's path is urgent (priority 1).
        near_m: Something nearer than this is of normal priority (2), as is all of which the distance is unknown.
        path_half_width_m: Half the width that a walking person needs.
        body_top: The wearer's own hands and lap, which detectors call a person, reach up from the bottom edge of the
            picture to no higher than this, as a part of its height from the top. Anybody else who reaches the bottom
            edge stands so near that the head is far above it. null: keep them.
        hfov_deg: Horizontal field of view that is assumed where the camera is unknown.
    """

    def __init__(
        self,
        *,
        min_conf: float = 0.35,
        classes: Sequence[str] | None = None,
        urgent_m: float = 1.5,
        near_m: float = 5.0,
        path_half_width_m: float = 0.6,
        body_top: float | None = 0.65,
        hfov_deg: float = 70.0,
    ) -> None:
        self.min_conf, self.classes = min_conf, None if classes is None else frozenset(classes)
        self.urgent_m, self.near_m, self.path_half_width_m = urgent_m, near_m, path_half_width_m
        self.body_top, self.hfov_deg = body_top, hfov_deg

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        yield from checks.number_problems(params, "min_conf", low=0, high=1)
        for key in ("urgent_m", "near_m", "path_half_width_m"):
            yield from checks.number_problems(params, key, low=0)
        if params.get("body_top") is not None:
            yield from checks.number_problems(params, "body_top", low=0, high=1)
        yield from checks.names_problems(params, "classes")

    def process(self, detections: Detections, depth: DepthMap | None = None) -> Hazards:
        """Hazards of one frame; depth may be of a slightly earlier one."""
        bearings = self._bearings(detections)
        items = [
            self._hazard(detections, i, float(bearings[i]), depth)
            for i in range(len(detections))
            if detections.conf[i] >= self.min_conf and self._is_wanted(detections, i)
        ]
        items.sort(key=lambda h: (h.priority, h.distance_m if h.distance_m is not None else np.inf, -h.conf))
        return Hazards(tuple(items), detections.size_wh)

    def _is_wanted(self, detections: Detections, i: int) -> bool:
        name = detections.name(i)
        if self.classes is not None and name not in self.classes:
            return False
        height = detections.size_wh[1]
        top, bottom = detections.xyxy[i, 1] / height, detections.xyxy[i, 3] / height
        is_own_body = self.body_top is not None and name == "person" and bottom > 0.97 and top >= self.body_top
        return not is_own_body

    def _bearings(self, detections: Detections) -> np.ndarray[Any, np.dtype[np.float64]]:
        camera = detections.camera or Pinhole.from_hfov(detections.size_wh, self.hfov_deg)
        centres = (detections.xyxy[:, :2] + detections.xyxy[:, 2:]) / 2 - 0.5
        return np.nan_to_num(bearing_deg(camera.unproject(centres)))

    def _hazard(self, detections: Detections, i: int, bearing: float, depth: DepthMap | None) -> Hazard:
        box = detections.xyxy[i]
        distance_m = nearness = None
        if depth is not None and depth.kind == "metres":
            distance_m = object_distance_m(depth.values, box, detections.size_wh)
        elif depth is not None:
            nearness = object_nearness(depth.values, box, detections.size_wh)
        left, top, right, bottom = (float(v) for v in box)
        return Hazard(
            detections.name(i),
            bearing,
            (left, top, right, bottom),
            float(detections.conf[i]),
            self._priority(distance_m, bearing),
            distance_m,
            nearness,
        )

    def _priority(self, distance_m: float | None, bearing: float) -> Priority:
        if distance_m is None:
            return 2
        aside_m = abs(distance_m * sin(radians(bearing)))
        if distance_m < self.urgent_m and aside_m < self.path_half_width_m:
            return 1
        return 2 if distance_m < self.near_m else 3
