"""Nodes that tell where in the cluster they run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from graph import Captured, EndOfStream, Node, Stamp
from tests.graph.toys import Number


class Picture:
    """A message with an array that goes through the object store."""

    def __init__(self, i: int, pixels: np.ndarray) -> None:
        self.i, self.pixels = i, pixels


class Told(Node):
    """Says in the file `path`, at each start, on which machine and in which process it runs."""

    path: str | None = None

    def setup(self) -> None:
        if self.path is not None:
            import ray

            with Path(self.path).open("a") as file:
                file.write(f"{ray.get_runtime_context().get_node_id()} {os.getpid()}\n")


class Film(Told):
    """Emits `n` arrays of `size_bytes`, each filled with its number, one per `period_ms`."""

    def __init__(self, n: int, *, size_bytes: int = 1 << 20, period_ms: float = 0, path: str | None = None) -> None:
        self.n, self.size_bytes, self.period_ms, self.path, self.i = n, size_bytes, period_ms, path, 0

    def process(self) -> Captured[Picture]:
        if self.i == self.n:
            raise EndOfStream
        time.sleep(self.period_ms / 1e3)
        i, self.i = self.i, self.i + 1
        pixels = self.loan((self.size_bytes,))
        pixels[:] = i % 256
        return Captured(Picture(i, pixels), time.monotonic_ns())


class Look(Told):
    """Checks that all of a picture has come; one from another process is not to be written to."""

    def __init__(self, path: str | None = None, *, is_far: bool = False) -> None:
        self.path, self.is_far = path, is_far

    def process(self, picture: Picture) -> Number:
        if not (picture.pixels == picture.i % 256).all() or (self.is_far and picture.pixels.flags.writeable):
            raise ValueError(f"picture {picture.i} is damaged, or could be")
        return Number(picture.i)


class Develop(Told):
    """Emits the negative of a picture."""

    def __init__(self, path: str | None = None) -> None:
        self.path = path

    def process(self, picture: Picture) -> Picture:
        return Picture(255 - picture.i % 256, 255 - picture.pixels)


class Hang(Node):
    """Does not return from its third step."""

    def __init__(self) -> None:
        self.n = 0

    def process(self, x: Number) -> Number:
        self.n += 1
        while self.n == 3:
            time.sleep(0.1)
        return x


class Age(Node):
    """Emits how old its capture is by the clock of this machine, in whole seconds."""

    def process(self, x: Number, stamp: Stamp) -> Number:
        return Number(round(stamp.age_ns() / 1e9))
