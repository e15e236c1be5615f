"""Frames from a video file, a webcam, or a network camera (RTSP, HTTP). Knows OpenCV, and no other node."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from os.path import expanduser
from pathlib import Path
from threading import Event
from time import monotonic_ns
from typing import Any

import cv2

from graph import Captured, Contract, EndOfStream, Node
from graph.errors import nearest
from nodes.messages import Frame
from nodes.ops import checks
from nodes.ops.camera import Camera, Pinhole

log = logging.getLogger(__name__)
RECONNECTS = 5
FIRST_PAUSE_S = 0.5


class Video(Node):
    """A camera, or a file in its place.

    Args:
        path: A video file, or an address: rtsp://..., http://...
        index: A webcam, counted from 0; instead of `path`.
        realtime: Of a file: whether it is played at its own rate, as a camera would give it, frames that nobody fetched
            in time being lost; else every frame comes, as fast as it is asked for, with media time as capture time.
        loop: Whether a file begins again at its end.
        start_frame: First frame of a file.
        fps: Frames per second of a file that does not tell, or to be asked of a webcam.
        size_wh: Size to be asked of a webcam.
        hfov_deg: Horizontal field of view, for bearings; null: unknown.
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
        size_wh: list[int] | None = None,
        hfov_deg: float | None = 70.0,
    ) -> None:
        self.path, self.index, self.realtime, self.loop = path, index, realtime, loop
        self.start_frame, self.fps, self.size_wh, self.hfov_deg = start_frame, fps, size_wh, hfov_deg
        self.is_file = path is not None and not _is_address(path)
        self.name = shown(path) if path is not None else f"webcam {index}"
        self.capture: cv2.VideoCapture | None = None
        self.camera: Camera | None = None
        self.woken = Event()
        self.n = self.played = 0
        self.start_ns = 0

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        path, index = params.get("path"), params.get("index")
        if path is None and index is None:
            yield "path: no video given; type source=video source.path=clip.mp4, or source=webcam"
        if path is not None and index is not None:
            yield f"index: is {index!r}, but path is {path!r}; expected one of the two"
        if path is not None and not _is_address(str(path)):
            yield from (f"path: {problem}" for problem in _file_problems(Path(expanduser(str(path)))))
        if params.get("fps") is not None:
            yield from checks.number_problems(params, "fps", low=0.01, high=1000)
        if params.get("hfov_deg") is not None:
            yield from checks.number_problems(params, "hfov_deg", low=1, high=179)
        yield from checks.size_problems(params, optional=True)

    @classmethod
    def emits(cls, params: Mapping[str, Any], inputs: Mapping[str, Contract]) -> Mapping[str, Contract]:
        """The size of a file's frames; a camera tells its own only when it runs."""
        contract: dict[str, Any] = {"channels": 3, "dtype": "uint8", "colour": "rgb", "upright": True}
        path = params.get("path")
        if path is not None and not _is_address(str(path)):
            with quiet():
                capture = cv2.VideoCapture(expanduser(str(path)))
                size = _size(capture)
                capture.release()
            if all(size):
                contract["size_wh"] = size
        return {"": contract}

    def setup(self) -> None:
        """Open it."""
        self.capture = self._open()
        told = self.capture.get(cv2.CAP_PROP_FPS)
        if self.is_file:
            fps = self.fps or told
            if not 0.01 <= fps <= 1000:
                raise ValueError(f"{self.name}: the file tells no frame rate ({told}); set source.fps")
            self.fps = fps
            self.announced = int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT))
            if self.start_frame:
                self.capture.set(cv2.CAP_PROP_POS_FRAMES, self.start_frame)
            self.n = self.start_frame

    def process(self) -> Captured[Frame]:
        """The next frame."""
        assert self.capture is not None, "process before setup"
        return self._from_file() if self.is_file else self._from_camera()

    def _from_file(self) -> Captured[Frame]:
        assert self.capture is not None
        assert self.fps is not None
        period_ns = 1e9 / self.fps
        if not self.realtime:
            return self._captured(self._read(), int(self.played * period_ns))
        if not self.start_ns:
            self.start_ns = monotonic_ns() - int(self.played * period_ns)
        late = int((monotonic_ns() - self.start_ns) / period_ns) - self.played
        for _ in range(late):  # as a camera does: what nobody fetched in time is lost
            if not self.capture.grab():
                break
            self.n += 1
            self.played += 1
        due_ns = self.start_ns + int(self.played * period_ns)
        pixels = self._read()
        if self.woken.wait(max(0, due_ns - monotonic_ns()) / 1e9):
            raise EndOfStream
        return self._captured(pixels, due_ns)

    def _from_camera(self) -> Captured[Frame]:
        pause_s = FIRST_PAUSE_S
        for attempt in range(RECONNECTS + 1):
            assert self.capture is not None
            if self.woken.is_set():
                raise EndOfStream
            if self.capture.grab():
                captured_ns = monotonic_ns()
                ok, bgr = self.capture.retrieve()
                if ok:
                    return self._captured(bgr, captured_ns)
            if self.index is not None or attempt == RECONNECTS:
                break
            log.warning("%s: the stream broke off; connecting again in %g s", self.name, pause_s)
            if self.woken.wait(pause_s):
                raise EndOfStream
            pause_s *= 2
            self.capture.release()
            with quiet():
                self.capture = cv2.VideoCapture(self.path or "")
        raise RuntimeError(f"{self.name} gives no more frames; check that it is connected and not in use elsewhere")

    def _read(self) -> Any:
        """The next frame of a file, BGR; at its end the first one again, or EndOfStream."""
        assert self.capture is not None
        with quiet():
            ok, bgr = self.capture.read()
        if ok:
            return bgr
        if self.n == self.start_frame:
            raise ValueError(f"{self.name}: not one frame could be decoded; is it a complete video?")
        self._compare_with_announced()
        if not self.loop:
            raise EndOfStream
        self.capture.set(cv2.CAP_PROP_POS_FRAMES, self.start_frame)
        self.n = self.start_frame
        return self._read()

    def _compare_with_announced(self) -> None:
        if self.n < self.announced - max(2, self.announced // 100):
            log.warning(
                "%s: ended after %d of the %d frames that it announces; it is damaged or cut off",
                self.name,
                self.n,
                self.announced,
            )

    def _captured(self, bgr: Any, captured_ns: int) -> Captured[Frame]:
        pixels = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        if self.hfov_deg is not None and self.camera is None:
            self.camera = Pinhole.from_hfov((pixels.shape[1], pixels.shape[0]), self.hfov_deg)
        seq = self.played
        self.n += 1
        self.played += 1
        return Captured(Frame(pixels, camera=self.camera), captured_ns, seq if self.is_file else None)

    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """See `Node.facts`."""
        if self.capture is None:
            return {}
        width, height = _size(self.capture)
        facts = {"name": self.name, "size": f"{width}x{height}", "fps": f"{self.fps or 0:g}"}
        return {"source": facts}

    def interrupt(self) -> None:
        """See `Node.interrupt`."""
        self.woken.set()

    def close(self) -> None:
        """Release the file or the device."""
        if self.capture is not None:
            self.capture.release()
            self.capture = None

    def _open(self) -> cv2.VideoCapture:
        with quiet():
            if self.index is not None:
                capture = cv2.VideoCapture(self.index)
            else:
                capture = cv2.VideoCapture(expanduser(str(self.path)) if self.is_file else str(self.path))
        if not capture.isOpened():
            raise ValueError(f"{self.name}: {self._why_closed()}")
        if self.index is not None:
            wanted = [(cv2.CAP_PROP_FPS, self.fps)]
            wanted += list(zip((cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), self.size_wh or (), strict=False))
            for key, value in wanted:
                if value is not None:
                    capture.set(key, value)
        if not self.is_file:
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a camera's queue only makes frames old
        return capture

    def _why_closed(self) -> str:
        if self.index is not None:
            devices = sorted(str(p) for p in Path("/dev").glob("video*"))
            return f"cannot be opened; there is: {', '.join(devices) or 'no /dev/video*'}"
        if self.is_file:
            return "cannot be opened as a video; is it complete, and a format that FFmpeg reads?"
        return "cannot be reached; check the address, the network and the password"


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps OpenCV's own messages off the terminal: what matters is said by us."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def shown(path: str) -> str:
    """A path or an address for people: without the password in it."""
    return re.sub(r"//[^/@]*@", "//***@", path)


def _is_address(path: str) -> bool:
    return "://" in path


def _file_problems(path: Path) -> Iterable[str]:
    if path.is_dir():
        yield f"{path} is a folder; expected a video file (for a folder of images: source=images)"
    elif not path.is_file():
        siblings = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
        yield f"there is no file {path}{nearest(path.name, siblings) if siblings else ''}"


def _size(capture: cv2.VideoCapture) -> tuple[int, int]:
    return int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
