"""What every benchmark prints: machine and versions, then one line for each thing that was timed. Measures no node."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import numpy as np

Unit = Literal["ms", "us"]
NS: Mapping[Unit, float] = {"ms": 1e6, "us": 1e3}
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime")


def header(title: str, *, packages: Sequence[str] = PACKAGES) -> None:
    """Print the title, where and with what it runs, and the heads of the columns of `row`."""
    versions = ", ".join(f"{name} {_version(name)}" for name in ("python", *packages))
    print(f"\n{title}\n{machine()}\n{versions}\n\n{'':<44}{'n':>7}{'median':>11}{'p95':>11}{'p99':>11}")


def row(name: str, samples_ns: Sequence[float], *, unit: Unit = "ms") -> float:
    """Print count, median, p95 and p99 of samples in nanoseconds, shown in `unit`; the median in nanoseconds."""
    if not samples_ns:
        raise ValueError(f"{name}: there are no samples; time something first")
    figures = np.percentile(samples_ns, [50, 95, 99])
    print(f"{name:<44}{len(samples_ns):>7}{''.join(f'{f / NS[unit]:>11.3f}' for f in figures)} {unit}")
    return float(figures[0])


def limit(name: str, value_ns: float, *, at_most: float, unit: Unit = "ms") -> bool:
    """Print a time beside the most that it may be, both in nanoseconds; whether it is within."""
    print(
        f"{name:<44}{value_ns / NS[unit]:>18.3f} {unit}, at most {at_most / NS[unit]:g}: {_verdict(value_ns, at_most)}"
    )
    return value_ns <= at_most


def ratio(name: str, value: float, *, at_most: float = float("inf"), at_least: float = 0.0) -> bool:
    """Print a ratio beside what it may be; whether it is within."""
    bound = f"at least {at_least:g}" if at_least else f"at most {at_most:g}"
    within = at_least <= value <= at_most
    print(f"{name:<44}{value:>18.3f}, {bound}: {'within' if within else 'EXCEEDED' if value > at_most else 'MISSED'}")
    return within


def interleaved(
    tasks: Mapping[str, Callable[[], object]], *, repeats: int, warm_up: int = 5, rest_s: float = 0.0
) -> dict[str, list[int]]:
    """Nanoseconds of each call, by name. The tasks take turns, so that whatever slows the machine slows all of them.

    `rest_s` is slept before each call, so that threads of the one before that still wait busily take no part.
    """
    samples: dict[str, list[int]] = {name: [] for name in tasks}
    for i in range(warm_up + repeats):
        for name, task in tasks.items():
            if rest_s:
                time.sleep(rest_s)
            begin = time.perf_counter_ns()
            task()
            taken = time.perf_counter_ns() - begin
            if i >= warm_up:
                samples[name].append(taken)
    return samples


def machine() -> str:
    """Processor, usable cores, memory, load and date."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load, date = os.getloadavg()[0], time.strftime("%Y-%m-%d")
    return f"{_processor()}, {cores} cores, {memory_gb:.0f} GB, {platform.system()}, load {load:.1f}, {date}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _verdict(value: float, at_most: float) -> str:
    return "within" if value <= at_most else "EXCEEDED"


def _version(package: str) -> str:
    if package == "python":
        return platform.python_version()
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
