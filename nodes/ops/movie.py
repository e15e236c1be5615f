"""Writes an MP4 whose pictures stand as long as they were the last to be seen. Knows no node."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from nodes.ops.capture import quiet

Picture = npt.NDArray[np.uint8]
MOST_REPEATS = 300


class Movie:
    """A video file under way. It gets its name in `close`; until then it stands beside, under a hidden one.

    An MP4 has one frame rate, captures have not: a picture is repeated until the next one is due, and of two that are
    due at once the later is left out. A gap that would take more than `MOST_REPEATS` repeats is left out as a whole.
    """

    def __init__(self, path: Path, *, size_wh: tuple[int, int], fps: float, codec: Literal["mp4v", "avc1"]) -> None:
        """Begins a file; OSError where it cannot be written."""
        self.path, self.size_wh, self.fps = path, size_wh, fps
        self._part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        with quiet():
            self._writer = cv2.VideoWriter(str(self._part), cv2.VideoWriter.fourcc(*codec), fps, size_wh)
        if not self._writer.isOpened():
            self._part.unlink(missing_ok=True)
            raise OSError(f"cannot write {path}: no encoder for {codec} in this OpenCV, or no such folder to write in")
        self._first_ns: int | None = None
        self._count = 0
        self._last: Picture | None = None

    def add(self, picture: Picture, captured_ns: int) -> None:
        """The next picture (h, w, 3) RGB of the size of the movie."""
        bgr = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), np.uint8)
        missing = self._due(captured_ns) - self._count
        if not -MOST_REPEATS <= missing <= MOST_REPEATS:  # a leap of the clock, or hours of sleep
            self._first_ns, missing = captured_ns - round(self._count * 1e9 / self.fps), 0
        for _ in range(missing):
            self._write(bgr if self._last is None else self._last)
        if missing >= 0:
            self._write(bgr)
        self._last = bgr

    def close(self) -> None:
        """Complete the file and give it its name; OSError where nothing could be written."""
        self._writer.release()
        try:
            self._part.replace(self.path)
        except FileNotFoundError as e:
            raise OSError(f"cannot write {self.path}: its unfinished form {self._part.name} has vanished") from e

    def _due(self, captured_ns: int) -> int:
        """Number of the picture that stands at `captured_ns`."""
        if self._first_ns is None:
            self._first_ns = captured_ns
        return round((captured_ns - self._first_ns) / 1e9 * self.fps)

    def _write(self, bgr: Picture) -> None:
        self._writer.write(bgr)
        self._count += 1


def rate_of(times_ns: Sequence[int]) -> float:
    """Frames per second of captures: what most steps between them are, 1 to 60 a second, to a thousandth."""
    steps = [b - a for a, b in pairwise(times_ns) if b > a]
    return round(min(max(1e9 / median(steps), 1.0), 60.0), 3) if steps else 30.0
