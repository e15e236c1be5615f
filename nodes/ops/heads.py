"""Detector heads: from a model's raw output to candidate boxes. Knows shapes and formulas, no engine and no message.

Every head drops what is below the confidence before it computes anything else: of 8400 anchors some 100 are left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from nodes.ops.boxes import Candidates

HeadName = Literal["auto", "dense", "end_to_end", "yolox"]
Shape = tuple[int | None, ...]
STRIDES = (8, 16, 32)

KNOWN_HEADS = (
    "dense (1, 4 + classes, anchors) of YOLOv8, 11 and 12; "
    "end_to_end (1, n, 6) of YOLOv10 and YOLO26; "
    "yolox (1, anchors, 5 + classes)"
)


class Head(Protocol):
    """Decodes the output of one kind of detector."""

    @property
    def needs_nms(self) -> bool:
        """Whether several candidates may stand for one object."""
        ...

    @property
    def class_count(self) -> int | None:
        """Number of classes, where the shape of the output tells it."""
        ...

    def decode(self, output: npt.NDArray[np.float32], min_conf: float) -> Candidates:
        """Candidates of `min_conf` or more in `output`, which has a batch dimension of 1."""
        ...


@dataclass(frozen=True)
class DenseHead:
    """YOLOv8, 11 and 12: (1, 4 + classes, anchors), a column per anchor: x, y, w, h in input pixels, scores 0..1.

    Rows behind the scores, such as the landmarks of a face, are not read.
    """

    class_count: int | None
    needs_nms: ClassVar[bool] = True

    def decode(self, output: npt.NDArray[np.float32], min_conf: float) -> Candidates:
        """See `Head.decode`."""
        scores = output[0, 4:] if self.class_count is None else output[0, 4 : 4 + self.class_count]
        # Along axis 0 the reduction runs over whole rows of memory: 12 times as fast as along the last axis.
        best = scores.max(axis=0)
        kept = np.flatnonzero(best >= min_conf)
        class_id = scores[:, kept].argmax(axis=0).astype(np.int32)
        return Candidates(_corners(output[0, :4, kept]), best[kept], class_id)


@dataclass(frozen=True)
class EndToEndHead:
    """YOLOv10, YOLO26: (1, n, 6), a row per object: left, top, right, bottom, confidence, class. Needs no NMS."""

    class_count: int | None = None
    needs_nms: ClassVar[bool] = False

    def decode(self, output: npt.NDArray[np.float32], min_conf: float) -> Candidates:
        """See `Head.decode`."""
        rows = output[0][output[0, :, 4] >= min_conf]
        return Candidates(rows[:, :4], rows[:, 4], np.rint(rows[:, 5]).astype(np.int32))


@dataclass(frozen=True)
class YoloxHead:
    """YOLOX without decoding inside: (1, anchors, 5 + classes), a row per anchor.

    A row is x, y relative to its cell, log w, log h in strides, objectness, class scores; confidence is objectness
    times score. Formula: `demo_postprocess` of the YOLOX repository (arXiv:2107.08430).
    """

    size_wh: tuple[int, int]
    class_count: int | None
    needs_nms: ClassVar[bool] = True

    def decode(self, output: npt.NDArray[np.float32], min_conf: float) -> Candidates:
        """See `Head.decode`."""
        objectness = output[0, :, 4]
        kept = np.flatnonzero(objectness >= min_conf)
        rows = output[0, kept]
        class_id = rows[:, 5:].argmax(axis=1)
        conf = rows[:, 4] * rows[np.arange(len(rows)), 5 + class_id]
        sure = conf >= min_conf
        cells, strides = self._grid
        kept, rows = kept[sure], rows[sure]
        stride = strides[kept, None]
        xywh = np.concatenate([(rows[:, :2] + cells[kept]) * stride, np.exp(rows[:, 2:4]) * stride], axis=1)
        return Candidates(_corners(xywh), conf[sure], class_id[sure].astype(np.int32))

    @cached_property
    def _grid(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Column and row (anchors, 2) of each anchor's cell, and its stride (anchors,)."""
        cells, strides = [], []
        for stride in STRIDES:
            width, height = self.size_wh[0] // stride, self.size_wh[1] // stride
            x, y = np.meshgrid(np.arange(width), np.arange(height))
            cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
            strides.append(np.full(width * height, stride))
        return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def anchor_count(size_wh: tuple[int, int]) -> int:
    """Number of cells of an input at the strides 8, 16 and 32: 8400 at 640x640."""
    return sum((size_wh[0] // s) * (size_wh[1] // s) for s in STRIDES)


def find_head(name: HeadName, shape: Shape, size_wh: tuple[int, int]) -> Head:
    """The head called `name`, or with "auto" the one that an output of `shape` belongs to.

    Raises ValueError with the shape and the known heads where the shape fits none, more than one, or not the named one.
    """
    possible = _possible_heads(shape, size_wh)
    if name != "auto":
        possible = {k: v for k, v in possible.items() if k == name}
    if len(possible) == 1:
        return next(iter(possible.values()))
    shown = "(" + ", ".join("any" if s is None else str(s) for s in shape) + ")"
    anchors = f"an input of {size_wh[0]}x{size_wh[1]} has {anchor_count(size_wh)} anchors"
    if possible:
        raise ValueError(f"the output {shown} fits the heads {' and '.join(possible)}; name one of them in `head`")
    wanted = "no known head" if name == "auto" else f"not the head {name!r}"
    raise ValueError(f"the output {shown} fits {wanted}; {anchors}; known heads: {KNOWN_HEADS}")


def _possible_heads(shape: Shape, size_wh: tuple[int, int]) -> dict[str, Head]:
    if len(shape) != 3 or shape[0] not in (1, None):
        return {}
    _, rows, columns = shape
    anchors = (anchor_count(size_wh), None)
    found: dict[str, Head] = {}
    if columns in anchors and (rows is None or rows > 4):
        found["dense"] = DenseHead(None if rows is None else rows - 4)
    if rows in anchors and (columns is None or columns > 5):
        found["yolox"] = YoloxHead(size_wh, None if columns is None else columns - 5)
    if columns == 6 and rows not in anchors[:1]:
        found["end_to_end"] = EndToEndHead()
    return found


def _corners(xywh: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Boxes (n, 4) of centre, width and height, as left, top, right, bottom."""
    half = xywh[:, 2:] / 2
    return np.concatenate([xywh[:, :2] - half, xywh[:, :2] + half], axis=1)
