"""Opens video files, webcams and network cameras with OpenCV, and says why one does not open. Knows no node."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from graph.errors import nearest

Lend = Callable[[tuple[int, ...], Any], npt.NDArray[Any]]
"""Gives an array of a shape and a type, such as `numpy.empty` or `Node.loan`."""

OPEN_TIMEOUT_MS = 5000
READ_TIMEOUT_MS = 2000
NO_VIDEO = "cannot be opened as a video; is it complete, and a format that FFmpeg reads?"


def open_file(path: Path) -> cv2.VideoCapture:
    """A video file; ValueError where it is none."""
    with quiet():
        capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise ValueError(f"{path}: {NO_VIDEO}")
    return capture


def open_webcam(index: int, size_wh: tuple[int, int] | None = None, fps: float | None = None) -> cv2.VideoCapture:
    """A webcam, asked for a size and a rate, which it need not obey; ConnectionError where it cannot be opened."""
    with quiet():
        capture = cv2.VideoCapture(index)
    if not capture.isOpened():
        devices = sorted(str(p) for p in Path("/dev").glob("video*"))
        raise ConnectionError(f"webcam {index}: cannot be opened; there is: {', '.join(devices) or 'no /dev/video*'}")
    width, height = size_wh or (None, None)
    wanted = ((cv2.CAP_PROP_FRAME_WIDTH, width), (cv2.CAP_PROP_FRAME_HEIGHT, height), (cv2.CAP_PROP_FPS, fps))
    for key, value in wanted:
        if value is not None:
            capture.set(key, value)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a queue inside the driver only makes frames old
    return capture


def open_address(url: str) -> cv2.VideoCapture:
    """A network camera; ConnectionError where it cannot be reached. Opening and reading end after some seconds."""
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
    with quiet():
        capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)
    if not capture.isOpened():
        raise ConnectionError(f"{shown(url)}: cannot be reached; check the address, the network and the password")
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def rgb(capture: cv2.VideoCapture, lend: Lend = np.empty) -> npt.NDArray[np.uint8] | None:
    """The frame grabbed last, (h, w, 3) RGB, in an array that `lend` gives; None where it cannot be decoded."""
    with quiet():
        ok, bgr = capture.retrieve()
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=lend(bgr.shape, np.uint8)), np.uint8) if ok else None


def size_of(capture: cv2.VideoCapture) -> tuple[int, int]:
    """Width and height of its frames; 0 where they are not known."""
    return int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))


def file_size_wh(path: Path) -> tuple[int, int] | None:
    """Width and height of a video file's frames; None where it cannot be opened."""
    with quiet():
        capture = cv2.VideoCapture(str(path))
    size_wh = size_of(capture) if capture.isOpened() else (0, 0)
    capture.release()
    return size_wh if all(size_wh) else None


def is_address(path: str) -> bool:
    """Whether `path` is an address rather than a file."""
    return "://" in path


def shown(path: str) -> str:
    """A path or an address as people may see it: without the passwords in it."""
    return re.sub(r"(?<=://)[^/]*@", "***@", re.sub(r"\?.*", "?***", path)) if is_address(path) else path


def file_problems(path: Path) -> Iterator[str]:
    """What is wrong with `path` as a video file."""
    if path.is_dir():
        yield f"{path} is a folder; expected a video file (for a folder of images: source=images)"
    elif not path.is_file():
        siblings = [p.name for p in path.parent.iterdir() if p.is_file()] if path.parent.is_dir() else []
        yield f"there is no file {path}{nearest(path.name, siblings) if siblings else ''}"
    elif file_size_wh(path) is None:
        yield f"{path}: {NO_VIDEO}"


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps OpenCV's own messages off the terminal. Some of FFmpeg's come through: its level is set at import only."""
    logging: Any = getattr(cv2.utils, "logging", cv2)  # OpenCV 4 has the two functions in `cv2` itself
    level = logging.getLogLevel()
    logging.setLogLevel(0)
    try:
        yield
    finally:
        logging.setLogLevel(level)
