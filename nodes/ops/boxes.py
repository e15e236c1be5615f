"""Boxes as arrays: candidates of a detector head and what is left of them after suppression. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

MAX_CANDIDATES = 1000
"""Suppression takes time with their square: 8 ms for 1000 that do not overlap. Street scenes have about 100."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes as a head proposes them: parallel arrays in pixels of the model's input; n may be 0."""

    xyxy: npt.NDArray[np.float32]
    """(n, 4) left, top, right, bottom; may reach over the edges of the input."""
    conf: npt.NDArray[np.float32]
    """(n,) in 0..1."""
    class_id: npt.NDArray[np.int32]
    """(n,)"""

    def __len__(self) -> int:
        return len(self.conf)

    def take(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Candidates:
        """The candidates at `index`, a mask or positions, in its order."""
        return Candidates(self.xyxy[index], self.conf[index], self.class_id[index])


def strongest(candidates: Candidates, count: int) -> Candidates:
    """The `count` most confident candidates, most confident first."""
    order = np.argsort(-candidates.conf, kind="stable")[:count]
    return candidates.take(order)


def suppress(candidates: Candidates, iou: float, *, agnostic: bool = False, count: int = 300) -> Candidates:
    """Non-maximum suppression: of boxes that overlap by more than `iou`, the most confident one.

    Per class, or across classes where `agnostic`. At most `count` boxes, most confident first. Only the
    `MAX_CANDIDATES` most confident candidates are looked at.
    """
    if len(candidates) > MAX_CANDIDATES:
        candidates = strongest(candidates, MAX_CANDIDATES)
    if len(candidates) < 2:
        return candidates
    # OpenCV keeps classes apart by shifting each by the largest coordinate, which needs coordinates of 0 and more.
    xywh = (candidates.xyxy - candidates.xyxy.min()).astype(np.float64)
    xywh[:, 2:] -= xywh[:, :2]
    class_id = np.zeros_like(candidates.class_id) if agnostic else candidates.class_id
    # Its stubs say sequences; arrays are what it reads fastest.
    boxes, conf, ids = cast("tuple[Any, Any, Any]", (xywh, candidates.conf, class_id))
    kept = cv2.dnn.NMSBoxesBatched(boxes, conf, ids, 0.0, iou)
    # Its own top_k limits what it looks at, not what it keeps.
    return candidates.take(np.asarray(kept, np.intp)[:count])


def overlaps(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Intersection over union (n, m) of boxes (n, 4) and (m, 4)."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    both = (a[:, 2:] - a[:, :2]).prod(axis=1)[:, None] + (b[:, 2:] - b[:, :2]).prod(axis=1)[None] - shared
    iou: npt.NDArray[np.float32] = shared / np.maximum(both, 1e-9)
    return iou
