"""How well the messages of one model agree with those of another, or with the truth. Knows no engine and no file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from nodes.messages import DepthMap, Detections

Map = npt.NDArray[np.float64]
AS_IS = "AbsRel as it is"
SMALLEST = 1e-3
"""Relative depth below this part of the map's largest is left out: a ratio to what is almost 0 says nothing."""
CLOSE = 1.25
"""delta1 counts pixels whose ratio to the truth is below this (Eigen, Puhrsch, Fergus 2014)."""


@dataclass(slots=True)
class BoxCount:
    """Boxes of a model (`found`) and of the reference, and how many of them are pairs."""

    found: int = 0
    reference: int = 0
    pairs: int = 0

    def add(self, found: Detections, reference: Detections, *, min_conf: float, iou: float) -> None:
        """Count one frame: boxes of at least `min_conf` of both sides."""
        a, b = strong(found, min_conf), strong(reference, min_conf)
        self.found += len(a.conf)
        self.reference += len(b.conf)
        self.pairs += pairs(a, b, iou)

    @property
    def f1(self) -> float | None:
        """Twice the pairs over all boxes; None where neither side found any."""
        both = self.found + self.reference
        return 2 * self.pairs / both if both else None


def strong(found: Detections, min_conf: float) -> Detections:
    """Those of at least `min_conf`."""
    keep = found.conf >= np.float32(min_conf)
    return Detections(
        found.xyxy[keep], found.conf[keep], found.class_id[keep], found.class_names, found.size_wh, found.camera
    )


def pairs(a: Detections, b: Detections, least_iou: float) -> int:
    """How many boxes of both can be paired one to one: same class, overlap of at least `least_iou`, best first."""
    overlaps = iou(a.xyxy, b.xyxy)
    overlaps[a.class_id[:, None] != b.class_id[None]] = 0
    count = 0
    while overlaps.size and overlaps.max() >= least_iou:
        i, j = np.unravel_index(overlaps.argmax(), overlaps.shape)
        overlaps[i, :] = 0
        overlaps[:, j] = 0
        count += 1
    return count


def iou(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Map:
    """Intersection over union (n, m) of boxes (n, 4) and (m, 4): left, top, right, bottom."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = np.clip(sides, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    whole = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0), np.float64)


def affine(values: npt.ArrayLike, target: npt.ArrayLike) -> tuple[float, float]:
    """Scale and shift that bring `values` closest to `target`, both (n,), by least squares.

    Of values that are all the same only the shift is known: the scale is 0.
    """
    x, y = np.asarray(values, np.float64), np.asarray(target, np.float64)
    spread = float(((x - x.mean()) ** 2).mean())
    if spread <= 1e-12 * max(1.0, float(x.mean()) ** 2):
        return 0.0, float(y.mean())
    scale = float(((x - x.mean()) * (y - y.mean())).mean()) / spread
    return scale, float(y.mean() - scale * x.mean())


def depth_errors(values: Map, target: Map, *, align: bool = True) -> dict[str, float] | None:
    """AbsRel, the mean of |values - target| / target, and delta1, after an affine alignment.

    Over the pixels of both maps, (h, w) each, where both are finite and the target is above 0; None where none is.
    """
    known = np.isfinite(values) & np.isfinite(target)
    if known.any():
        known &= target > SMALLEST * float(target[known].max())
    if not known.any():
        return None
    x, y = values[known].astype(np.float64), target[known].astype(np.float64)
    scale, shift = affine(x, y) if align else (1.0, 0.0)
    x = scale * x + shift
    ratio = np.maximum(np.divide(x, y), np.divide(y, x, out=np.full_like(y, np.inf), where=x > 0))
    return {"AbsRel": float((np.abs(x - y) / y).mean()), "delta1": float((ratio < CLOSE).mean()),
            "scale": scale, "shift": shift}  # fmt: skip


def against_reference(found: DepthMap, reference: DepthMap) -> dict[str, float] | None:
    """Errors of a map against that of the reference, aligned, and `AbsRel as it is`: metres must be the same metres."""
    a, b = found.values.astype(np.float64), reference.values.astype(np.float64)
    if a.shape != b.shape:
        a = np.asarray(cv2.resize(a, b.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float64)
    aligned, plain = depth_errors(a, b), depth_errors(a, b, align=False)
    return None if aligned is None or plain is None else {**aligned, AS_IS: plain["AbsRel"]}


def against_truth(found: DepthMap, truth_m: npt.NDArray[np.float32]) -> dict[str, float] | None:
    """Errors of a map against metres (h, w), NaN where unknown; None where nothing is known.

    Relative depth is aligned as inverse depth, which is what it is (Ranftl et al. 2020), and turned into metres.
    """
    height, width = found.values.shape
    sampled = cv2.resize(truth_m, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(np.float64)
    values = found.values.astype(np.float64)
    if found.kind == "metres":
        return depth_errors(values, sampled)
    known = np.isfinite(values) & np.isfinite(sampled)
    if not known.any():
        return None
    scale, shift = affine(values[known], 1 / sampled[known])
    inverse = np.maximum(scale * values + shift, 1 / (10 * float(sampled[known].max())))
    return depth_errors(1 / inverse, sampled, align=False)


@dataclass(slots=True)
class Means:
    """Means over frames."""

    total: dict[str, float] = field(default_factory=dict)
    n: int = 0

    def add(self, errors: dict[str, float] | None) -> None:
        """One frame; None: nothing of it is known."""
        if errors is not None:
            self.n += 1
            for key, value in errors.items():
                self.total[key] = self.total.get(key, 0.0) + value

    def figures(self) -> dict[str, Any] | None:
        """Means of the errors, without those of the alignment; None where no frame counted."""
        return {k: v / self.n for k, v in self.total.items() if k not in ("scale", "shift")} if self.n else None
