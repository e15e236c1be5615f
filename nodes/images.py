"""Frames from a folder of images, or from a pattern such as photos/*.jpg. Knows no other node."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from glob import glob
from pathlib import Path
from threading import Event
from time import monotonic_ns
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from graph import Captured, Contract, EndOfStream, Node
from nodes.messages import Frame
from nodes.ops import checks
from nodes.ops.camera import Pinhole
from nodes.ops.capture import quiet

log = logging.getLogger(__name__)
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


class Images(Node):
    """Images in the natural order of their names (2.jpg before 10.jpg), at a steady rate.

    Args:
        path: A folder, or a pattern.
        fps: Rate at which they are shown; of a lossless run, the step of capture times.
        realtime: Whether to keep that rate; else they come as fast as they are asked for.
        loop: Whether to begin again at the end. Times and numbers go on.
        colour: What all of them are turned into: "rgb" or "gray".
        on_unreadable: "stop" ends the run at a file that is no complete image; "skip" goes on with a warning.
        hfov_deg: Horizontal field of view, for bearings; null: unknown.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        fps: float = 10.0,
        realtime: bool = True,
        loop: bool = False,
        colour: Literal["rgb", "gray"] = "rgb",
        on_unreadable: Literal["stop", "skip"] = "stop",
        hfov_deg: float | None = 70.0,
    ) -> None:
        self.path, self.fps, self.realtime, self.loop = path, fps, realtime, loop
        self.colour, self.on_unreadable, self.hfov_deg = colour, on_unreadable, hfov_deg
        self.files: list[Path] = []
        self.unreadable: set[Path] = set()
        self.n = self.shown = 0
        self.start_ns: int | None = None
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
        yield from checks.word_problems(params, "colour", ("rgb", "gray"))
        yield from checks.word_problems(params, "on_unreadable", ("stop", "skip"))
        if params.get("hfov_deg") is not None:
            yield from checks.number_problems(params, "hfov_deg", low=1, high=179)

    @classmethod
    def emits(cls, params: Mapping[str, Any], inputs: Mapping[str, Contract]) -> Mapping[str, Contract]:
        """Images of one kind, of any size."""
        colour = params.get("colour", "rgb")
        return {"": {"channels": 1 if colour == "gray" else 3, "dtype": "uint8", "colour": colour, "upright": True}}

    def setup(self) -> None:
        """List the files."""
        self.files = found(str(self.path))
        if not self.files:
            raise ValueError(f"there is no image in {self.path}")

    def process(self) -> Captured[Frame]:
        """The next image; EndOfStream after the last one, or after `interrupt`."""
        if self.woken.is_set():
            raise EndOfStream
        pixels, seq = self._next()
        captured_ns = self._paced(round(self.shown * 1e9 / self.fps))
        self.shown += 1
        size_wh = pixels.shape[1], pixels.shape[0]
        camera = None if self.hfov_deg is None else Pinhole.from_hfov(size_wh, self.hfov_deg)
        return Captured(Frame(pixels, camera=camera), captured_ns, seq)

    def _paced(self, due_ns: int) -> int:
        """Capture time of the image that is due `due_ns` after the first; waits for that in real time."""
        if not self.realtime:
            return due_ns
        now_ns = monotonic_ns()
        if self.start_ns is None:
            self.start_ns = now_ns
        captured_ns = max(self.start_ns + due_ns, now_ns)
        if self.woken.wait((captured_ns - now_ns) / 1e9):
            raise EndOfStream
        return captured_ns

    def _next(self) -> tuple[npt.NDArray[np.uint8], int]:
        """The next image that can be read, and its number."""
        while True:
            if len(self.unreadable) == len(self.files):
                raise ValueError(f"{self.path}: not one of {len(self.files)} images can be read")
            if self.n >= len(self.files) and not self.loop:
                raise EndOfStream
            path, seq = self.files[self.n % len(self.files)], self.n
            self.n += 1
            if path in self.unreadable:
                continue
            pixels = decoded(path, self.colour)
            if not isinstance(pixels, str):
                return pixels, seq
            if self.on_unreadable == "stop":
                raise ValueError(f"{path}: {pixels}; remove it, or set source.on_unreadable=skip")
            self.unreadable.add(path)
            log.warning("%s: %s; skipped", path, pixels)

    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """How many images there are, and how many of those seen could not be read."""
        count, unreadable = str(len(self.files)), str(len(self.unreadable))
        return {"source": {"name": str(self.path), "images": count, "unreadable": unreadable}}

    def interrupt(self) -> None:
        """See `Node.interrupt`."""
        self.woken.set()


def found(path: str) -> list[Path]:
    """Images of a folder, or files of a pattern, in natural order."""
    folder = Path(path).expanduser()
    paths = folder.iterdir() if folder.is_dir() else map(Path, glob(str(folder)))
    images = [p for p in paths if p.suffix.lower() in SUFFIXES and p.is_file()]
    return sorted(images, key=lambda p: [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", str(p))])


def decoded(path: Path, colour: Literal["rgb", "gray"] = "rgb") -> npt.NDArray[np.uint8] | str:
    """Pixels of a file, (h, w, 3) RGB or (h, w) gray, turned upright where it says how; or why there are none."""
    try:
        data = path.read_bytes()
        if not data:
            return "the file is empty"
        if is_cut_off(data):
            return "the image is cut off"
        mode = cv2.IMREAD_GRAYSCALE if colour == "gray" else cv2.IMREAD_COLOR
        with quiet():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except OSError as e:
        return f"it cannot be read: {e.strerror}"
    except cv2.error as e:
        return f"OpenCV cannot read it: {e.err}"
    if image is None:
        return "it is no image that OpenCV can read"
    return np.asarray(image if colour == "gray" else cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def is_cut_off(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end. OpenCV fills up what is missing of a JPEG without an error.

    A JPEG's preview, a whole JPEG itself, stands in a segment before the image data (ITU-T T.81, B.1.1): so its end is
    searched for behind all segments only. Inside the image data the two bytes of the end marker never stand together.
    """
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    if not data.startswith(b"\xff\xd8"):
        return False
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != b"\xda":
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return b"\xff\xd9" not in data[at:]
