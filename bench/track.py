"""How long the tracker takes for one frame, by how many objects are in it. Limit: 20 ms with 50, a fraction of a frame.

uv run python bench/track.py
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from time import perf_counter_ns

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import report
from graph import Stamp
from nodes.messages import Detections
from nodes.ops.boxes import overlaps
from nodes.track import Track

FRAMES, FPS, MOST = 200, 15, 50


def crowd(n: int) -> list[Detections]:
    """`n` persons who walk to the right, found with a noise of 2 px."""
    rng = np.random.default_rng(1)
    places, found = rng.uniform(40, 440, (n, 2)), []
    for i in range(FRAMES):
        left, top = (places + rng.normal(0, 2, (n, 2)) + (i, 0)).T
        boxes = np.stack([left - 20, top - 60, left + 20, top + 60], 1).astype(np.float32)
        conf, class_id = np.full(n, 0.9, np.float32), np.zeros(n, np.int32)
        found.append(Detections(boxes, conf, class_id, ("person",), (704, 704)))
    return found


def tracked(n: int) -> list[int]:
    """Nanoseconds of each frame."""
    node, taken = Track(), []
    for i, detections in enumerate(crowd(n)):
        begin = perf_counter_ns()
        node.process(detections, Stamp("camera", i, i * 10**9 // FPS))
        taken.append(perf_counter_ns() - begin)
    return taken


def compared(n: int) -> list[int]:
    """Nanoseconds of comparing each box with each, which no tracker by overlap does without."""
    taken = []
    for before, after in pairwise(crowd(n)):
        begin = perf_counter_ns()
        overlaps(before.xyxy, after.xyxy)
        taken.append(perf_counter_ns() - begin)
    return taken


def main() -> int:
    report.header("The tracker, one frame", packages=("numpy",))
    medians = {}
    for n in (5, 20, MOST):
        medians[n] = report.row(f"{n} objects", tracked(n))
        report.row("  overlaps of all of them alone", compared(n))
    return 0 if report.limit(f"{MOST} objects", medians[MOST], at_most=20e6) else 1


if __name__ == "__main__":
    sys.exit(main())
