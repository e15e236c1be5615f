"""The nodes of the graphs that are timed. They run in processes of their own, and write what they saw into files."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.transport.frames import DATA, MESSAGE_BYTES, Feed, Shutter, Taker, Use, fill, header, private, stamp, touch
from graph import Captured, EndOfStream, Node, Stamp
from graph.node import Contract


@dataclass(frozen=True, slots=True)
class Pixels:
    """A frame, or what was made of one: bytes, with a stamp in the first of them."""

    data: np.ndarray
    """(n,) uint8."""

    @classmethod
    def size_bytes(cls, contract: Contract) -> int | None:
        """How long `data` is, where the contract tells."""
        size = contract.get("bytes")
        return None if size is None else int(size)


class Camera(Node):
    """Sends the frames of `feed`, into memory that the transport lends."""

    def __init__(self, folder: str, feed: Mapping[str, Any], realtime: bool = True) -> None:
        self.folder, self.feed = Path(folder), Feed(**feed)
        self.realtime = realtime

    @classmethod
    def emits(cls, params: Mapping[str, Any], inputs: Mapping[str, Contract]) -> Mapping[str, Contract]:
        return {"": {"bytes": params["feed"]["size"]}}

    def setup(self) -> None:
        self.own, self.shutter = private(self.feed.size), Shutter(self.feed, self.folder)

    def process(self) -> Captured[Pixels]:
        if (due := self.shutter.wait()) is None:
            raise EndOfStream
        buffer, t0_ns = fill(lambda: self.loan((self.feed.size,)), self.own, self.feed.variant, *due)
        self.shutter.made(t0_ns)
        return Captured(Pixels(buffer), t0_ns)

    def finish(self) -> None:
        self.shutter.save()


class Stage(Node):
    """Touches a frame, works `work_s` and sends on something of `size` bytes."""

    def __init__(self, size: int, work_s: float) -> None:
        self.size, self.work_s = size, work_s

    @classmethod
    def emits(cls, params: Mapping[str, Any], inputs: Mapping[str, Contract]) -> Mapping[str, Contract]:
        return {"": {"bytes": params["size"]}}

    def setup(self) -> None:
        self.own = private(self.size)

    def process(self, frame: Pixels) -> Pixels:
        seq, t0_ns, kind = header(frame.data)
        touch(frame.data)
        if kind == DATA:
            time.sleep(self.work_s)
        stamp(self.own, seq, t0_ns, kind)
        buffer = self.loan((self.size,))
        np.copyto(buffer, self.own)
        return Pixels(buffer)


class Join(Node):
    """Touches what three stages made of one frame, and sends on its head."""

    @classmethod
    def emits(cls, params: Mapping[str, Any], inputs: Mapping[str, Contract]) -> Mapping[str, Contract]:
        return {"": {"bytes": MESSAGE_BYTES}}

    def process(self, a: Pixels, b: Pixels, c: Pixels, when: Stamp) -> Pixels:
        heads = [header(x.data) for x in (a, b, c)]
        if len({seq for seq, _, _ in heads}) > 1:
            raise ValueError(f"{when.origin}#{when.seq}: the join got frames {[seq for seq, _, _ in heads]}")
        for x in (a, b, c):
            touch(x.data)
        buffer = self.loan((MESSAGE_BYTES,))
        stamp(buffer, *heads[0])
        return Pixels(buffer)


class Sink(Node):
    """Touches what arrives and logs it."""

    def __init__(self, folder: str, name: str, then: Mapping[str, Any]) -> None:
        self.folder, self.name, self.use = Path(folder), name, Use(**then)

    def setup(self) -> None:
        self.taker = Taker(self.folder, self.name, self.use)

    def process(self, frame: Pixels) -> None:
        self.taker.take(frame.data)

    def close(self) -> None:
        self.taker.save()
