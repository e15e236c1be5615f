"""Keeps what is made from models: exported, converted, quantised and built files.

An artifact lies under a key of everything that it depends on: source, versions, device, precision, shapes. Beside it
lies a sidecar with that key and the sha256 of its bytes. A file that does not match its sidecar, or a sidecar that does
not match the key, is made again and never loaded. Writing is atomic; of several processes one makes, the others wait.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.base import EngineError
from engines.files import cache_folder, locked, sha256_of

logger = logging.getLogger(__name__)

Key = Mapping[str, Any]
"""Anything that JSON can hold. Two keys are the same artifact if they are the same JSON."""

STALE_S = 24 * 3600
"""A half-written file this old belongs to nobody: its process has died."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One artifact on the disk."""

    path: Path
    title: str
    key: Key
    bytes: int
    made: str
    used_s: float
    """When it was last asked for, in seconds since 1970."""

    def problem(self) -> str | None:
        """What is wrong with it; None where its bytes are those that were written."""
        sidecar = _read(self.path)
        if sidecar is None:
            return "its sidecar is not readable"
        return _damage(self.path, sidecar)


def folder() -> Path:
    """Where artifacts are kept."""
    return cache_folder("artifacts")


def path_of(key: Key, suffix: str, *, title: str, cache: Path | None = None) -> Path:
    """Where the artifact of `key` lies, whether it is there or not."""
    name = re.sub(r"[^\w.-]+", "_", title).strip("._") or "artifact"
    return (cache or folder()) / f"{name}-{_digest(key)[:12]}{suffix}"


def find(key: Key, suffix: str, *, title: str, cache: Path | None = None) -> Path | None:
    """The sound artifact of `key`; None where there is none, or what is there is damaged."""
    path = path_of(key, suffix, title=title, cache=cache)
    problem = _unsound(path, key)
    if problem is None:
        os.utime(_sidecar(path))
        return path
    if path.exists():
        logger.warning("%s is not used: %s", path, problem)
    return None


def obtain(key: Key, suffix: str, make: Callable[[Path], None], *, title: str, cache: Path | None = None) -> Path:
    """The artifact of `key`; `make(path)` writes it where there is none, or what is there is damaged or foreign.

    `title` names it for people. Raises what `make` raises, and EngineError where the disk cannot hold it; then nothing
    is left behind. Safe to call from several processes at once.
    """
    path = path_of(key, suffix, title=title, cache=cache)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path):
            if find(key, suffix, title=title, cache=cache) is None:
                _make(path, key, make, title)
    except OSError as e:
        raise EngineError(f"{title}: cannot keep {path}: {_disk(e)}") from e
    return path


def entries(cache: Path | None = None) -> list[Entry]:
    """All artifacts, those that were used last first."""
    found = [_entry(path) for path in _files(cache)]
    return sorted(found, key=lambda entry: -entry.used_s)


def remove(entry: Entry) -> None:
    """Remove an artifact and its sidecar; the sidecar first, so that no half of it is ever taken for whole."""
    with locked(entry.path):
        _sidecar(entry.path).unlink(missing_ok=True)
        entry.path.unlink(missing_ok=True)
        # What a runtime keeps beside it: kernels that it compiled for this GPU.
        entry.path.with_suffix(".cache").unlink(missing_ok=True)


def sweep(cache: Path | None = None) -> list[Path]:
    """Remove what processes that died had begun to write; the files that went."""
    gone = []
    for path in (cache or folder()).glob(".*.part*"):
        if time.time() - path.stat().st_mtime > STALE_S:
            path.unlink(missing_ok=True)
            gone.append(path)
    return gone


def _make(path: Path, key: Key, make: Callable[[Path], None], title: str) -> None:
    # The lock is ours: what another process had begun to write here, it died over.
    _clear(path)
    # The suffix stays the last one: some runtimes go by it.
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    began = time.monotonic()
    try:
        make(part)
        if not part.is_file() or not part.stat().st_size:
            raise EngineError(f"{title}: nothing was written; this is a mistake of {make.__qualname__}")
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        sidecar = {
            "title": title,
            "key": key,
            "sha256": sha256_of(part),
            "bytes": part.stat().st_size,
            "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "seconds": round(time.monotonic() - began, 2),
        }
        _sidecar(path).unlink(missing_ok=True)
        os.replace(part, path)
        _write(_sidecar(path), json.dumps(sidecar, indent=1, sort_keys=True))
    finally:
        _clear(path)


def _clear(path: Path) -> None:
    """Remove what is half written for `path`."""
    for left in path.parent.glob(f".{path.stem}.*.part*"):
        left.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    part.write_text(text + "\n", encoding="utf-8")
    os.replace(part, path)


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(_sidecar(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _unsound(path: Path, key: Key) -> str | None:
    if not path.is_file():
        return "it is not there"
    sidecar = _read(path)
    if sidecar is None:
        return "its sidecar is missing or not readable"
    if _digest(sidecar.get("key")) != _digest(key):
        return "its sidecar belongs to another artifact"
    return _damage(path, sidecar)


def _damage(path: Path, sidecar: Mapping[str, Any]) -> str | None:
    size = path.stat().st_size if path.is_file() else 0
    if size != sidecar.get("bytes"):
        return f"it has {size} bytes, {sidecar.get('bytes')} were written"
    return None if sha256_of(path) == sidecar.get("sha256") else "its bytes are not those that were written"


def _files(cache: Path | None) -> Iterator[Path]:
    for sidecar in (cache or folder()).glob("[!.]*.json"):
        if (path := sidecar.with_suffix("")).is_file():
            yield path


def _entry(path: Path) -> Entry:
    content = _read(path) or {}
    key = content.get("key")
    return Entry(
        path=path,
        title=str(content.get("title", path.stem)),
        key=key if isinstance(key, dict) else {},
        bytes=path.stat().st_size,
        made=str(content.get("made", "unknown")),
        used_s=_sidecar(path).stat().st_mtime,
    )


def _digest(key: Any) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()


def _disk(e: OSError) -> str:
    if e.errno == errno.ENOSPC:
        return "the disk is full; free some space, or prune what is kept: python main.py cache command.prune=true"
    return f"{e.strerror or e}; set XDG_CACHE_HOME to a folder that can be written"
