"""What takes part: the shapes of graph that each contender runs, and what comes out of a run."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bench.transport.frames import Feed, Use

NO_USE = Use()


@dataclass(slots=True)
class Log:
    """What one process wrote."""

    rows: np.ndarray
    """(n, 4) int64: number, stamp, received, touched."""
    sent: int
    cpu_ns: int
    pid: int
    grown: int
    """Bytes of memory of its own that it has more than when it had settled."""
    shares: dict[str, float] = field(default_factory=dict)
    up_ns: int = 0

    @property
    def latencies_ns(self) -> np.ndarray:
        return self.rows[:, 3] - self.rows[:, 1]

    @property
    def rate(self) -> float:
        """Frames a second."""
        return 0.0 if len(self.rows) < 2 else (len(self.rows) - 1) / (np.ptp(self.rows[:, 3]) / 1e9)


@dataclass(slots=True)
class Run:
    """One run of one contender."""

    producer: Log | None
    """None: it did not come to its end."""
    consumers: list[Log]
    made_ns: np.ndarray
    """(n, 2) int64 of all frames that were made, those of the warm-up first: stamp, complete."""
    trouble: str = ""

    @property
    def cpu_ms(self) -> float:
        """CPU time of all processes that saw frames, for each frame sent."""
        logs = [log for log in (self.producer, *self.consumers) if log]
        used = {log.pid: log.cpu_ns for log in reversed(logs)}  # a producer's count is the longer, where they share one
        return sum(used.values()) / 1e6 / max(1, logs[0].sent)


class Contender(Protocol):
    """Something that carries frames."""

    name: str

    def hop(self, feed: Feed, *, readers: int = 1, use: Use = NO_USE, newest: bool = False) -> Run:
        """A producer and `readers` consumers, each in a process of its own; `newest`: newest wins."""
        ...

    def graph(self, feed: Feed, *, work_s: float) -> Run:
        """A producer, three stages that each sleep `work_s`, what joins them, and a consumer."""
        ...


@contextmanager
def folder() -> Iterator[Path]:
    """Where the processes of one run leave what they saw."""
    with tempfile.TemporaryDirectory(prefix="bench-transport-") as path:
        yield Path(path)


def read(path: Path, trouble: str = "") -> Run:
    """What the processes of a run left in its folder."""
    logs = {p.stem: _log(p) for p in sorted(path.glob("*.npz"))}
    made = path / "producer.made.npy"
    made_ns = np.load(made) if made.is_file() else np.zeros((0, 2), np.int64)
    consumers = sorted((log for name, log in logs.items() if name != "producer"), key=lambda log: log.up_ns)
    return Run(logs.get("producer"), consumers, made_ns[made_ns[:, 0] > 0], trouble)


def until(is_so: Callable[[], bool], patience_s: float = 30.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + patience_s
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"the graph was not up within {patience_s:g} s")
        time.sleep(0.01)


def _log(path: Path) -> Log:
    with np.load(path) as saved:
        what: dict[str, Any] = {key: saved[key] for key in saved.files}
    counts = {key: int(what[key]) for key in ("sent", "cpu_ns", "pid", "grown")}
    return Log(what["rows"], **counts, shares=json.loads(str(what["shares"])), up_ns=int(what.get("up_ns", 0)))
