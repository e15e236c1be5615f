"""Joins what was detected with how far it is, into what the wearer may need to hear of. Knows no words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import cos, inf, radians, sin
from typing import Any

import numpy as np
import numpy.typing as npt

from graph import Node, Stamp
from nodes.messages import DepthMap, Detections, Hazard, Hazards, Priority, Tracks
from nodes.ops import checks
from nodes.ops.approach import Approach
from nodes.ops.bearing import box_bearings_deg
from nodes.ops.camera import Pinhole
from nodes.ops.distance import object_distance_m, object_nearness, relative_range

Measure = Callable[[npt.NDArray[np.float32]], tuple[float | None, float | None]]

MOST_SLANTED_DEG = 60.0
"""Depth along the axis tells little beyond this bearing: there it is taken as if it stood at this one."""
BOTTOM_EDGE = 0.97
"""A box that ends below this part of the picture's height is cut by the bottom edge."""


class Fuse(Node):
    """Gives each detection its bearing, its distance where there is depth, and its priority; most urgent first.

    Where it is given tracks, they take the place of the detections, and from where each was over the last second it
    tells when it will touch the wearer.

    Args:
        min_conf: Of detections without tracks, what is less certain is not passed on.
        classes: What to pass on, by class name; null: everything.
        max_distance_m: What is farther is not passed on; null: everything.
        urgent_m: Something nearer than this in the wearer's path is urgent (priority 1).
        urgent_ttc_s: Something that will touch the wearer sooner than this is urgent, too.
        near_m: Something nearer than this is of normal priority (2), as is all of which the distance is unknown.
        reach: How many times farther away something matters as much as a person does, by class name: {car: 2}.
        path_half_width_m: Half the width that a walking person needs.
        body_top: The wearer's own hands and lap, which detectors call a person, reach up from the bottom edge of the
            picture to no higher than this, as a part of its height from the top. Anybody else who reaches the bottom
            edge stands so near that the head is far above it; only who lies at the wearer's feet is taken for the
            wearer. Seen from glasses at a table, own hands reach to 0.70 and a neighbour's arms to 0.64. null: keep
            them.
        hfov_deg: Horizontal field of view that is assumed where the camera is unknown.
    """

    def __init__(
        self,
        *,
        min_conf: float = 0.35,
        classes: Sequence[str] | None = None,
        max_distance_m: float | None = None,
        urgent_m: float = 1.5,
        urgent_ttc_s: float = 2.0,
        near_m: float = 5.0,
        reach: Mapping[str, float] | None = None,
        path_half_width_m: float = 0.6,
        body_top: float | None = 0.65,
        hfov_deg: float = 70.0,
    ) -> None:
        self.min_conf, self.classes = min_conf, None if classes is None else frozenset(classes)
        self.max_distance_m = inf if max_distance_m is None else max_distance_m
        self.urgent_m, self.near_m, self.reach = urgent_m, near_m, dict(reach or {})
        self.urgent_ttc_s = urgent_ttc_s
        self.path_half_width_m, self.body_top, self.hfov_deg = path_half_width_m, body_top, hfov_deg
        self.approach = Approach()
        self.last_depth: DepthMap | None = None

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        yield from checks.number_problems(params, "min_conf", low=0, high=1)
        for key in ("urgent_m", "urgent_ttc_s", "near_m", "path_half_width_m"):
            yield from checks.number_problems(params, key, low=0)
        for key, high in (("max_distance_m", inf), ("body_top", 1.0)):
            if params.get(key) is not None:
                yield from checks.number_problems(params, key, low=0, high=high)
        yield from checks.number_problems({"hfov_deg": 70, **params}, "hfov_deg", low=1, high=179)
        yield from checks.names_problems(params, "classes")
        yield from checks.numbers_by_name_problems(params, "reach", "{car: 2}")

    def process(
        self,
        detections: Detections,
        depth: DepthMap | None = None,
        tracks: Tracks | None = None,
        stamp: Stamp | None = None,
    ) -> Hazards:
        """Hazards of one frame; depth may be of a slightly earlier one. `stamp` matters with tracks only."""
        found = detections if tracks is None else tracks.detections
        camera = found.camera or Pinhole.from_hfov(found.size_wh, self.hfov_deg)
        bearings, measure = box_bearings_deg(camera, found.xyxy), _measure(depth, found.size_wh)
        wanted = [i for i in range(len(found)) if self._is_wanted(found, i, is_sure=tracks is not None)]
        items = [self._hazard(found, i, bearing=float(bearings[i, 1]), measure=measure) for i in wanted]
        if tracks is not None and stamp is not None:
            if depth is not self.last_depth:  # a map that is held tells the same distance again, of a later time
                self._note(items, tracks.track_id[wanted], bearings[wanted], now_ns=stamp.captured_ns)
            self.last_depth = depth
            ids = tracks.track_id[wanted].tolist()
            items = [self._followed(h, i, now_ns=stamp.captured_ns) for h, i in zip(items, ids, strict=True)]
        items = [h for h in items if h.distance_m is None or h.distance_m <= self.max_distance_m]
        return Hazards(tuple(sorted(items, key=self._urgency)), found.size_wh)

    def _note(
        self, items: Sequence[Hazard], ids: npt.NDArray[np.int32], bearings: npt.NDArray[np.float64], *, now_ns: int
    ) -> None:
        """Remember where each of those that are followed is."""
        self.approach.forget(now_ns)
        for h, track_id, (left, _, right) in zip(items, ids.tolist(), bearings.tolist(), strict=True):
            if h.distance_m is not None:
                self.approach.note(track_id, now_ns, distance_m=h.distance_m, edges_deg=(left, right))

    def _followed(self, h: Hazard, track_id: int, *, now_ns: int) -> Hazard:
        """The hazard with its number, and with the time that is left until it touches the wearer."""
        ttc_s = self.approach.ttc_s(track_id, now_ns, half_width_m=self.path_half_width_m)
        return replace(h, track_id=track_id, ttc_s=ttc_s, priority=1 if ttc_s < self.urgent_ttc_s else h.priority)

    def _is_wanted(self, detections: Detections, i: int, *, is_sure: bool) -> bool:
        if not is_sure and detections.conf[i] < self.min_conf:
            return False
        name = detections.name(i)
        if self.classes is not None and name not in self.classes:
            return False
        height = detections.size_wh[1]
        top, bottom = detections.xyxy[i, 1] / height, detections.xyxy[i, 3] / height
        is_own_body = self.body_top is not None and name == "person" and bottom > BOTTOM_EDGE and top >= self.body_top
        return not is_own_body

    def _hazard(self, detections: Detections, i: int, *, bearing: float, measure: Measure) -> Hazard:
        depth_m, nearness = measure(detections.xyxy[i])
        # Depth is along the camera's axis, distance is along the ground to the object.
        slant = cos(radians(min(abs(bearing), MOST_SLANTED_DEG)))
        distance_m = None if depth_m is None else depth_m / slant
        left, top, right, bottom = (float(v) for v in detections.xyxy[i])
        return Hazard(
            name=detections.name(i),
            bearing_deg=bearing,
            xyxy=(left, top, right, bottom),
            conf=float(detections.conf[i]),
            priority=self._priority(detections.name(i), distance_m, bearing=bearing),
            distance_m=distance_m,
            nearness=nearness,
        )

    def _priority(self, name: str, distance_m: float | None, *, bearing: float) -> Priority:
        if distance_m is None:
            return 2
        reach = self.reach.get(name, 1.0)
        is_in_path = abs(bearing) < 90 and abs(distance_m * sin(radians(bearing))) < self.path_half_width_m
        if distance_m < self.urgent_m * reach and is_in_path:
            return 1
        return 2 if distance_m < self.near_m * reach else 3

    def _urgency(self, h: Hazard) -> tuple[float, ...]:
        """Key by which hazards are sorted: smaller is more urgent. Where no depth is known, the tallest is nearest."""
        distance = inf if h.distance_m is None else h.distance_m / self.reach.get(h.name, 1.0)
        return h.priority, distance, -(h.nearness or 0.0), h.xyxy[1] - h.xyxy[3]


def _measure(depth: DepthMap | None, size_wh: tuple[int, int]) -> Measure:
    """What finds depth in metres and nearness of the object in a box, as far as `depth` tells them."""
    if depth is None:
        return lambda _: (None, None)
    values = depth.values
    if depth.kind == "metres":
        return lambda box: (object_distance_m(values, box, size_wh), None)
    limits = relative_range(values)
    if limits is None:
        return lambda _: (None, None)
    return lambda box: (None, object_nearness(values, box, size_wh=size_wh, limits=limits))
