"""Writes what was detected, one line of JSON a frame, for other programs and for tests to read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from graph import Node, Stamp
from nodes.messages import Detections


class Record(Node):
    """Writes to `path` a line per frame, also where nothing was found. Whole lines survive a kill.

    The keys of a line: seq, captured_ns, origin, and the parallel lists xyxy (pixels of the source frame), conf,
    class_id, class_name. A number that is none (NaN, infinite) is null.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.file: BinaryIO | None = None

    def setup(self) -> None:
        """Begin the file anew."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.path.open("wb", buffering=0)

    def process(self, detections: Detections, stamp: Stamp) -> None:
        """Write one line."""
        assert self.file is not None, "process before setup"
        text = json.dumps(line(detections, stamp), ensure_ascii=False, allow_nan=False)
        self.file.write(f"{text}\n".encode())  # in one call: a kill leaves no half of it

    def close(self) -> None:
        """Close the file."""
        if self.file is not None:
            self.file.close()
            self.file = None


def line(detections: Detections, stamp: Stamp) -> Mapping[str, Any]:
    """One frame's detections as plain data: boxes with 2 decimals, confidences with 4."""
    return {
        "seq": stamp.seq,
        "captured_ns": stamp.captured_ns,
        "origin": stamp.origin,
        "xyxy": [[_rounded(v, 2) for v in box] for box in detections.xyxy.tolist()],
        "conf": [_rounded(c, 4) for c in detections.conf.tolist()],
        "class_id": detections.class_id.tolist(),
        "class_name": [detections.name(i) for i in range(len(detections))],
    }


def _rounded(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None
