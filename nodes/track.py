"""Follows objects from frame to frame and gives each a number. Knows neither depth nor pixels.

After ByteTrack (Zhang et al., 2022): sure detections find their tracks first, then those that are less sure find a
track that would else be lost; only the sure begin one. All times are capture times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from graph import Node, Stamp
from nodes.messages import Detections, Tracks
from nodes.ops import checks
from nodes.ops.boxes import overlaps
from nodes.ops.motion import Motion


@dataclass(slots=True)
class _Followed:
    """One object."""

    class_name: str
    motion: Motion
    seen_ns: int
    track_id: int | None = None
    """None until it was seen often enough to be told."""
    hits: int = 1
    frames: int = 1


class Track(Node):
    """Tells of each frame the detections that belong to an object which is followed.

    A number is given once and never again. What is not seen in a frame is not told in it, but still followed.

    Args:
        sure_conf: Confidence from which a detection may begin a track; less sure ones may only go on with one.
        confirm_hits: In how many frames an object must be found before it is told of.
        lost_s: For how long an object that is not seen any more keeps its number; one that was never told, a third.
        min_iou: Least overlap of a sure detection with where its track should be.
        unsure_iou: The same for detections that are not sure.
    """

    def __init__(
        self,
        *,
        sure_conf: float = 0.4,
        confirm_hits: int = 2,
        lost_s: float = 1.0,
        min_iou: float = 0.2,
        unsure_iou: float = 0.4,
    ) -> None:
        self.sure_conf, self.confirm_hits, self.lost_ns = sure_conf, confirm_hits, int(lost_s * 1e9)
        self.min_iou, self.unsure_iou = min_iou, unsure_iou
        self.followed: list[_Followed] = []
        self.ids = count(1)

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        for key in ("sure_conf", "min_iou", "unsure_iou"):
            yield from checks.number_problems(params, key, low=0, high=1)
        yield from checks.count_problems(params, "confirm_hits")
        yield from checks.number_problems(params, "lost_s", low=0)

    def process(self, detections: Detections, stamp: Stamp) -> Tracks:
        """The tracks that are seen in this frame, oldest first."""
        now_ns = stamp.captured_ns
        self.followed = [f for f in self.followed if now_ns - f.seen_ns <= self._patience_ns(f)]
        for f in self.followed:
            f.motion.advance(now_ns)
            f.frames += 1
        found = self._associate(detections)
        for place, i in found.items():
            followed = self.followed[place]
            followed.motion.see(detections.xyxy[i])
            followed.seen_ns, followed.hits = now_ns, followed.hits + 1
        matched = set(found.values())
        for i in np.flatnonzero(detections.conf >= self.sure_conf).tolist():
            if i not in matched:
                found[len(self.followed)] = i
                self.followed.append(_Followed(detections.name(i), Motion.begin(detections.xyxy[i], now_ns), now_ns))
        return self._told(detections, found)

    def _patience_ns(self, followed: _Followed) -> float:
        return self.lost_ns if followed.track_id is not None else self.lost_ns / 3

    def _associate(self, detections: Detections) -> dict[int, int]:
        """Which detection each track is seen as, by their places in the lists."""
        expected = np.array([f.motion.xyxy for f in self.followed], np.float32).reshape(-1, 4)
        names = np.array([f.class_name for f in self.followed], object)
        iou = overlaps(expected, detections.xyxy)
        iou[names[:, None] != np.array(detections.class_names, object)[detections.class_id][None]] = 0.0
        sure = detections.conf >= self.sure_conf
        found = _pairs(np.where(sure, iou, 0.0), self.min_iou)
        iou[list(found)] = 0.0
        return found | _pairs(np.where(sure, 0.0, iou), self.unsure_iou)

    def _told(self, detections: Detections, found: Mapping[int, int]) -> Tracks:
        """The message; a track is given its number when it is told of first."""
        seen: list[tuple[_Followed, int]] = []
        for place, i in sorted(found.items()):
            followed = self.followed[place]
            if followed.hits >= self.confirm_hits:
                followed.track_id = next(self.ids) if followed.track_id is None else followed.track_id
                seen.append((followed, i))
        return Tracks(
            _rows(detections, [i for _, i in seen]),
            np.array([f.track_id for f, _ in seen], np.int32),
            np.array([f.frames for f, _ in seen], np.int32),
        )


def _pairs(iou: npt.NDArray[np.float32], least: float) -> dict[int, int]:
    """Row to column of the pairs of most overlap, at least `least`; each row and column once."""
    rows, columns = np.nonzero(iou >= max(least, 1e-6))
    order = np.argsort(-iou[rows, columns], kind="stable")
    found: dict[int, int] = {}
    taken: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in found and column not in taken:
            found[row] = column
            taken.add(column)
    return found


def _rows(detections: Detections, rows: Sequence[int]) -> Detections:
    """Some of the detections."""
    index = np.array(rows, np.intp)
    return Detections(
        detections.xyxy[index],
        detections.conf[index],
        detections.class_id[index],
        detections.class_names,
        detections.size_wh,
        detections.camera,
    )
