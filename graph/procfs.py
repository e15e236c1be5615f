"""What Linux tells of a process. Elsewhere, and of a process that has ended, it is nothing."""

from __future__ import annotations

import os
from contextlib import suppress
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


def has_ended(pid: int) -> bool:
    """Whether it is no more, but perhaps for its exit code."""
    return _stat(pid)[0] in "ZX"


def children(pid: int) -> dict[int, list[str]]:
    """The command lines of those that it has started and that have not ended, by their numbers."""
    found = {}
    for folder in PROC.glob("[0-9]*"):
        number = int(folder.name)
        state, parent = _stat(number)
        if parent == pid and state not in "ZX":
            with suppress(OSError):
                found[number] = (folder / "cmdline").read_text().rstrip("\0").split("\0")
    return found


def _stat(pid: int) -> tuple[str, int]:
    """State and parent of a process."""
    try:
        state, parent, *_ = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "X", 0
    return state, int(parent)


def _entries(pid: int, folder: str) -> int:
    try:
        return len(os.listdir(PROC / str(pid) / folder))
    except OSError:
        return 0
