"""Small nodes with plain messages, for tests of the framework: it must not need a camera."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple, TextIO

from graph import Captured, EndOfStream, Node, Stamp


class Number(int):
    """A message."""


class Word(str):
    """Another message."""

    __slots__ = ()


class Count(Node):
    """Emits 0, 1, ... `n` - 1, a capture each `period_ms` of media time."""

    def __init__(self, n: int = 5, *, realtime: bool = False, period_ms: float = 10, gap_at: int | None = None) -> None:
        self.n, self.realtime, self.period_ms, self.gap_at, self.i = n, realtime, period_ms, gap_at, 0

    def process(self) -> Captured[Number]:
        if self.i >= self.n:
            raise EndOfStream
        i, self.i = self.i, self.i + 1
        if self.gap_at == self.i:
            self.i += 1
        if self.realtime:
            time.sleep(self.period_ms / 1e3)
        captured_ns = time.monotonic_ns() if self.realtime else int(i * self.period_ms * 1e6)
        return Captured(Number(i), captured_ns, i)


class Pair(NamedTuple):
    left: Captured[Number] | None
    right: Captured[Number] | None


class Stereo(Node):
    """Two cameras of one device: `right` sees every second capture, `skew_ms` later."""

    def __init__(self, n: int = 6, *, skew_ms: float = 1, realtime: bool = False) -> None:
        self.n, self.skew_ms, self.realtime, self.i = n, skew_ms, realtime, 0

    def process(self) -> Pair:
        if self.i >= self.n:
            raise EndOfStream
        i, self.i = self.i, self.i + 1
        t = int(i * 10e6)
        right = Captured(Number(100 + i), t + int(self.skew_ms * 1e6)) if i % 2 == 0 else None
        return Pair(Captured(Number(i), t), right)


class Lossy(Node):
    """Two outputs of one device, which both miss the captures `lost`."""

    def __init__(self, n: int = 6, *, lost: Sequence[int] = ()) -> None:
        self.left = [i for i in range(n) if i not in lost]

    def process(self) -> Pair:
        if not self.left:
            raise EndOfStream
        i = self.left.pop(0)
        return Pair(Captured(Number(i), i * 10**7, i), Captured(Number(i), i * 10**7, i))


class Add(Node):
    """Adds `k`; emits nothing for multiples of `mute`; takes `busy_ms`."""

    def __init__(self, k: int = 1, *, mute: int | None = None, busy_ms: float = 0) -> None:
        self.k, self.mute, self.busy_ms = k, mute, busy_ms

    def process(self, x: Number) -> Number | None:
        if self.busy_ms:
            time.sleep(self.busy_ms / 1e3)
        return None if self.mute and x % self.mute == 0 else Number(x + self.k)


class Sum(Node):
    """Joins: `a` + `b`, or says that there is no `b`."""

    def process(self, a: Number, b: Number | None = None) -> Word:
        return Word(f"{a}+{b}" if b is not None else f"{a}+-")


class Both(Node):
    """Joins two inputs that are both needed."""

    def process(self, a: Number, b: Number) -> Word:
        return Word(f"{a}&{b}")


class Say(Node):
    """Turns a number into a word."""

    def __init__(self, prefix: str = "w") -> None:
        self.prefix = prefix

    def process(self, x: Number) -> Word:
        return Word(f"{self.prefix}{x}")


class Write(Node):
    """A sink: appends what it gets to a file, a line each, so that any placement can be compared."""

    def __init__(self, path: str, *, busy_ms: float = 0, busy_every: int = 1) -> None:
        self.path, self.busy_ms, self.busy_every, self.n = path, busy_ms, busy_every, 0
        self.file: TextIO | None = None

    def setup(self) -> None:
        self.file = open(self.path, "a", buffering=1)  # noqa: SIM115 - closed in close

    def process(self, word: object, stamp: Stamp) -> None:
        self.n += 1
        if self.busy_ms and self.n % self.busy_every == 0:
            time.sleep(self.busy_ms / 1e3)
        self.file.write(f"{stamp.origin}#{stamp.seq} {word}\n")

    def finish(self) -> None:
        self.file.write("finish\n")

    def close(self) -> None:
        if self.file is not None:
            self.file.write("close\n")
            self.file.close()


class WriteNumber(Write):
    """The same for numbers."""

    def process(self, word: Number, stamp: Stamp) -> None:
        super().process(word, stamp)


class WriteWord(Write):
    """The same for words."""

    def process(self, word: Word, stamp: Stamp) -> None:
        super().process(word, stamp)


class Fail(Node):
    """Raises at the numbers in `at`, or in setup."""

    def __init__(self, at: list[int] | None = None, *, in_setup: bool = False) -> None:
        self.at, self.in_setup = at or [], in_setup

    def setup(self) -> None:
        if self.in_setup:
            raise OSError("the device is gone")

    def process(self, x: Number) -> Number:
        if x in self.at:
            raise ValueError(f"cannot digest {x}")
        return x


class Hang(Node):
    """Does not return from number `at` for `seconds`."""

    def __init__(self, at: int = 0, *, seconds: float = 60, in_setup: bool = False) -> None:
        self.at, self.seconds, self.in_setup = at, seconds, in_setup

    def setup(self) -> None:
        if self.in_setup:
            time.sleep(self.seconds)

    def process(self, x: Number) -> Number:
        if x == self.at:
            time.sleep(self.seconds)
        return x


class Liar(Node):
    """Returns another type than its signature says."""

    def process(self, x: Number) -> Number:
        return "seven"  # type: ignore[return-value]
