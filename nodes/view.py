"""Shows what the graph sees and says: an annotated MP4, with depth beside it, and single frames as PNG."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from graph import Node, Stamp
from nodes.messages import DepthMap, Detections, Frame, Hazard, Hazards, Utterance
from nodes.ops import checks, draw
from nodes.ops.draw_depth import depth_picture
from nodes.ops.movie import Movie, rate_of

SUBTITLE_NS = 2_500_000_000
SETTLED_BY = 12
LATEST_DEPTH = 30
LONGEST_TTC_S = 5.0


class Drawn(NamedTuple):
    """A frame that is drawn on, and what may stand beside it."""

    picture: draw.Picture
    marks: Sequence[draw.Mark]
    depth: DepthMap | None
    stamp: Stamp


class View(Node):
    """Draws each frame with its detections or hazards, the last words and the depth map.

    The video keeps the time of the captures: where frames were lost, the picture before them stands longer. Its rate
    and whether depth stands beside the picture are settled by the first 12 to 30 frames, which are kept back for that;
    a depth map that comes later stands in a corner.

    Args:
        path: The MP4 file; null: none. It gets its name when it is complete, also after a stop.
        png_every: Write every n-th frame as PNG into the folder `frames` beside it, named by its number; 0: none.
        max_width: Wider pictures are scaled down before they are drawn on; depth beside takes as much again.
        codec: "mp4v" every OpenCV can write; "avc1" (H.264) plays in browsers too, but few OpenCV hold its encoder.
    """

    def __init__(
        self,
        path: str | None,
        *,
        png_every: int = 0,
        max_width: int = 1280,
        codec: Literal["mp4v", "avc1"] = "mp4v",
    ) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self.png_every, self.max_width, self.codec = png_every, max_width, codec
        self.movie: Movie | None = None
        self.early: list[Drawn] = []
        self.is_settled = self.has_depth = False
        self.size_wh: tuple[int, int] | None = None
        self.n = 0
        self.words: Utterance | None = None
        self.words_ns = 0

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        every = params.get("png_every", 0)
        if not (type(every) is int and every >= 0):
            yield f"png_every: is {every!r}; expected a whole number: 0 for none, 1 for all"
        elif every and params.get("path") is None:
            yield f"png_every: is {every}, but path is null; set path, beside which they go"
        yield from checks.number_problems({"max_width": 64, **params}, "max_width", low=64)
        yield from checks.word_problems(params, "codec", ("mp4v", "avc1"))

    def setup(self) -> None:
        """Make the folder; OSError where that is impossible."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def process(
        self,
        image: Frame,
        stamp: Stamp,
        detections: Detections | None = None,
        depth: DepthMap | None = None,
        hazards: Hazards | None = None,
        utterance: Utterance | None = None,
    ) -> None:
        """Draw one frame and write it."""
        if self.path is None:
            return
        outer_wh = self.size_wh = self.size_wh or self._settled_size(image.size_wh)
        fit = draw.Fit.between(image.size_wh, outer_wh)
        pixels = image.pixels if image.colour == "rgb" else cv2.cvtColor(image.pixels, cv2.COLOR_GRAY2RGB)
        picture = fit.picture(pixels, outer_wh)
        marks = _marks(detections, hazards, fit)
        header, px = _header(stamp), draw.letter_px(picture, 60)
        corner = px // 2, px // 2
        draw.boxes(picture, marks, keep_free=[(*corner, *draw.plate_size(header, px))])
        draw.plate(picture, header, corner, px=px, opacity=0.6)
        self._draw_words(picture, utterance, stamp)
        drawn = Drawn(picture, marks, depth, stamp)
        if self.is_settled:
            self._write(drawn)
            return
        self.early.append(drawn)
        self.has_depth = self.has_depth or depth is not None
        if len(self.early) >= (SETTLED_BY if self.has_depth else LATEST_DEPTH):
            self._settle()

    def _settled_size(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        """Size of all pictures, given that of the first frame: even, as codecs want it."""
        scale = min(1.0, self.max_width / size_wh[0])
        return max(2, 2 * round(size_wh[0] * scale / 2)), max(2, 2 * round(size_wh[1] * scale / 2))

    def _draw_words(self, picture: draw.Picture, utterance: Utterance | None, stamp: Stamp) -> None:
        if utterance is not None and utterance is not self.words:
            self.words, self.words_ns = utterance, stamp.captured_ns
        if self.words is not None and stamp.captured_ns - self.words_ns < SUBTITLE_NS:
            draw.subtitle(picture, self.words.text, urgent=self.words.priority == 1)

    def _settle(self) -> None:
        """Settle rate and layout, and write what was kept back."""
        self.is_settled = True
        early, self.early = self.early, []
        height, width = early[0].picture.shape[:2]
        size_wh = (2 * width if self.has_depth else width), height
        fps = rate_of([drawn.stamp.captured_ns for drawn in early])
        assert self.path is not None, "nothing is kept back without a path"
        self.movie = Movie(self.path, size_wh=size_wh, fps=fps, codec=self.codec)
        for drawn in early:
            self._write(drawn)

    def _write(self, drawn: Drawn) -> None:
        assert self.movie is not None
        picture = self._composed(drawn)
        self.movie.add(picture, drawn.stamp.captured_ns)
        if self.png_every and self.n % self.png_every == 0:
            self._write_png(picture, drawn.stamp.seq)
        self.n += 1

    def _composed(self, drawn: Drawn) -> draw.Picture:
        """The picture with its depth map beside it, or in its corner where no room was settled for one."""
        height, width = drawn.picture.shape[:2]
        if drawn.depth is None:
            return np.hstack([drawn.picture, np.zeros_like(drawn.picture)]) if self.has_depth else drawn.picture
        metres = drawn.depth.kind == "metres"
        if self.has_depth:
            panel = depth_picture(drawn.depth.values, (width, height), metres=metres)
            draw.outlines(panel, drawn.marks)
            return np.hstack([drawn.picture, panel])
        inset = depth_picture(drawn.depth.values, (width // 3, height // 3), metres=metres)
        drawn.picture[: inset.shape[0], -inset.shape[1] :] = inset
        return drawn.picture

    def _write_png(self, picture: draw.Picture, seq: int) -> None:
        assert self.path is not None
        path = self.path.parent / "frames" / f"{seq:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
            raise OSError(f"cannot write {path}: is there room on the disk, and may this user write there?")

    def close(self) -> None:
        """Complete the video."""
        if self.early:
            self._settle()
        movie, self.movie = self.movie, None
        if movie is not None:
            movie.close()


def _header(stamp: Stamp) -> str:
    """Origin and number of a frame, and its age where that is of the clock on the wall."""
    age = f"   {stamp.age_ns() / 1e6:.0f} ms" if stamp.offset_ns == 0 else ""
    return f"{stamp.origin} {stamp.seq}{age}"


def _marks(detections: Detections | None, hazards: Hazards | None, fit: draw.Fit) -> list[draw.Mark]:
    """What to draw, most urgent first: the hazards where the graph tells them, else the detections."""
    if hazards is not None:
        boxes = fit.boxes([hazard.xyxy for hazard in hazards.items])
        return [_hazard_mark(hazard, box) for hazard, box in zip(hazards.items, boxes, strict=True)]
    if detections is None:
        return []
    boxes = fit.boxes(detections.xyxy)
    return [_detection_mark(detections, int(i), boxes[i]) for i in np.argsort(-detections.conf, kind="stable")]


def _detection_mark(detections: Detections, i: int, box: npt.NDArray[np.float64]) -> draw.Mark:
    name = detections.name(i)
    return draw.Mark(box, f"{name} {detections.conf[i]:.2f}", draw.colour_of(name))


def _hazard_mark(hazard: Hazard, box: npt.NDArray[np.float64]) -> draw.Mark:
    what = f"{hazard.conf:.2f}" if hazard.distance_m is None else f"{hazard.distance_m:.1f} m"
    urgent = hazard.priority == 1
    if urgent and hazard.ttc_s < LONGEST_TTC_S:
        what += f", {hazard.ttc_s:.1f} s"
    colour = draw.URGENT if urgent else draw.colour_of(hazard.name)
    return draw.Mark(box, f"{hazard.name} {what}", colour, is_urgent=urgent)
