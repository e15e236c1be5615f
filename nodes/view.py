"""Shows what the graph sees and says: an annotated MP4, with depth beside it, and single frames as PNG."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from graph import Node, Stamp
from nodes.messages import DepthMap, Detections, Frame, Hazard, Hazards, Utterance
from nodes.ops import checks, draw

SUBTITLE_NS = 2_500_000_000
SHOWN_FIRST = 12  # pictures that are kept back until frame rate and layout are known
MOST_REPEATS = 300


class View(Node):
    """Draws each frame with its detections, hazards, last words and depth.

    The video keeps the time of the captures: where frames were lost the picture before them stands longer. Frame rate
    and layout (with depth beside the picture or without) are settled by the first frames.

    Args:
        path: The MP4 file; null: none. It gets its name when it is complete, also after a stop.
        png_every: Write every n-th frame as PNG into the folder `frames` beside it; 0: none.
        max_width: Wider pictures are scaled down before they are drawn on.
    """

    def __init__(self, path: str | None, *, png_every: int = 0, max_width: int = 1280) -> None:
        self.path = Path(path) if path else None
        self.png_every, self.max_width = png_every, max_width
        self.folder = self.path.parent / "frames" if self.path else Path("frames")
        self.writer: cv2.VideoWriter | None = None
        self.early: list[tuple[int, draw.Picture]] = []
        self.n = self.written = 0
        self.fps = 0.0
        self.first_ns = 0
        self.has_depth = False
        self.words: Utterance | None = None
        self.words_ns = 0
        self.last: draw.Picture | None = None

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        yield from checks.number_problems(params, "png_every", low=0)
        yield from checks.number_problems({"max_width": 64, **params}, "max_width", low=64)

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
        picture = self._scaled(image)
        scale = picture.shape[1] / image.size_wh[0]
        if hazards is not None:
            for hazard in reversed(hazards.items):
                _draw_hazard(picture, hazard, scale)
        elif detections is not None:
            for i in range(len(detections)):
                label = f"{detections.name(i)} {detections.conf[i]:.2f}"
                draw.box(picture, detections.xyxy[i] * scale, label, draw.colour_of(detections.name(i)))
        self._draw_words(picture, utterance, stamp)
        draw.plate(picture, f"{stamp.origin} {stamp.seq}", (0, 0), opacity=0.5)
        self.has_depth = self.has_depth or depth is not None
        if self.has_depth or self.writer is None:
            picture = self._with_depth(picture, depth)
        self._write(picture, stamp.captured_ns)

    def _scaled(self, image: Frame) -> draw.Picture:
        pixels = image.pixels if image.colour == "rgb" else cv2.cvtColor(image.pixels, cv2.COLOR_GRAY2RGB)
        width, height = image.size_wh
        scale = min(1.0, self.max_width / width)
        size = 2 * round(width * scale / 2), 2 * round(height * scale / 2)  # codecs want even sizes
        if size == (width, height):
            return np.array(pixels)
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)

    def _draw_words(self, picture: draw.Picture, utterance: Utterance | None, stamp: Stamp) -> None:
        if utterance is not None and utterance is not self.words:
            self.words, self.words_ns = utterance, stamp.captured_ns
        if self.words is not None and stamp.captured_ns - self.words_ns < SUBTITLE_NS:
            draw.subtitle(picture, self.words.text, urgent=self.words.priority == 1)

    def _with_depth(self, picture: draw.Picture, depth: DepthMap | None) -> draw.Picture:
        """The picture with room beside it, filled where there is depth."""
        size = picture.shape[1], picture.shape[0]
        panel: draw.Picture = np.zeros_like(picture)
        if depth is not None:
            panel = draw.depth_picture(depth.values, size, metres=depth.kind == "metres")
            draw.plate(panel, "depth, metres" if depth.kind == "metres" else "depth, relative", (0, 0), opacity=0.5)
        return np.hstack([picture, panel])

    def _write(self, picture: draw.Picture, captured_ns: int) -> None:
        if self.png_every and self.n % self.png_every == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            shown = picture if self.has_depth else picture[:, : picture.shape[1] // (1 if self.writer else 2)]
            cv2.imwrite(str(self.folder / f"{self.n:06d}.png"), cv2.cvtColor(shown, cv2.COLOR_RGB2BGR))
        self.n += 1
        if self.path is None:
            return
        if self.writer is not None:
            self._append(captured_ns, picture)
            return
        self.early.append((captured_ns, picture))
        if len(self.early) >= SHOWN_FIRST:
            self._begin()

    def _begin(self) -> None:
        """Settle frame rate and layout, and write what was kept back."""
        assert self.path is not None
        times = [t for t, _ in self.early]
        steps = [b - a for a, b in pairwise(times) if b > a]
        self.fps = float(np.clip(1e9 / median(steps), 1, 60)) if steps else 30.0
        self.first_ns = times[0]
        height, width = self.early[0][1].shape[:2]
        width = width if self.has_depth else width // 2
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.part = self.path.with_name(f".{self.path.stem}.{os.getpid()}.part{self.path.suffix}")
        self.writer = cv2.VideoWriter(str(self.part), cv2.VideoWriter.fourcc(*"mp4v"), self.fps, (width, height))
        if not self.writer.isOpened():
            raise OSError(f"cannot write {self.path}: no MP4 encoder in this OpenCV, or the folder is read-only")
        early, self.early = self.early, []
        for captured_ns, picture in early:
            self._append(captured_ns, picture[:, :width])

    def _append(self, captured_ns: int, picture: draw.Picture) -> None:
        """Write a picture, and before it the last one as often as time has passed without."""
        assert self.writer is not None
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        due = round((captured_ns - self.first_ns) / 1e9 * self.fps)
        for _ in range(min(due - self.written, MOST_REPEATS)):
            self.writer.write(self.last if self.last is not None else bgr)
            self.written += 1
        if due >= self.written:
            self.writer.write(bgr)
            self.written += 1
        self.last = np.asarray(bgr, np.uint8)

    def close(self) -> None:
        """Complete the video."""
        if self.path is not None and self.writer is None and self.early:
            self._begin()
        if self.writer is not None and self.path is not None:
            self.writer.release()
            self.writer = None
            self.part.replace(self.path)


def _draw_hazard(picture: draw.Picture, hazard: Hazard, scale: float) -> None:
    where = f" {hazard.distance_m:.1f} m" if hazard.distance_m is not None else f" {hazard.conf:.2f}"
    colour = draw.URGENT if hazard.priority == 1 else draw.colour_of(hazard.name)
    draw.box(picture, np.asarray(hazard.xyxy) * scale, hazard.name + where, colour)
