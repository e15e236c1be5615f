"""`command=soak`: run for long and look what grows; start and stop often and look how it ends."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Timer
from time import monotonic
from typing import TYPE_CHECKING, Any

from graph import procfs, report
from graph.commands import starts
from graph.commands.run import stops_on_signals
from graph.errors import CauceError, ConfigError
from graph.runtime import Runtime
from graph.status import Status

if TYPE_CHECKING:
    from graph.compose import Graph

EVERY_S = 2.0
WARM_UP = 0.2  # of the time: until then pools, caches and compilers take what they keep


class SoakFailed(CauceError):
    """Something grew, was left behind, or did not end as it should."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What all processes of a run hold at one moment."""

    at_s: float
    frames: int
    memory_mb: float
    """Resident, without what is shared; of all processes together."""
    handles: int
    threads: int
    processes: int
    shared: int
    """Files in /dev/shm."""


class Soak:
    """Holds that a graph can run for ever, and end at any time.

    Args:
        minutes: How long it runs; 0 leaves that out.
        starts: How often it is started and stopped after that, as a program of its own.
        each_s: How long each of those runs after its first frame.
        growth_mb: What all its processes together may grow by after the first fifth of the time.
    """

    def __init__(self, minutes: float = 10, starts: int = 0, *, each_s: float = 1, growth_mb: float = 32) -> None:
        self.minutes, self.starts, self.each_s, self.growth_mb = minutes, starts, each_s, growth_mb

    def execute(self, graph: Graph) -> Mapping[str, Any]:
        """Do both, and return all figures; SoakFailed with everything that was not as it should be."""
        self._check()
        if out := graph.config.get("out"):
            Path(str(out)).mkdir(parents=True, exist_ok=True)
        found: dict[str, Any] = {"minutes": self.minutes, "starts": self.starts}
        problems: list[str] = []
        before = _shared()
        if self.minutes:
            samples = self._run(graph)
            found["samples"] = [asdict(s) for s in samples]
            problems += grown(samples, growth_mb=self.growth_mb)
            print(_told(samples), file=sys.stderr)
        with TemporaryDirectory(prefix="cauce-soak-") as folder:
            ends = list(starts.ends(self.starts, folder, each_s=self.each_s))
        found["ends"] = ends
        problems += [f"start {i + 1} of {self.starts}: {end}" for i, end in enumerate(ends) if end != starts.WELL]
        if left := sorted(_shared() - before):
            problems.append(f"left in /dev/shm: {', '.join(left)}")
        found["problems"] = problems
        if out:
            report.write(Path(str(out)) / "soak.json", found)
        if problems:
            raise SoakFailed("\n".join(["the graph does not hold out:", *(f"  {p}" for p in problems)]))
        if ends:
            print(f"{len(ends)} starts and stops, all with exit code 0, nothing left behind", file=sys.stderr)
        return found

    def score(self, found: Mapping[str, Any]) -> float | None:
        """Nothing to optimise."""
        return None

    def _check(self) -> None:
        problems = [
            f"command.{key}: is {value!r}; expected a number, 0 or more"
            for key, value in vars(self).items()
            if not isinstance(value, int | float) or isinstance(value, bool) or value < 0
        ]
        if not (procfs.PROC / "self" / "statm").exists():
            problems.append("command: soak reads /proc, which this system does not have; run it on Linux")
        if problems:
            raise ConfigError(problems)

    def _run(self, graph: Graph) -> list[Sample]:
        """One long run, sampled now and then from its first frame on."""
        samples: list[Sample] = []
        begun = 0.0
        shown: list[Status] = []

        def tick() -> None:
            nonlocal begun
            for status in shown:
                status.tick()
            if not begun and report.frames(runtime):
                begun = monotonic()
            at_s = monotonic() - begun
            if not begun:
                return
            if not samples or at_s - samples[-1].at_s >= EVERY_S:
                samples.append(_sample(runtime, at_s))

        with stops_on_signals() as stops:
            runtime = Runtime(graph.plan, graph.builder, on_tick=tick)
            stops(runtime)
            timer = Timer(60 * self.minutes, runtime.stop)
            timer.daemon = True
            timer.start()
            with Status(runtime) as status:
                shown.append(status)
                result = runtime.run()
        timer.cancel()
        if result.error is not None:
            raise result.error
        if result.stuck:
            raise SoakFailed(f"the graph does not hold out:\n  {', '.join(result.stuck)} did not return")
        if not samples:
            raise SoakFailed(f"the graph does not hold out:\n  no frame entered in {self.minutes:g} minutes")
        if result.end == "finished":
            raise SoakFailed(
                f"the graph ended by itself after {samples[-1].at_s:.0f} s, and command.minutes={self.minutes:g} "
                "is longer; give its source more, as with source.duration_s=3600"
            )
        return samples


def grown(samples: Sequence[Sample], *, growth_mb: float) -> list[str]:
    """What is more at the end than after the warm-up, in words."""
    warm = [s for s in samples if s.at_s >= WARM_UP * samples[-1].at_s]
    third = max(1, len(warm) // 3)
    early, late = warm[:third], warm[-third:]
    problems = []
    growth = median(s.memory_mb for s in late) - median(s.memory_mb for s in early)
    if growth > growth_mb:
        frames = late[-1].frames - early[0].frames
        each = f", {growth * 1e3 / frames:.1f} kB a frame" if frames else ""
        problems.append(f"memory grew by {growth:.0f} MB (growth_mb allows {growth_mb:g}){each}")
    for what in ("handles", "threads", "processes", "shared"):
        most, least_now = max(getattr(s, what) for s in early), min(getattr(s, what) for s in late)
        if least_now > most:
            problems.append(f"{what}: {most} at first, never less than {least_now} at the end")
    if len(samples) > 1 and samples[-1].frames == samples[len(samples) // 2].frames:
        problems.append(f"no frame entered in the second half of the time, after {samples[-1].frames}")
    return problems


def _sample(runtime: Runtime, at_s: float) -> Sample:
    pids = [os.getpid(), *(p.pid for p in runtime.processes.by_name.values() if p.pid)]
    return Sample(
        round(at_s, 1),
        report.frames(runtime),
        round(sum(map(procfs.resident_mb, pids)), 1),
        sum(map(procfs.handles, pids)),
        sum(map(procfs.threads, pids)),
        len(pids),
        len(_shared()),
    )


def _shared() -> set[str]:
    try:
        return set(os.listdir("/dev/shm"))
    except OSError:
        return set()


def _told(samples: Sequence[Sample]) -> str:
    first = next(s for s in samples if s.at_s >= WARM_UP * samples[-1].at_s)
    last = samples[-1]
    return json.dumps({"after warm-up": asdict(first), "at the end": asdict(last)})
