"""What Linux tells of a process. Elsewhere, and of a process that has ended, it is nothing."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def resident_mb(pid: int | None) -> float:
    """Memory of its own that a process uses, without what it shares."""
    try:
        _, resident, shared, *_ = map(int, (PROC / str(pid) / "statm").read_text().split())
    except (OSError, ValueError):
        return 0.0
    return (resident - shared) * os.sysconf("SC_PAGESIZE") / 1e6


def handles(pid: int) -> int:
    """How many descriptors it has open."""
    return _entries(pid, "fd")


def threads(pid: int) -> int:
    """How many threads it has."""
    return _entries(pid, "task")


def _entries(pid: int, folder: str) -> int:
    try:
        return len(os.listdir(PROC / str(pid) / folder))
    except OSError:
        return 0
