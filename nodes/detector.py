"""The detector node: one frame in, the objects in it out. Knows heads and letterbox, but no engine and no source."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.base import Engine, Weights
from graph.node import Contract, Node
from nodes.messages import Detections, Frame
from nodes.ops import checks
from nodes.ops.boxes import Candidates, strongest, suppress
from nodes.ops.heads import DenseHead, Head, HeadName, find_head
from nodes.ops.image_model import ImageModel, require_upright
from nodes.ops.letterbox import Anchor, BatchTensor, Colour, Letterbox

HEADS = ("auto", "dense", "end_to_end", "yolox")
ANCHORS = ("centre", "corner")
COLOURS = ("rgb", "bgr")


class Detector(Node):
    """Finds objects of the classes that a YOLO-like model knows.

    `weights` is a path, {url, sha256}, or "random"; PyTorch weights and random ones belong to the network
    `architecture`. `size_wh`, `head`, `colour`, `value_max` (a white pixel, 1 or 255) and `pad` describe the model and
    stand in its preset. `min_conf` is the least confidence of what is emitted; `iou` the overlap above which the less
    confident of two boxes is dropped, only within a class unless `agnostic`. `classes` names what to keep, None =
    everything; `class_names` is needed only where the model file does not tell its own.

    The default of `iou`: of 0.40 to 0.70, 0.55 gave the best mAP50-95 for YOLO11n on 64 images of COCO (0.482), with
    fewer doubled objects at `min_conf` 0.25 than the usual 0.70 (84 false boxes, not 96).
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        *,
        weights: Any,
        architecture: str | None = None,
        size_wh: Sequence[int] = (640, 640),
        head: HeadName = "auto",
        min_conf: float = 0.25,
        iou: float = 0.55,
        agnostic: bool = False,
        max_detections: int = 300,
        classes: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        colour: Colour = "rgb",
        value_max: float = 1.0,
        pad: Anchor = "centre",
        keypoints: int = 0,
    ) -> None:
        self.engine, self.name, self.weights, self.head_name = engine, name, weights, head
        self.architecture = architecture
        self.size_wh = (size_wh[0], size_wh[1])
        self.min_conf, self.iou, self.agnostic, self.max_detections = min_conf, iou, agnostic, max_detections
        self.classes, self.class_names = classes, tuple(class_names or ())
        self.colour, self.value_max, self.pad, self.keypoints = colour, value_max, pad, keypoints
        self.model: ImageModel | None = None

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        yield from (f"weights: {problem}" for problem in Weights.problems(params.get("weights")))
        yield from checks.network_problems(params)
        yield from checks.size_problems(params, multiple_of=32)
        for key in ("min_conf", "iou"):
            yield from checks.number_problems(params, key, low=0, high=1)
        yield from checks.count_problems(params, "max_detections")
        if params.get("keypoints", 0) != 0:
            yield from checks.count_problems(params, "keypoints")
        for key, known in (("head", HEADS), ("colour", COLOURS), ("pad", ANCHORS), ("value_max", (1, 255))):
            yield from checks.word_problems(params, key, known)
        wrong = [p for key in ("classes", "class_names") for p in checks.names_problems(params, key)]
        yield from wrong
        if not wrong and params.get("classes") and params.get("class_names"):
            yield from checks.unknown_names("classes", params["classes"], params["class_names"])

    @classmethod
    def expects(cls, params: Mapping[str, Any]) -> Mapping[str, Contract]:
        """Any size, colour or gray, but not on its side: sideways, a detector finds next to nothing."""
        return {"image": {"channels": frozenset({1, 3}), "dtype": "uint8", "upright": True}}

    def setup(self) -> None:
        """Load the model, and find out how its output is to be read."""
        self.model = ImageModel(
            self.engine,
            name=self.name,
            weights=self.weights,
            size_wh=self.size_wh,
            architecture=self.architecture,
            batch_max=self.batch_max,
        )
        metadata, outputs = self.model.model.metadata, self.model.model.outputs
        try:
            self.head: Head = find_head(self.head_name, tuple(outputs[0].shape), self.size_wh)
        except ValueError as e:
            raise ValueError(f"{self.name}: {e}") from None
        self.class_names = self.class_names or names_in(metadata)
        if not self.class_names:
            raise ValueError(f"{self.name}: the model file does not name its classes; list them in class_names")
        self.head = without_keypoints(self.head, self.keypoints or keypoints_in(metadata))
        if self.head.class_count not in (None, len(self.class_names)):
            raise ValueError(
                f"{self.name}: the model has {self.head.class_count} classes, but there are {len(self.class_names)} "
                "class names; give class_names in the order of the model"
            )
        if problems := list(checks.unknown_names("classes", self.classes or (), self.class_names)):
            raise ValueError(f"{self.name}: {'; '.join(problems)}")
        self.wanted = np.array([self.classes is None or name in self.classes for name in self.class_names])
        scale = self.value_max / 255
        self.tensor = BatchTensor(self.size_wh, self.batch_max, colour=self.colour, scale=(scale, scale, scale))

    def process(self, image: Frame) -> Detections:
        """Detections of one upright frame, most confident first, inside the frame."""
        return self.process_batch([image])[0]

    def process_batch(self, image: Sequence[Frame]) -> Sequence[Detections]:
        """Detections of each of up to `batch_max` upright frames, of any sizes, by one call of the model."""
        assert self.model is not None, "process before setup"
        for frame in image:
            require_upright(self.name, frame)
        output, boxes = self.model.see(image, self.tensor, anchor=self.pad)
        return [self._found(output[i : i + 1], *pair) for i, pair in enumerate(zip(boxes, image, strict=True))]

    def _found(self, output: npt.NDArray[np.float32], box: Letterbox, image: Frame) -> Detections:
        """What the model's output (1, ...) for one frame tells."""
        found = self.head.decode(output, self.min_conf)
        if self.classes is not None:
            found = found.take(self.wanted[found.class_id])
        if self.head.needs_nms:
            found = suppress(found, self.iou, agnostic=self.agnostic, count=self.max_detections)
        else:
            found = strongest(found, self.max_detections)
        return self._detections(found, box, image)

    def _detections(self, found: Candidates, box: Letterbox, image: Frame) -> Detections:
        xyxy = box.to_source(found.xyxy)
        width, height = image.size_wh
        np.clip(xyxy, 0, np.array([width, height, width, height], np.float32), out=xyxy)
        seen = np.flatnonzero((xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1]))
        kept = Candidates(xyxy, found.conf, found.class_id).take(seen)
        return Detections(kept.xyxy, kept.conf, kept.class_id, self.class_names, image.size_wh, image.camera)

    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """See `Node.facts`."""
        return {"model": self.model.facts()} if self.model else {}

    def close(self) -> None:
        """Release the model."""
        if self.model:
            self.model.close()


def without_keypoints(head: Head, count: int) -> Head:
    """`head` without `count` landmarks, x, y and visibility each, among its classes."""
    if isinstance(head, DenseHead) and head.class_count is not None:
        return DenseHead(head.class_count - 3 * count)
    return head


def keypoints_in(metadata: Mapping[str, str]) -> int:
    """Number of landmarks that a model file tells: Ultralytics writes "[5, 3]"; else 0."""
    try:
        shape = ast.literal_eval(metadata.get("kpt_shape", "[0, 3]"))
        return int(shape[0])
    except (ValueError, SyntaxError, TypeError, IndexError):
        return 0


def names_in(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Class names that a model file tells, in its order: Ultralytics writes "{0: 'person', ...}"; else empty."""
    try:
        names = ast.literal_eval(metadata.get("names", "()"))
    except (ValueError, SyntaxError):
        return ()
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names)]
    return tuple(str(name) for name in names) if isinstance(names, list | tuple) else ()
