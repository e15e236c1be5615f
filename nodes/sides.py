"""What cameras at the sides see beyond the view of the one in front. Knows no words, and no distances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graph import Node, Stamp
from nodes.messages import Detections, Hazard, Hazards
from nodes.ops import checks
from nodes.ops.bearing import box_bearings_deg, box_heights_deg


class Sides(Node):
    """Gathers what several side cameras saw last into hazards around the wearer, the tallest first.

    Their lenses must be mounted (`nodes.ops.camera.Mounted`), so that bearings are the wearer's. Nothing measures a
    distance there, so all are of priority 2; how tall something appears stands for how near it is.

    Args:
        beyond_deg: Only what is farther aside than this is told; the rest is seen by the camera in front, with depth.
        classes: What to tell of, by class name; null: everything.
        min_conf: What is less certain is not told.
        min_height_deg: What appears lower than this is too far away to matter: a person fills 15 degrees at 6.5 m.
        keep_s: What a camera saw counts for so long, in case it gives nothing new.
    """

    def __init__(
        self,
        *,
        beyond_deg: float = 50.0,
        classes: Sequence[str] | None = None,
        min_conf: float = 0.5,
        min_height_deg: float = 15.0,
        keep_s: float = 0.5,
    ) -> None:
        self.beyond_deg, self.min_conf, self.min_height_deg = beyond_deg, min_conf, min_height_deg
        self.classes = None if classes is None else frozenset(classes)
        self.keep_ns = int(keep_s * 1e9)
        self.seen: dict[str, tuple[int, Sequence[tuple[float, Hazard]]]] = {}

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        yield from checks.number_problems(params, "min_conf", low=0, high=1)
        for key in ("beyond_deg", "min_height_deg"):
            yield from checks.number_problems(params, key, low=0, high=180)
        yield from checks.number_problems(params, "keep_s", low=0)
        yield from checks.names_problems(params, "classes")

    def process(self, detections: Detections, stamp: Stamp) -> Hazards:
        """Everything beside the wearer, of all cameras; a box (`xyxy`) is one of the camera that saw it."""
        self.seen[stamp.origin] = stamp.captured_ns, self._told(detections, stamp)
        fresh = [h for t, found in self.seen.values() if stamp.captured_ns - t <= self.keep_ns for h in found]
        return Hazards(tuple(h for _, h in sorted(fresh, key=lambda pair: -pair[0])), detections.size_wh)

    def _told(self, found: Detections, stamp: Stamp) -> Sequence[tuple[float, Hazard]]:
        """What is worth telling of one frame, each with its height in degrees."""
        if found.camera is None:
            raise ValueError(
                f"the frames of {stamp.origin} come without a camera, so nobody can tell where around the wearer their "
                "objects are; use a source that knows its lenses"
            )
        bearings, heights = box_bearings_deg(found.camera, found.xyxy)[:, 1], box_heights_deg(found.camera, found.xyxy)
        told = []
        for i, (bearing, height) in enumerate(zip(bearings.tolist(), heights.tolist(), strict=True)):
            is_wanted = self.classes is None or found.name(i) in self.classes
            is_there = found.conf[i] >= self.min_conf and height >= self.min_height_deg
            if is_wanted and is_there and abs(bearing) > self.beyond_deg:
                left, top, right, bottom = (float(v) for v in found.xyxy[i])
                box, conf = (left, top, right, bottom), float(found.conf[i])
                told.append((height, Hazard(found.name(i), bearing, box, conf, 2)))
        return told
