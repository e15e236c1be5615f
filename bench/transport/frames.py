"""What all contenders share: sizes, the head of a frame, when the next one is due, and the log of who took it when."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic_ns
from typing import Literal

import numpy as np

FRAME_BYTES = 1408 * 1408 * 3
RESULT_BYTES = 640 * 480
"""What a stage of the graph makes of a frame."""
MESSAGE_BYTES = 100
PAGE_BYTES = 4096
WARM_UP = 12
WARM_UP_S = 0.005
DATA, WARM, END = 0, 1, 2
SETTLED = 4
"""Frames after which a process has the memory that it needs."""

Variant = Literal["copy", "in place"]


@dataclass(frozen=True, slots=True)
class Feed:
    """What a producer sends: frames of `size` bytes, `n` of them at `fps`, or for `seconds` as fast as it goes."""

    size: int = FRAME_BYTES
    variant: Variant = "copy"
    fps: float = 0.0
    n: int = 0
    seconds: float = 0.0
    warm: int = WARM_UP
    pause_s: float = 0.0
    """Rests so long before the first frame that counts, and notes what the other processes use meanwhile."""
    waits: bool = False
    """Waits while there is no room, and makes up for it after, as all peers do; ours, live, turns frames away."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a consumer does with a frame after it has touched it."""

    work_s: float = 0.0
    """Sleeps so long at each frame."""
    pause_s: float = 0.0
    """Sleeps so long at the first frame, and notes what the other processes use meanwhile."""


def stamp(frame: np.ndarray, seq: int, t0_ns: int, kind: int = DATA) -> None:
    frame[:24].view(np.int64)[:] = (seq, t0_ns, kind)


def header(frame: np.ndarray) -> tuple[int, int, int]:
    """Number, stamp in nanoseconds and kind."""
    seq, t0_ns, kind = frame[:24].view(np.int64).tolist()
    return seq, t0_ns, kind


def touch(frame: np.ndarray) -> int:
    return int(frame[::PAGE_BYTES].sum())


def private(size: int) -> np.ndarray:
    """A frame of the producer's own, with its memory mapped."""
    return np.arange(size, dtype=np.uint64).astype(np.uint8)


def fill(
    take: Callable[[], np.ndarray], own: np.ndarray, variant: Variant, seq: int, kind: int
) -> tuple[np.ndarray, int]:
    """A frame in a buffer that `take` gives, and its stamp."""
    if variant == "copy":
        t0_ns = monotonic_ns()
        stamp(own, seq, t0_ns, kind)
        buffer = take()
        np.copyto(buffer, own)
        return buffer, t0_ns
    buffer = take()
    buffer[::PAGE_BYTES] = seq & 255
    t0_ns = monotonic_ns()
    stamp(buffer, seq, t0_ns, kind)
    return buffer, t0_ns


def cpu_ns(pid: int = 0) -> int:
    """CPU time of a process since its start, all its threads; 0: of this one."""
    return time.clock_gettime_ns((~pid << 3) | 2) if pid else time.process_time_ns()


def memory_bytes(pid: int | str = "self") -> int:
    """Resident memory of a process that is its own, pages of shared memory not counted."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def announce(folder: Path, name: str) -> None:
    """Leave this process's id where the others find it."""
    path = folder / f"{name}.pid"
    path.with_suffix(".new").write_text(str(os.getpid()))
    path.with_suffix(".new").replace(path)


def shares(folder: Path, seconds: float) -> dict[str, float]:
    """Sleep; what part of a core each other process that announced itself used meanwhile."""
    pids = {p.stem: int(p.read_text()) for p in sorted(folder.glob("*.pid"))}
    pids = {name: pid for name, pid in pids.items() if pid != os.getpid()}
    time.sleep(0.3)  # for those that have something to do yet
    before, begin_ns = {name: cpu_ns(pid) for name, pid in pids.items()}, monotonic_ns()
    time.sleep(seconds)
    taken_ns = monotonic_ns() - begin_ns
    return {name: (cpu_ns(pid) - before[name]) / taken_ns for name, pid in pids.items()}


