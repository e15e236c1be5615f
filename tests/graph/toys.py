"""Small nodes with plain messages, for tests of the framework: it must not need a camera."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import numpy.typing as npt

from graph import Captured, EndOfStream, Node, Stamp, wakeup


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


class CountByNumpy(Count):
    """The same with times and numbers as numpy has them, which are no int."""

    def process(self) -> Captured[Number]:
        number, captured_ns, seq = super().process()
        return Captured(number, np.int64(captured_ns), np.uint32(seq))  # type: ignore[arg-type]


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
        if self.realtime:
            time.sleep(0.005)
        t = time.monotonic_ns() if self.realtime else int(i * 10e6)
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


class AddTogether(Node):
    """The same as `Add`, also for several at once; writes the size of each batch to `sizes`. Fails at `fail`."""

    def __init__(
        self, k: int = 1, *, mute: int | None = None, busy_ms: float = 0, sizes: str | None = None,
        fail: int | None = None, lie: str | None = None,
    ) -> None:  # fmt: skip
        self.k, self.mute, self.busy_ms, self.sizes, self.fail, self.lie = k, mute, busy_ms, sizes, fail, lie

    def process(self, x: Number) -> Number | None:
        return self.process_batch([x])[0]

    def process_batch(self, x: Sequence[Number]) -> Sequence[Number | None]:
        assert len(x) <= self.batch_max
        if self.sizes:
            with open(self.sizes, "a") as file:
                file.write(f"{len(x)}\n")
        if self.busy_ms:
            time.sleep(self.busy_ms / 1e3)
        if self.fail in x:
            raise ValueError(f"cannot digest {self.fail}")
        results: list = [None if self.mute and n % self.mute == 0 else Number(n + self.k) for n in x]
        return {"count": results[1:], "type": ["seven", *results[1:]], None: results}[self.lie]


class Falter(AddTogether):
    """The same, silent at some numbers, by no rhythm that a source might fall into."""

    def process_batch(self, x: Sequence[Number]) -> Sequence[Number | None]:
        return [None if n.bit_count() % 3 == 0 else out for n, out in zip(x, super().process_batch(x), strict=True)]


class WriteTogether(Node):
    """A sink that writes several numbers at once, a line each, with their stamps."""

    def __init__(self, path: str) -> None:
        self.path = path

    def process(self, x: Number, stamp: Stamp) -> None:
        self.process_batch([x], [stamp])

    def process_batch(self, x: Sequence[Number], stamp: Sequence[Stamp]) -> None:
        with open(self.path, "a") as file:
            file.writelines(f"{s.origin}#{s.seq} {n}\n" for n, s in zip(x, stamp, strict=True))


class Sum(Node):
    """Joins: `a` + `b`, or says that there is no `b`."""

    def process(self, a: Number, b: Number | None = None) -> Word:
        return Word(f"{a}+{b}" if b is not None else f"{a}+-")


class Mix(Node):
    """Joins: `a` and a hundred times `b`, where there is one."""

    def process(self, a: Number, b: Number | None = None) -> Number:
        return Number(a + 100 * (b or 0))


class MixBoth(Node):
    """The same where both are needed."""

    def process(self, a: Number, b: Number) -> Number:
        return Number(a + 100 * b)


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


SIDE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A message with an array that is worth sharing: `values` (SIDE, SIDE) int64, all equal to `number`."""

    values: npt.NDArray[np.int64]
    number: int

    @classmethod
    def size_bytes(cls, contract: Mapping[str, Any]) -> int | None:
        return int(contract["side"]) ** 2 * 8 if "side" in contract else None

    def is_whole(self) -> bool:
        return bool((self.values == self.number).all())


class Snap(Node):
    """A camera of pictures, each full of its number; written in place, or somewhere else."""

    def __init__(self, n: int = 20, *, realtime: bool = False, period_ms: float = 10, in_place: bool = True) -> None:
        self.n, self.realtime, self.period_ms, self.in_place, self.i = n, realtime, period_ms, in_place, 0

    @classmethod
    def emits(cls, params: Mapping[str, Any], inputs: Any) -> Mapping[str, Any]:
        return {"": {"side": SIDE}}

    def process(self) -> Captured[Picture]:
        if self.i >= self.n:
            raise EndOfStream
        i, self.i = self.i, self.i + 1
        if self.realtime:
            time.sleep(self.period_ms / 1e3)
        values = self.loan((SIDE, SIDE), np.int64) if self.in_place else np.empty((SIDE, SIDE), np.int64)
        values[:] = i
        return Captured(Picture(values, i), time.monotonic_ns() if self.realtime else int(i * self.period_ms * 1e6))


class Pass(Node):
    """Hands pictures on, some as another view of the same memory; says when one is torn."""

    def __init__(self, busy_ms: float = 0) -> None:
        self.busy_ms = busy_ms

    def process(self, x: Picture) -> Picture:
        if not x.is_whole():
            raise ValueError(f"picture {x.number} is torn")
        if self.busy_ms:
            time.sleep(self.busy_ms / 1e3)
        if not x.is_whole():
            raise ValueError(f"picture {x.number} was overwritten while it was read")
        return Picture(x.values[:, ::2] if x.number % 3 == 0 else x.values, x.number)


class Album(Write):
    """Notes the number of each picture, whether it is whole, and whether it can be written to."""

    def process(self, word: Picture, stamp: Stamp) -> None:
        super().process(f"{word.number} {word.is_whole()} {word.values.flags.writeable}", stamp)


