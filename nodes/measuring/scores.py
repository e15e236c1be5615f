"""Average precision of detections against labels, as COCO defines it. Uses pycocotools, of the extra `train`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graph.errors import CauceError
from nodes.measuring.pictures import Label
from nodes.messages import Detections

LEAST_CONF = 0.001
"""Average precision wants all candidates."""


class Precision:
    """Collects frames; classes are matched by name, what only one side knows is left out.

    Raises CauceError where the labels and the model have no class in common.
    """

    def __init__(self, labels: Sequence[Sequence[Label]], class_names: Sequence[str]) -> None:
        named = {label.name for frame in labels for label in frame}
        self.names = [name for name in class_names if name in named]
        if not self.names:
            raise CauceError(
                f"command.labels: none of their classes ({', '.join(sorted(named)[:5])}) is one of the model's "
                f"({', '.join(class_names[:5])}); give labels that name the same things, or command.labels=null"
            )
        self.labels = labels
        self.found: list[dict[str, Any]] = []

    def add(self, image: int, found: Detections) -> None:
        """Detections of frame number `image`, with all candidates from `LEAST_CONF` on."""
        ids = {name: i for i, name in enumerate(self.names)}
        for (x1, y1, x2, y2), conf, i in zip(found.xyxy.tolist(), found.conf.tolist(), found.class_id, strict=True):
            name = found.class_names[int(i)]
            if name in ids:
                self.found.append({"image_id": image, "category_id": ids[name], "score": conf,
                                   "bbox": [x1, y1, x2 - x1, y2 - y1]})  # fmt: skip

    def figures(self) -> dict[str, Any]:
        """mAP50-95 and mAP50, 0..1, and how many labels and classes they are of."""
        truth = self._truth()
        count = sum(not a["iscrowd"] for a in truth)
        whole = {"labels": count, "classes": len(self.names)}
        if not self.found:
            return {"mAP50-95": 0.0, "mAP50": 0.0, **whole}
        precision = self._evaluated(truth)
        return {"mAP50-95": _mean(precision), "mAP50": _mean(precision[0]), **whole}

    def _truth(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        for image, labels in enumerate(self.labels):
            for label in labels:
                if label.name in self.names:
                    entries.append({"id": len(entries) + 1, "image_id": image, "bbox": list(label.xywh),
                                    "category_id": self.names.index(label.name), "iscrowd": int(label.is_crowd),
                                    "area": label.xywh[2] * label.xywh[3]})  # fmt: skip
        return entries

    def _evaluated(self, annotations: list[dict[str, Any]]) -> npt.NDArray[np.float64]:
        """Precisions by threshold of overlap, recall and class, for all areas; -1: nothing to be found."""
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = {
                "images": [{"id": i} for i in range(len(self.labels))],
                "annotations": annotations,
                "categories": [{"id": i, "name": name} for i, name in enumerate(self.names)],
                "info": {},
            }
            truth.createIndex()
            evaluation = COCOeval(truth, truth.loadRes(self.found), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
        precision: npt.NDArray[np.float64] = evaluation.eval["precision"][:, :, :, 0, -1]
        return precision


def _mean(precision: npt.NDArray[np.float64]) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else 0.0
