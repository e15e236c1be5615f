"""Frames from a folder of images, or from a pattern such as photos/*.jpg."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from glob import glob
from os.path import expanduser
from pathlib import Path
from threading import Event
from time import monotonic_ns
from typing import Any, Literal

import cv2
import numpy as np

from graph import Captured, Contract, EndOfStream, Node
from nodes.messages import Frame
from nodes.ops import checks
from nodes.ops.camera import Pinhole

log = logging.getLogger(__name__)
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


class Images(Node):
    """Images in the natural order of their names (2.jpg before 10.jpg), as RGB.

    Args:
        path: A folder, or a pattern.
        fps: Rate at which they are shown; of a lossless run, the step of capture times.
        realtime: Whether to keep that rate; else they come as fast as they are asked for.
        loop: Whether to begin again at the end.
        on_unreadable: "stop" ends the run at a file that is no image; "skip" goes on with a warning.
        hfov_deg: Horizontal field of view, for bearings; null: unknown.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        fps: float = 10.0,
        realtime: bool = True,
        loop: bool = False,
        on_unreadable: Literal["stop", "skip"] = "stop",
        hfov_deg: float | None = 70.0,
    ) -> None:
        self.path, self.fps, self.realtime, self.loop = path, fps, realtime, loop
        self.on_unreadable, self.hfov_deg = on_unreadable, hfov_deg
        self.files: list[Path] = []
        self.next = self.shown = self.unreadable = 0
        self.start_ns = 0
        self.woken = Event()

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        path = params.get("path")
        if path is None:
            yield "path: no images given; type source=images source.path=FOLDER, or a pattern such as 'photos/*.jpg'"
        elif not found(str(path)):
            yield f"path: there is no image in {path}; expected a folder or a pattern of {', '.join(sorted(SUFFIXES))}"
        yield from checks.number_problems({"fps": 1, **params}, "fps", low=0.01, high=1000)
        yield from checks.word_problems(params, "on_unreadable", ("stop", "skip"))
        if params.get("hfov_deg") is not None:
            yield from checks.number_problems(params, "hfov_deg", low=1, high=179)

    @classmethod
    def emits(cls, params: Mapping[str, Any], inputs: Mapping[str, Contract]) -> Mapping[str, Contract]:
        """Colour images of any size."""
        return {"": {"channels": 3, "dtype": "uint8", "colour": "rgb", "upright": True}}

    def setup(self) -> None:
        """List the files."""
        self.files = found(str(self.path))
        if not self.files:
            raise ValueError(f"there is no image in {self.path}")

    def process(self) -> Captured[Frame]:
        """The next image."""
        pixels, seq = self._read()
        period_ns = 1e9 / self.fps
        captured_ns = int(self.shown * period_ns)
        if self.realtime:
            self.start_ns = self.start_ns or monotonic_ns()
            captured_ns = max(self.start_ns + captured_ns, monotonic_ns())
            if self.woken.wait(max(0, captured_ns - monotonic_ns()) / 1e9):
                raise EndOfStream
        self.shown += 1
        size_wh = pixels.shape[1], pixels.shape[0]
        camera = None if self.hfov_deg is None else Pinhole.from_hfov(size_wh, self.hfov_deg)
        return Captured(Frame(pixels, camera=camera), captured_ns, seq)

    def _read(self) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], int]:
        """The next image that can be read, and its number."""
        while True:
            if self.next >= len(self.files):
                if not self.loop or self.unreadable >= len(self.files):
                    raise EndOfStream
                self.next = 0
            path, seq = self.files[self.next], self.next
            self.next += 1
            pixels = decoded(path)
            if isinstance(pixels, np.ndarray):
                return pixels, self.shown if self.loop else seq
            if self.on_unreadable == "stop":
                raise ValueError(f"{path}: {pixels}; remove it, or set source.on_unreadable=skip")
            self.unreadable += 1
            log.warning("%s: %s; skipped", path, pixels)

    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """See `Node.facts`."""
        return {"source": {"name": str(self.path), "images": str(len(self.files)), "unreadable": str(self.unreadable)}}

    def interrupt(self) -> None:
        """See `Node.interrupt`."""
        self.woken.set()


def found(path: str) -> list[Path]:
    """Images of a folder, or files of a pattern, in natural order."""
    folder = Path(expanduser(path))
    paths = folder.iterdir() if folder.is_dir() else map(Path, glob(str(folder)))
    images = [p for p in paths if p.is_file() and (p.suffix.lower() in SUFFIXES)]
    return sorted(images, key=lambda p: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", p.name)])


def decoded(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]] | str:
    """Pixels (h, w, 3) uint8 RGB of a file, or why there are none."""
    data = path.read_bytes()
    if not data:
        return "the file is empty"
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-64:]:
        return "the JPEG is cut off"
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        return "it is no image that OpenCV can read"
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
