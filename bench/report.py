"""How all benchmarks print: the machine, the versions, n, median, p95 and p99, and the limit or the peer beside it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

UNITS = {"us": 1e3, "ms": 1e6, "s": 1e9}


def header(title: str, *packages: str) -> None:
    """Print what is measured, where, and with which versions."""
    print(f"\n{title}\n{'=' * len(title)}")
    model = next((line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")), "unknown CPU")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{platform.system()} {platform.machine()}, {model}, {os.cpu_count()} cores, load {load:.1f}")
    names = ["numpy", *packages]
    print(f"Python {platform.python_version()}, " + ", ".join(f"{n} {_version(n)}" for n in names))
    print(f"{'':44s} {'n':>7s} {'median':>10s} {'p95':>10s} {'p99':>10s}")


def row(name: str, samples_ns: Sequence[float], *, unit: str = "ms") -> float:
    """Print one line of figures and return the median in ns."""
    values = np.asarray(samples_ns, np.float64)
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    u = UNITS[unit]
    print(f"{name:44s} {len(values):7d} {p50 / u:8.2f}{unit} {p95 / u:8.2f}{unit} {p99 / u:8.2f}{unit}", flush=True)
    return float(p50)


def limit(name: str, value_ns: float, *, at_most: float, unit: str = "ms") -> None:
    """Print a figure beside its limit."""
    u = UNITS[unit]
    verdict = "reached" if value_ns <= at_most else "MISSED"
    print(f"{name}: {value_ns / u:.2f} {unit}, limit {at_most / u:g} {unit}: {verdict}")


def ratio(name: str, value: float, *, at_most: float | None = None, at_least: float | None = None) -> None:
    """Print a ratio beside its limit."""
    reached = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
    bound = f"at most {at_most:g}" if at_most is not None else f"at least {at_least:g}"
    print(f"{name}: {value:.2f}, limit {bound}: {'reached' if reached else 'MISSED'}")


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