class Suicide(Node):
    """Kills its own process at the numbers in `at`, once each: what it did is noted in the folder `path`."""

    def __init__(self, path: str, at: Sequence[int] = ()) -> None:
        self.path, self.at = Path(path), at

    def process(self, x: Number) -> Number:
        mark = self.path / str(int(x))
        if x in self.at and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return x


class HangNative(Node):
    """Sleeps in C, with the interpreter's lock, at number `at`, once: what it did is noted in the folder `path`."""

    def __init__(self, path: str, at: int = 0) -> None:
        self.path, self.at = Path(path), at

    def process(self, x: Number) -> Number:
        mark = self.path / str(int(x))
        if x == self.at and not mark.exists():
            mark.touch()
            ctypes.PyDLL(None).sleep(60)
        return x


class Hoard(Node):
    """Keeps `mb` more with each number."""

    def __init__(self, mb: int = 10) -> None:
        self.mb = mb
        self.kept: list[bytes] = []

    def process(self, x: Number) -> Number:
        self.kept.append(b"x" * (self.mb << 20))
        return x


class Slice(Node):
    """Emits how long the time slice of its thread is."""

    def process(self, x: Number) -> Word:
        return Word(str(wakeup.slice_ns()))


class Stutter(Node):
    """Emits `n` numbers, 20 ms apart, and pauses before those in `pause_at`."""

    def __init__(self, n: int, *, pause_at: Sequence[int] = (), pause_s: float = 1, realtime: bool = True) -> None:
        self.n, self.pause_at, self.pause_s, self.realtime, self.i = n, pause_at, pause_s, realtime, 0

    def process(self) -> Captured[Number]:
        if self.i >= self.n:
            raise EndOfStream
        i, self.i = self.i, self.i + 1
        time.sleep(self.pause_s if i in self.pause_at else 0.02)
        return Captured(Number(i), time.monotonic_ns(), i)


class Impatient(Node):
    """Says each number, and "silence" when none comes for `after_s`."""

    def __init__(self, after_s: float) -> None:
        self.idle_after_s = after_s

    def process(self, x: Number) -> Word:
        return Word(str(int(x)))

    def idle(self, stamp: Stamp) -> Word:
        return Word("silence")


class Leaky(Node):
    """Keeps `kb` more with each number, which it hands on."""

    def __init__(self, kb: int = 100) -> None:
        self.kb = kb
        self.kept: list[bytes] = []

    def process(self, x: Number) -> Number:
        self.kept.append(b"x" * (self.kb << 10))
        return x


class StubbornSetup(Node):
    """A setup that hangs, dies or fails, `times` times: how often it did is noted in the folder `path`."""

    def __init__(self, path: str, how: str, times: int = 1000) -> None:
        self.path, self.how, self.times = Path(path), how, times

    def setup(self) -> None:
        done = len(list(self.path.glob("setup*")))
        if done >= self.times:
            return
        (self.path / f"setup{done}").touch()
        if self.how == "hangs":
            time.sleep(60)
        elif self.how == "dies":
            os._exit(3)
        raise OSError("the device is gone")

    def process(self, x: Number) -> Number:
        return x


class Odd:
    """A message that pickle refuses, or that no other process can make again."""

    def __init__(self, what: object) -> None:
        self.what = what

    def __reduce__(self) -> Any:
        return (Odd, (self.what,)) if callable(self.what) else (int, ("odd",))


class OddSource(Node):
    """Emits one message that cannot cross: one that cannot be `sent`, or one that cannot be `received`."""

    def __init__(self, cannot_be: str) -> None:
        self.cannot_be = cannot_be

    def process(self) -> Captured[Odd]:
        return Captured(Odd((lambda: None) if self.cannot_be == "sent" else None), time.monotonic_ns())


class OddSink(Node):
    """Takes them."""

    def process(self, x: Odd) -> None: ...


class Overgrown(Snap):
    """Emits pictures that are larger than its contract says."""

    def process(self) -> Captured[Picture]:
        return Captured(Picture(np.zeros((SIDE, 2 * SIDE), np.int64), 0), 0)


class Keep(Write):
    """Keeps every picture that it is given."""

    def setup(self) -> None:
        super().setup()
        self.kept: list[Picture] = []

    def process(self, word: Picture, stamp: Stamp) -> None:
        self.kept.append(word)
        super().process(str(all(p.is_whole() for p in self.kept)), stamp)


class Choose(Node):
    """Joins: hands on `a`, which must be of the same capture as `b` where there is one."""

    def process(self, a: Picture, b: Picture | None = None) -> Picture:
        if b is not None and a.number != b.number:
            raise ValueError(f"picture {a.number} came with {b.number}")
        return a


class Pick(Node):
    """Joins: `a`, or `b` for every second one."""

    def process(self, a: Picture, b: Picture | None = None) -> Picture:
        return b if b is not None and a.number % 2 else a


class Environment(Node):
    """Says what a variable of its process's environment is."""

    def __init__(self, variable: str) -> None:
        self.variable = variable

    def process(self, x: Number) -> Word:
        return Word(os.environ.get(self.variable, ""))


class Title(Node):
    """Says the number of a picture, and whether it is whole."""

    def process(self, x: Picture) -> Word:
        return Word(f"{x.number} {x.is_whole()}")
