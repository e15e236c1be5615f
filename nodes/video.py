"""Frames from a video file, a webcam, or a network camera (RTSP, HTTP). Knows no other node."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Event
from time import monotonic_ns
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from graph import Captured, Contract, EndOfStream, Node
from nodes.messages import Frame
from nodes.ops import capture, checks
from nodes.ops.camera import Pinhole, whole_pair
from nodes.ops.clip import Clip

log = logging.getLogger(__name__)
FIRST_PAUSE_S = 0.5
MOST_LATE_NS = 500_000_000


class Video(Node):
    """A camera, or a file in its place. Gives RGB frames.

    A file in real time behaves as a camera: a frame counts as captured when it is due, and one that nobody fetched
    before the next was due is lost, which shows as a gap in `seq`. A camera that breaks off is opened again.

    Args:
        path: A video file, or an address: rtsp://..., http://...
        index: A webcam, counted from 0; instead of `path`.
        realtime: Whether a file is played at its own rate; else every frame comes, as fast as it is asked for, with
            the file's own times.
        loop: Whether a file begins again at its end. Times and numbers go on.
        start_frame: First frame of a file.
        fps: Frames per second of a file, where its own times are wrong or absent; of a webcam, the rate to ask for.
        size_wh: Size to ask a webcam for.
        hfov_deg: Horizontal field of view, for bearings; null: unknown.
        reconnects: How often a camera that gives no frame is opened again, each time after twice as long a pause.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        index: int | None = None,
        realtime: bool = True,
        loop: bool = False,
        start_frame: int = 0,
        fps: float | None = None,
        size_wh: Sequence[int] | None = None,
        hfov_deg: float | None = 70.0,
        reconnects: int = 5,
    ) -> None:
        self.path, self.index, self.realtime, self.loop = path, index, realtime, loop
        self.start_frame, self.fps, self.size_wh, self.hfov_deg = start_frame, fps, size_wh, hfov_deg
        self.reconnects = reconnects
        self.name = f"webcam {index}" if path is None else capture.shown(path)
        self.clip: Clip | None = None
        self.device: cv2.VideoCapture | None = None
        self.camera: Pinhole | None = None
        self.start_ns: int | None = None
        self.is_slow = False
        self.woken = Event()

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        path, index = params.get("path"), params.get("index")
        if path is None and index is None:
            yield "path: no video given; type graph=video source.path=clip.mp4, or graph=video source=webcam"
        if path is not None and index is not None:
            yield f"index: is {index!r}, but path is {path!r}; expected one of the two"
        if _is_file(path):
            yield from (f"path: {problem}" for problem in capture.file_problems(Path(str(path)).expanduser()))
        elif params.get("realtime", True) is False:
            yield "realtime: is False, but a camera cannot wait; expected True, or a file"
        for key in ("index", "start_frame", "reconnects"):
            value = params.get(key, 0)
            if value is not None and not (type(value) is int and value >= 0):
                yield f"{key}: is {value!r}; expected a whole number, 0 or more"
        if params.get("fps") is not None:
            yield from checks.number_problems(params, "fps", low=0.01, high=1000)
        if params.get("hfov_deg") is not None:
            yield from checks.number_problems(params, "hfov_deg", low=1, high=179)
        yield from checks.size_problems(params, optional=True)

    @classmethod
    def emits(cls, params: Mapping[str, Any], inputs: Mapping[str, Contract]) -> Mapping[str, Contract]:
        """RGB. The size of a file's frames is known; a camera tells its own only when it runs."""
        contract: dict[str, Any] = {"channels": 3, "dtype": "uint8", "colour": "rgb", "upright": True}
        if _is_file(params.get("path")):
            size_wh = capture.file_size_wh(Path(str(params["path"])).expanduser())
            if size_wh is not None:
                contract["size_wh"] = size_wh
        return {"": contract}

    def setup(self) -> None:
        """Open the file or the camera."""
        if _is_file(self.path):
            path = Path(str(self.path)).expanduser()
            self.clip = Clip(path, fps=self.fps, start_frame=self.start_frame)
        else:
            self.device = self._open_camera()

    def process(self) -> Captured[Frame]:
        """The next frame; EndOfStream at the end of a file, or after `interrupt`."""
        if self.clip is None:
            return self._from_camera()
        self._next(self.clip)
        captured_ns = self.clip.time_ns
        if self.realtime:
            captured_ns = self._catch_up(self.clip)
        captured = self._captured(self.clip.pixels(self.loan), captured_ns, self.clip.passed - 1)
        if self.realtime and self.woken.wait(max(0, captured_ns - monotonic_ns()) / 1e9):
            raise EndOfStream
        return captured

    def _next(self, clip: Clip) -> None:
        """Go to the next frame, beginning again if wanted."""
        if self.woken.is_set():
            raise EndOfStream
        if clip.grab():
            return
        if not self.loop:
            raise EndOfStream
        clip.rewind()
        clip.grab()

    def _catch_up(self, clip: Clip) -> int:
        """Pass over the frames whose successor is due already; when the one now at hand is due, host clock.

        What takes too long to decode is played more slowly, or ever more frames would be passed over.
        """
        now_ns = monotonic_ns()
        if self.start_ns is None:
            self.start_ns = now_ns - clip.time_ns
        while self.start_ns + clip.time_ns + clip.period_ns <= now_ns:
            self._next(clip)
        late_ns = monotonic_ns() - self.start_ns - clip.time_ns
        if late_ns > MOST_LATE_NS:
            if not self.is_slow:
                log.warning("%s: decoding takes longer than playing; it is played more slowly", self.name)
            self.is_slow = True
            self.start_ns += late_ns
        return self.start_ns + clip.time_ns

    def _from_camera(self) -> Captured[Frame]:
        """The next frame of a camera, opened again as often as `reconnects` says."""
        pause_s = FIRST_PAUSE_S
        for _ in range(self.reconnects):
            captured = self._grabbed()
            if captured is not None:
                return captured
            log.warning("%s: gives no frame; opening it again in %g s", self.name, pause_s)
            if self.woken.wait(pause_s):
                raise EndOfStream
            pause_s *= 2
            self._open_again()
        captured = self._grabbed()
        if captured is None:
            raise ConnectionError(f"{self.name}: gives no more frames; is it connected, and not in use elsewhere?")
        return captured

    def _grabbed(self) -> Captured[Frame] | None:
        if self.woken.is_set():
            raise EndOfStream
        with capture.quiet():
            if self.device is None or not self.device.grab():
                return None
        captured_ns = monotonic_ns()
        pixels = capture.rgb(self.device, self.loan)
        return None if pixels is None else self._captured(pixels, captured_ns, None)

    def _open_camera(self) -> cv2.VideoCapture:
        if self.index is not None:
            size_wh = None if self.size_wh is None else whole_pair("size_wh", self.size_wh)
            return capture.open_webcam(self.index, size_wh, self.fps)
        return capture.open_address(str(self.path))

    def _open_again(self) -> None:
        self.close()
        try:
            self.device = self._open_camera()
        except ConnectionError as e:
            log.debug("%s", e)

    def _captured(self, pixels: npt.NDArray[np.uint8], captured_ns: int, seq: int | None) -> Captured[Frame]:
        size_wh = pixels.shape[1], pixels.shape[0]
        if self.hfov_deg is not None and (self.camera is None or self.camera.size_wh != size_wh):
            self.camera = Pinhole.from_hfov(size_wh, self.hfov_deg)
        return Captured(Frame(pixels, camera=self.camera), captured_ns, seq)

    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """What is read; of a file also how many frames it announces, and how many it had once its end was seen."""
        facts = {"name": self.name}
        if self.clip is not None:
            facts |= {"size": "{}x{}".format(*self.clip.size_wh), "fps": f"{self.clip.fps:g}"}
            facts["announced"] = str(self.clip.announced)
            if self.clip.length is not None:
                facts["frames"] = str(self.clip.length)
        elif self.device is not None:
            facts |= {"size": "{}x{}".format(*capture.size_of(self.device))}
        return {"source": facts}

    def interrupt(self) -> None:
        """See `Node.interrupt`."""
        self.woken.set()

    def close(self) -> None:
        """Release the file or the camera."""
        for opened in (self.clip, self.device):
            if opened is not None:
                opened.release()
        self.clip = self.device = None


def _is_file(path: str | None) -> bool:
    return path is not None and not capture.is_address(str(path))
