"""The table: how much is measured, who takes turns, what is printed, and which limits were missed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench import report
from bench.transport.contender import Contender, Run
from bench.transport.frames import FRAME_BYTES, Feed
from bench.transport.ours import Ours

FPS = 30.0
SAMPLES = Ours(transport="iceoryx2")
QUICK, SLOW = ("ring", "bare socket", "iceoryx2", SAMPLES.name), ("mp.Queue", "dora-rs")
"""Peers by what a repeat of them costs."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    n: int = 90
    """Frames of a paced run."""
    seconds: float = 1.5
    """Of a saturated one."""
    repeats: int = 2
    frame_bytes: int = FRAME_BYTES
    starts: int = 4
    """Of which the first frame is timed."""

    @property
    def pause_s(self) -> float:
        """How long a process that should not use the CPU is watched."""
        return 2 * self.seconds

    @property
    def feed(self) -> Feed:
        return Feed(self.frame_bytes, fps=FPS, n=self.n)


class Table:
    """Runs contenders in turns, prints what they took, and remembers which limits were missed."""

    def __init__(self, ours: Ours, peers: Sequence[Contender], scale: Scale) -> None:
        self.ours, self.peers, self.scale = ours, peers, scale
        self.missed: list[str] = []

    def turns(
        self, title: str, go: Callable[[Contender], Run], *, beside: Sequence[str] = QUICK, repeats: int = 0
    ) -> dict[str, list[Run]]:
        """Runs of ours and of the peers `beside`; slow ones take part in the first repeat alone."""
        print(f"\n{title}")
        contenders: list[Contender] = [self.ours, *(p for p in self.peers if p.name in beside)]
        runs: dict[str, list[Run]] = {c.name: [] for c in contenders}
        busy = 0.0
        for repeat in range(repeats or self.scale.repeats):
            for contender in contenders if repeat % 2 == 0 else reversed(contenders):
                if repeat and contender.name in SLOW:
                    continue
                with OtherLoad() as load:
                    run = go(contender)
                busy = max(busy, load.cores)
                runs[contender.name].append(run)
                if run.trouble or not run.consumers:
                    print(f"    {contender.name}: {run.trouble or 'nothing was received'}")
        if busy > 0.2:
            print(f"    other programs used up to {busy:.1f} cores meanwhile")
        return runs

    def latencies(self, runs: Mapping[str, Sequence[Run]], worst: bool = False) -> dict[str, np.ndarray]:
        """Print a row for each contender; the latencies by contender, in nanoseconds."""
        found = {name: np.concatenate([_latencies(r, worst) for r in rs]) for name, rs in runs.items()}
        for name, ns in found.items():
            if len(ns):
                report.row(f"    {name}", ns.tolist(), unit="us")
            else:
                print(f"    {name}: nothing to show")
                self.missed.append(f"{name}: nothing to show") if name == self.ours.name else None
        return {name: ns for name, ns in found.items() if len(ns)}

    def limit(self, what: str, value_ns: float, at_most: float, unit: report.Unit = "us") -> None:
        self._keep(what, report.limit(f"  {what}", value_ns, at_most=at_most, unit=unit))

    def ratio(self, what: str, value: float, **bound: float) -> None:
        self._keep(what, report.ratio(f"  {what}", value, **bound))

    def against(
        self, found: Mapping[str, np.ndarray], peer: str, what: str, *, at_most: float = 0.0, at_least: float = 0.0
    ) -> None:
        """Hold the medians against each other: ours / peer at most, or peer / ours at least."""
        if peer not in found or self.ours.name not in found:
            return
        ours, theirs = float(np.median(found[self.ours.name])), float(np.median(found[peer]))
        if at_most:
            self.ratio(f"{what}: ours / {peer}", ours / theirs, at_most=at_most)
        else:
            self.ratio(f"{what}: {peer} / ours", theirs / ours, at_least=at_least)

    def _keep(self, what: str, within: bool) -> None:
        if not within:
            self.missed.append(what)


class OtherLoad:
    """Cores that programs other than ours used, all in all, while the block ran."""

    cores = 0.0

    def __enter__(self) -> OtherLoad:
        self._begin = _busy_s(), sum(os.times()[:4]), time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        busy_s, own_s, begin_s = self._begin
        own = sum(os.times()[:4]) - own_s
        self.cores = max(0.0, (_busy_s() - busy_s - own) / (time.monotonic() - begin_s))


def _busy_s() -> float:
    with open("/proc/stat") as stat:
        ticks = [int(word) for word in stat.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _latencies(run: Run, worst: bool) -> np.ndarray:
    """Of all consumers together; `worst`: of the last consumer of each frame that all of them had."""
    if not run.consumers:
        return np.zeros(0)
    if not worst:
        return np.concatenate([log.latencies_ns for log in run.consumers])
    seen = [dict(zip(log.rows[:, 0].tolist(), log.latencies_ns.tolist(), strict=True)) for log in run.consumers]
    return np.array([max(s[seq] for s in seen) for seq in seen[0] if all(seq in s for s in seen)], np.float64)