class Shutter:
    """Says when a producer's next frame is due, and keeps the producer's side of the log."""

    def __init__(self, feed: Feed, folder: Path, name: str = "producer") -> None:
        self.feed, self.path, self.folder = feed, folder / f"{name}.npz", folder
        self.seq = 0
        self._start_ns = self._cpu_ns = self._memory = 0
        self._shares: dict[str, float] = {}
        # Written as it goes, since a producer may stand still for ever.
        rows = feed.warm + feed.n
        path = folder / f"{name}.made.npy"
        self._made = np.lib.format.open_memmap(path, mode="w+", dtype=np.int64, shape=(rows, 2)) if feed.n else None
        announce(folder, name)

    def wait(self) -> tuple[int, int] | None:
        """Number and kind of the next frame, when it is due; None: that was all."""
        feed, i = self.feed, self.seq - self.feed.warm
        if i < 0:
            time.sleep(WARM_UP_S)
            return self.seq, WARM
        if i == 0:
            time.sleep(0.2 if feed.warm else 0)
            self._shares = shares(self.folder, feed.pause_s) if feed.pause_s else {}
            self._start_ns, self._cpu_ns = monotonic_ns(), cpu_ns()
        if i == SETTLED:
            self._memory = memory_bytes()
        if (feed.n and i >= feed.n) or (feed.seconds and monotonic_ns() - self._start_ns >= feed.seconds * 1e9):
            return None
        if feed.fps:
            due_ns = self._start_ns + int(i / feed.fps * 1e9)
            while (left_ns := due_ns - monotonic_ns()) > 0:
                time.sleep(left_ns / 1e9)
        return self.seq, DATA

    def made(self, t0_ns: int) -> None:
        """The frame with this stamp is complete, and will now be sent."""
        if self._made is not None and self.seq < len(self._made):
            self._made[self.seq] = t0_ns, monotonic_ns()
        self.seq += 1

    def save(self) -> None:
        n = self.seq - self.feed.warm
        save(
            self.path, rows=np.zeros((0, 4), np.int64), sent=n, cpu_ns=cpu_ns() - self._cpu_ns, pid=os.getpid(),
            grown=memory_bytes() - self._memory if self._memory else 0, shares=json.dumps(self._shares),
        )  # fmt: skip


@dataclass(slots=True)
class Taker:
    """Takes a consumer's frames and logs them as (number, stamp, received, touched), in nanoseconds."""

    folder: Path
    name: str = "consumer"
    use: Use = field(default_factory=Use)
    rows: list[tuple[int, int, int, int]] = field(default_factory=list)
    up_ns: int = field(default_factory=monotonic_ns)
    _cpu_ns: int = 0
    _memory: int = 0
    _shares: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        announce(self.folder, self.name)

    def take(self, frame: np.ndarray) -> int:
        """Touch and log a frame; its kind."""
        received_ns = monotonic_ns()
        seq, t0_ns, kind = header(frame)
        if kind != DATA:
            return kind
        if not self.rows:
            self._cpu_ns = cpu_ns()
        if len(self.rows) == SETTLED:
            self._memory = memory_bytes()
        touch(frame)
        self.rows.append((seq, t0_ns, received_ns, monotonic_ns()))
        if self.use.work_s:
            time.sleep(self.use.work_s)
        if self.use.pause_s and len(self.rows) == 1:
            self._shares = shares(self.folder, self.use.pause_s)
        return kind

    def save(self) -> None:
        """Write the log; under a name with the process's id, so that a restarted consumer keeps what was written."""
        save(
            self.folder / f"{self.name}.{os.getpid()}.npz", rows=np.array(self.rows, np.int64).reshape(-1, 4),
            sent=0, cpu_ns=cpu_ns() - self._cpu_ns if self.rows else 0, pid=os.getpid(), up_ns=self.up_ns,
            grown=memory_bytes() - self._memory if self._memory else 0, shares=json.dumps(self._shares),
        )  # fmt: skip


def save(path: Path, **what: object) -> None:
    np.savez(path.with_suffix(".new.npz"), **{key: np.array(value) for key, value in what.items()})
    path.with_suffix(".new.npz").replace(path)
