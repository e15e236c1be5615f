"""How good the exported files are, measured through the application's own nodes on streets that no training saw."""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.base import Engine
from nodes.depth import Depth
from nodes.detector import Detector
from nodes.messages import DepthMap, Detections, Frame, Truth
from nodes.ops.distance import object_distance_m
from nodes.street import CLASS_NAMES, Studio
from nodes.training.frames import SHOT_PX, FrameSettings, is_label, scene_of, times_of

FAR_M, NEAR_M = 30.0, 8.0
LEAST_CONF = 0.001
"""Average precision wants all candidates."""


def evaluate(
    engine: Engine,
    detector: Mapping[str, Any],
    depth: Mapping[str, Any],
    settings: FrameSettings,
    *,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Figures of both networks on the test scenes, rendered afresh. `detector`, `depth`: parameters of the nodes."""
    found = Detector(engine, **{**detector, "min_conf": LEAST_CONF})
    far = Depth(engine, **depth)
    found.setup()
    far.setup()
    boxes, maps = _Boxes(), _Maps()
    try:
        for number in range(settings.scenes):
            scene = scene_of("test", number, settings)
            studio = Studio(scene, (SHOT_PX, SHOT_PX))
            weather = "night" if scene.night else "rain" if scene.rain else "day"
            for t in times_of(scene, settings.per_scene):
                shot = studio.shoot(float(t))
                frame = Frame(shot.pixels, camera=studio.camera)
                begun = perf_counter()
                detections = found.process(frame)
                between = perf_counter()
                depth_map = far.process(frame)
                boxes.add(detections, shot.truth, weather, perf_counter() - begun)
                maps.add(depth_map, shot.depth, shot.truth, weather, perf_counter() - between)
            studio.close()
            progress(number + 1, settings.scenes)
    finally:
        found.close()
        far.close()
    return {
        "frames": settings.scenes * settings.per_scene,
        "scenes": settings.scenes,
        **boxes.figures(),
        **maps.figures(),
    }


class _Boxes:
    """Detections against labels, in the form of COCO."""

    def __init__(self) -> None:
        self.truth: list[dict[str, Any]] = []
        self.found: list[dict[str, Any]] = []
        self.weather: list[str] = []
        self.seconds: list[float] = []

    def add(self, found: Detections, truth: Truth, weather: str, seconds: float) -> None:
        """One frame."""
        image = len(self.weather)
        self.weather.append(weather)
        self.seconds.append(seconds)
        objects, kept = truth.detections, is_label(truth)
        for i in range(len(truth)):
            box = _xywh(objects.xyxy[i].tolist())
            # What is too small or too hidden to ask for is no mistake either, where it is found.
            entry = {"id": len(self.truth) + 1, "image_id": image, "category_id": int(objects.class_id[i]), "bbox": box,
                     "area": box[2] * box[3], "iscrowd": int(not kept[i])}  # fmt: skip
            self.truth.append(entry)
        for i in range(len(found)):
            entry = {"image_id": image, "category_id": int(found.class_id[i]), "bbox": _xywh(found.xyxy[i].tolist()),
                     "score": float(found.conf[i])}  # fmt: skip
            self.found.append(entry)

    def figures(self) -> dict[str, Any]:
        """Average precisions of COCO, in all and by class, hour and weather."""
        everything = list(range(len(self.weather)))
        whole = self._average(everything)
        by_weather = {w: [i for i in everything if self.weather[i] == w] for w in sorted(set(self.weather))}
        return {
            "mAP50-95": whole["all"][0],
            "mAP50": whole["all"][1],
            "person AP50-95": whole.get("person", (0.0, 0.0))[0],
            "person AP50": whole.get("person", (0.0, 0.0))[1],
            "classes": {name: ap[0] for name, ap in whole.items() if name != "all"},
            "mAP50-95 by weather": {w: self._average(images)["all"][0] for w, images in by_weather.items()},
            "labels": sum(not entry["iscrowd"] for entry in self.truth),
        }

    def _average(self, images: list[int]) -> dict[str, tuple[float, float]]:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = {
                "images": [{"id": i, "width": SHOT_PX, "height": SHOT_PX} for i in range(len(self.weather))],
                "annotations": self.truth,
                "categories": [{"id": i, "name": name} for i, name in enumerate(CLASS_NAMES)],
                "info": {},
            }
            truth.createIndex()
            if not self.found:
                return {"all": (0.0, 0.0)}
            evaluation = COCOeval(truth, truth.loadRes(self.found), "bbox")
            evaluation.params.imgIds = images
            evaluation.evaluate()
            evaluation.accumulate()
        # Precision over IoU thresholds, recalls, classes, areas, most detections.
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
        out = {"all": (_mean(precision), _mean(precision[0]))}
        for i, name in enumerate(CLASS_NAMES):
            if (precision[..., i] > -1).any():
                out[name] = (_mean(precision[..., i]), _mean(precision[0][..., i]))
        return out


def _mean(precision: npt.NDArray[np.float64]) -> float:
    known = precision[precision > -1]
    return round(float(known.mean()), 4) if known.size else 0.0


class _Maps:
    """Depth maps against the depth of each pixel up to `FAR_M`, and distances of objects nearer than `NEAR_M`."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, float, float, float]] = []
        self.distances: dict[str, list[float]] = defaultdict(list)

    def add(
        self, found: DepthMap, truth: npt.NDArray[np.float32], objects: Truth, weather: str, seconds: float
    ) -> None:
        """One frame."""
        del seconds
        height, width = found.values.shape
        rows = np.arange(height) * truth.shape[0] // height + truth.shape[0] // height // 2
        columns = np.arange(width) * truth.shape[1] // width + truth.shape[1] // width // 2
        true = truth[np.ix_(rows, columns)]
        known = (true > 0) & (true < FAR_M) & np.isfinite(found.values)
        real, guess = true[known], found.values[known]
        ratio = np.maximum(real / guess, guess / real)
        relative = float((np.abs(guess - real) / real).mean())
        self.frames.append((weather, relative, float((ratio < 1.25).mean()), float(((guess - real) ** 2).mean())))
        near = (objects.distance_m < NEAR_M) & (objects.visible > 0.5)
        for i in map(int, np.flatnonzero(near)):
            slant = np.cos(np.radians(min(abs(float(objects.bearing_deg[i])), 60)))
            metres = object_distance_m(found.values, objects.detections.xyxy[i], found.size_wh)
            if metres is not None:
                real_m = float(objects.distance_m[i])
                self.distances[objects.detections.name(i)].append(abs(metres / slant - real_m) / real_m)

    def figures(self) -> dict[str, Any]:
        """Means over the frames; medians of the objects' relative error."""
        table = np.array([row[1:] for row in self.frames])
        kinds = sorted({row[0] for row in self.frames})
        of_kind = {k: np.array([row[1] for row in self.frames if row[0] == k]) for k in kinds}
        everything = [e for errors in self.distances.values() for e in errors]
        return {
            "AbsRel": round(float(table[:, 0].mean()), 4),
            "delta1": round(float(table[:, 1].mean()), 4),
            "RMSE m": round(float(np.sqrt(table[:, 2].mean())), 3),
            "AbsRel by weather": {k: round(float(v.mean()), 4) for k, v in of_kind.items()},
            "object distance error": {
                "all": round(float(np.median(everything)), 4) if everything else None,
                **{name: round(float(np.median(e)), 4) for name, e in sorted(self.distances.items())},
            },
            "objects": len(everything),
        }


def _xywh(corners: list[float]) -> list[float]:
    x1, y1, x2, y2 = corners
    return [x1, y1, x2 - x1, y2 - y1]


def weights_of(path: Path) -> dict[str, Any]:
    """Size and sha256 of a file."""
    import hashlib

    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
