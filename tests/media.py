"""Small videos and images for tests, and ways to damage them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread

import cv2
import numpy as np

from graph import EndOfStream, Node

Picture = Callable[[int], np.ndarray]


def red(i: int) -> np.ndarray:
    """64 x 48, as red as its number times 10."""
    return np.full((48, 64, 3), (0, 0, 10 * i % 256), np.uint8)


def noise(i: int) -> np.ndarray:
    """320 x 240, so that files are of a size that can be cut in two."""
    return np.random.default_rng(i).integers(0, 255, (240, 320, 3), np.uint8)


def clip(path: Path, n: int = 20, *, fps: float = 25, picture: Picture = red) -> Path:
    """A video of `n` frames: MJPEG in an .avi, MPEG-4 in an .mp4."""
    height, width = picture(0).shape[:2]
    codec = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (width, height))
    assert writer.isOpened()
    for i in range(n):
        writer.write(picture(i))
    writer.release()
    return path


def write_clip(path: Path, *, lumas: Sequence[int]) -> Path:
    """A video of gray frames, 64 x 48 at 25 a second, as bright as `lumas` says one by one."""
    return clip(path, len(lumas), picture=lambda i: np.full((48, 64, 3), lumas[i], np.uint8))


def cut(path: Path, part: float = 0.5) -> Path:
    """Keep only the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    return path


def retime(path: Path, runs: Sequence[tuple[int, float]]) -> Path:
    """Give the frames of an .mp4 other durations: `runs` of (how many frames, factor on their duration).

    Rewrites the box `stts` (ISO/IEC 14496-12, 8.6.1.2). The sum must stay: the edit list cuts off what is beyond it.
    """
    data = path.read_bytes()
    at = data.index(b"stts") - 4
    old_size, _, _, _, _, duration = struct.unpack(">I4sIIII", data[at : at + 24])
    table = b"".join(struct.pack(">II", n, round(factor * duration)) for n, factor in runs)
    box = struct.pack(">I4sII", 16 + len(table), b"stts", 0, len(runs)) + table
    grown = bytearray(data[:at] + box + data[at + old_size :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        start = data.index(name) - 4
        size = struct.unpack(">I", data[start : start + 4])[0]
        grown[start : start + 4] = struct.pack(">I", size + len(box) - old_size)
    path.write_bytes(grown)
    return path


def exhaust(source: Node) -> int:
    """Take frames from a source until its stream ends; how many there were."""
    for n in count():
        try:
            source.process()
        except EndOfStream:
            return n
    raise AssertionError


class Server:
    """Serves a folder over HTTP, on this machine only, until it is left."""

    def __init__(self, folder: Path) -> None:
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder)))
        self.address = f"127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> Server:
        self.thread = Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def copyfile(self, source, outputfile) -> None:
        try:
            super().copyfile(source, outputfile)
        except ConnectionError:
            pass  # the reader has enough
