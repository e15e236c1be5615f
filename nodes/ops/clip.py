"""A video file, frame by frame, each with the time at which it was filmed. Knows no clock and no node."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from nodes.ops import capture

log = logging.getLogger(__name__)
LONGEST_STEP_NS = 10_000_000_000


class Clip:
    """The frames of a file in order, from `start_frame` on, again and again if wanted.

    Times are the file's own where they rise by no more than 10 s, as those of a phone that films at a varying rate do;
    else, and where `fps` is given, they are evenly spaced.
    """

    def __init__(self, path: Path, *, fps: float | None = None, start_frame: int = 0) -> None:
        """Opens the file; ValueError where it is no video, tells no frame rate, or is too short for `start_frame`."""
        self.path, self.start_frame = path, start_frame
        self._capture = capture.open_file(path)
        told = self._capture.get(cv2.CAP_PROP_FPS)
        if fps is None and not 0.01 <= told <= 1000:
            raise ValueError(f"{path}: the file tells no frame rate ({told:g}); set source.fps")
        self.fps, self._is_even = fps or told, fps is not None
        self.size_wh = capture.size_of(self._capture)
        self.announced = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        """Number of frames that the file says it has; 0: it does not say."""
        self.length: int | None = None
        """Number of frames that it really has, once the end was seen."""
        if 0 < self.announced <= start_frame:
            raise ValueError(f"{path}: start_frame is {start_frame}, but there are {self.announced} frames")
        self.n = self.passed = start_frame
        """Frames taken from the file up to now, this time round, and in all."""
        self.period_ns = 1e9 / self.fps
        self.time_ns = round((start_frame - 1) * self.period_ns)
        """Media time of the frame that was grabbed last. It goes on where the file begins again."""
        self._zero_ns: int | None = None
        self._seek()

    def grab(self) -> bool:
        """Go to the next frame, without converting its pixels; False at the end."""
        with capture.quiet():
            if not self._capture.grab():
                self._end()
                return False
        self.n += 1
        self.passed += 1
        self.time_ns = self._next_time_ns()
        return True

    def pixels(self, lend: capture.Lend = np.empty) -> npt.NDArray[np.uint8]:
        """The frame that was grabbed last, (h, w, 3) RGB, in an array that `lend` gives."""
        pixels = capture.rgb(self._capture, lend)
        if pixels is None:
            raise ValueError(f"{self.path}: frame {self.n - 1} cannot be decoded")
        return pixels

    def rewind(self) -> None:
        """Begin again; times and `passed` go on."""
        self._capture.release()
        self._capture = capture.open_file(self.path)
        self.n, self._zero_ns = self.start_frame, None
        self._seek()

    def release(self) -> None:
        """Close the file."""
        self._capture.release()

    def _seek(self) -> None:
        if self.start_frame:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, self.start_frame)

    def _next_time_ns(self) -> int:
        """Time of the frame just grabbed: one period after the last one where the file's own time makes no sense."""
        if self._is_even:
            return round((self.passed - 1) * self.period_ns)
        told_ns = round(self._capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        if self._zero_ns is None or not 0 < told_ns - self._zero_ns - self.time_ns <= LONGEST_STEP_NS:
            self._zero_ns = told_ns - self.time_ns - round(self.period_ns)
        return told_ns - self._zero_ns

    def _end(self) -> None:
        if self.n == self.start_frame:
            raise ValueError(f"{self.path}: not one frame could be decoded; is it a complete video?")
        if self.length is None and self.n < self.announced - max(2, self.announced // 100):
            log.warning(
                "%s: ended after %d of the %d frames that it announces; it is damaged or cut off",
                self.path,
                self.n,
                self.announced,
            )
        self.length = self.n
