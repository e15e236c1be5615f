"""What downloads and artifacts share: folders of the cache, locks between processes, sums. Reads no file format."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """The folder of what can be had again: below $XDG_CACHE_HOME where that is set, else below ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cauce" / kind


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Alone on `target` among all processes and threads; the kernel frees the lock of a process that dies."""
    with open(target.with_name(f".{target.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
