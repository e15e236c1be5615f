"""Writes what was detected, one line of JSON a frame, for other programs and for tests to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from graph import Node, Stamp
from nodes.messages import Detections


class Record(Node):
    """Appends to `path` a line per frame, also where nothing was found. What is written survives a kill.

    The keys of a line: seq, captured_ns, origin, and the parallel lists xyxy (pixels of the source frame), conf,
    class_id, class_name.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.file: TextIO | None = None

    def setup(self) -> None:
        """Begin the file anew."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.path.open("w", encoding="utf-8", buffering=1)

    def process(self, detections: Detections, stamp: Stamp) -> None:
        """Write one line."""
        assert self.file is not None, "process before setup"
        self.file.write(json.dumps(line(detections, stamp), ensure_ascii=False) + "\n")

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
        "xyxy": [[round(float(v), 2) for v in box] for box in detections.xyxy],
        "conf": [round(float(c), 4) for c in detections.conf],
        "class_id": [int(i) for i in detections.class_id],
        "class_name": [detections.name(i) for i in range(len(detections))],
    }
