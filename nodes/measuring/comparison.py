"""Runs a model and its reference over the same frames, side by side, and says how far apart they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from graph.errors import CauceError
from nodes.measuring.agreement import BoxCount, Means, against_reference, against_truth
from nodes.measuring.pictures import Picture
from nodes.measuring.scores import LEAST_CONF, Precision
from nodes.measuring.subject import Subject
from nodes.messages import DepthMap, Detections

Progress = Callable[[float, str], None]


class Comparison:
    """Compares frame by frame, so that no more than one frame is in memory."""

    def __init__(self, subject: Subject, reference: Subject, *, min_conf: float, iou: float) -> None:
        self.subject, self.reference, self.min_conf, self.iou = subject, reference, min_conf, iou
        self.failed: list[str] = []
        self.not_finite = 0

    def over(self, pictures: Sequence[Picture], progress: Progress, *, needs_labels: bool) -> dict[str, Any]:
        """Figures over all frames. `needs_labels`: whether labels that do not fit the model are a mistake."""
        compare = self._detector if self.subject.kind == "detector" else self._depth
        found = compare(pictures, progress, needs_labels)
        failed = {"count": len(self.failed), "first": self.failed[0]} if self.failed else None
        at = self.reference.model.placement
        return {
            "reference": {"backend": at.backend, "device": at.device, "provider": at.provider,
                          "precision": at.precision},
            "frames": {"count": len(pictures), "first": pictures[0].name},
            "non_finite": self.not_finite,
            "failed_frames": failed,
            **found,
        }  # fmt: skip

    def _message(self, picture: Picture) -> tuple[Any, Any]:
        """What model and reference make of a picture; None for the model where it fails."""
        frame, message = picture.frame(), None
        # The reference first: where that fails there is nothing to compare with, and its error ends it.
        expected = self.reference.process(frame)[0]
        try:
            message = self.subject.process(frame)[0]
        except CauceError as e:
            self.failed.append(str(e))
        if self.subject.model.last is not None:
            self.not_finite += self.subject.model.last.not_finite
        return message, expected

    def _detector(self, pictures: Sequence[Picture], progress: Progress, needs_labels: bool) -> dict[str, Any]:
        count = BoxCount()
        scores = self._scores(pictures, needs_labels)
        for subject in (self.subject, self.reference):
            subject.node.min_conf = LEAST_CONF if scores else min(subject.node.min_conf, self.min_conf)
        for i, picture in enumerate(pictures):
            found, expected = self._message(picture)
            if found is None:
                found = _nothing(expected)
            count.add(found, expected, min_conf=self.min_conf, iou=self.iou)
            for precision, message in zip(scores, (found, expected), strict=False):
                precision.add(i, message)
            progress((i + 1) / len(pictures), f"frame {i + 1} of {len(pictures)}")
        boxes = {"f1": count.f1, "found": count.found, "reference": count.reference, "pairs": count.pairs,
                 "iou": self.iou, "min_conf": self.min_conf}  # fmt: skip
        if not scores:
            return {"boxes": boxes}
        model, reference = (precision.figures() for precision in scores)
        loss = 100 * (reference["mAP50-95"] - model["mAP50-95"])
        return {"boxes": boxes, "scores": {"model": model, "reference": reference, "loss": loss}}

    def _scores(self, pictures: Sequence[Picture], needs_labels: bool) -> list[Precision]:
        """Of model and reference; none where nothing is known of the frames, or the model is for other things."""
        labels = [picture.labels for picture in pictures]
        if any(frame is None for frame in labels):
            return []
        known = [frame for frame in labels if frame is not None]
        names = self.subject.node.class_names
        fits = {label.name for frame in known for label in frame} <= set(names)
        if not needs_labels and not (fits and find_spec("pycocotools")):
            return []
        return [Precision(known, names), Precision(known, names)]

    def _depth(self, pictures: Sequence[Picture], progress: Progress, needs_labels: bool) -> dict[str, Any]:
        del needs_labels
        against, model, reference = Means(), Means(), Means()
        for i, picture in enumerate(pictures):
            found, expected = self._message(picture)
            if isinstance(found, DepthMap):
                against.add(against_reference(found, expected))
                if picture.depth is not None:
                    truth = picture.depth()
                    model.add(against_truth(found, truth))
                    reference.add(against_truth(expected, truth))
            progress((i + 1) / len(pictures), f"frame {i + 1} of {len(pictures)}")
        figures: dict[str, Any] = {"depth_kind": self.subject.node.kind, "depth": against.figures()}
        ours, theirs = model.figures(), reference.figures()
        if ours and theirs:
            figures["depth_truth"] = {"model": ours, "reference": theirs, "loss": ours["AbsRel"] - theirs["AbsRel"]}
        return figures


def _nothing(like: Detections) -> Detections:
    """No boxes, of the same frame."""
    return Detections(like.xyxy[:0], like.conf[:0], like.class_id[:0], like.class_names, like.size_wh, like.camera)
