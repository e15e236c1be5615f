"""Brings the file of a model onto this disk: checks a path, or downloads an official address once and verifies it.

Reads no file format, and unpickles nothing: what comes back is a path whose bytes have the sha256 that was asked for.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from engines.base import EngineError, Weights, located
from engines.files import cache_folder, locked, sha256_of

logger = logging.getLogger(__name__)

PIECE_BYTES = 1 << 18

Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], None]]]
"""Called with a file's name and its size in bytes, if known: a context whose value is told the bytes of each piece."""


@contextmanager
def show_progress(name: str, size: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; one line of log elsewhere."""
    if not sys.stderr.isatty():
        logger.info("downloading %s%s", name, f" ({size / 1e6:.1f} MB)" if size else "")
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=size)
        yield lambda n: bar.advance(task, n)


def fetch(
    weights: Weights, *, cache: Path | None = None, progress: Progress = show_progress, timeout_s: float = 30.0
) -> Path:
    """The path of a file that is there and has the sha256 that `weights` names; downloads it once where it has a url.

    `timeout_s` bounds each wait for the server, not the whole download. Raises `EngineError`, and then leaves nothing
    half written. Safe to call from several processes at once: one downloads, the others wait for it.
    """
    if weights.url is None:
        return _local(weights)
    if weights.sha256 is None:
        raise EngineError(f"{weights.url} is given without sha256; add that of the official file")
    target = (cache or cache_folder("weights")) / _cache_name(weights.url, weights.sha256)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target):
            if not _is_complete(target, weights.sha256):
                _download(weights.url, target, sha256=weights.sha256, progress=progress, timeout_s=timeout_s)
    except (OSError, HTTPException, _Incomplete) as e:
        raise _download_error(weights, target, e) from e
    return target


class _Incomplete(Exception):
    """What came is not what was asked for."""


def _local(weights: Weights) -> Path:
    problems = list(Weights.problems(weights.path))
    if weights.path is None or problems:
        raise EngineError(f"weights: {'; '.join(problems)}")
    path = located(weights.path)
    if weights.sha256 and (got := sha256_of(path)) != weights.sha256.lower():
        raise EngineError(f"weights: {path} has sha256 {got}, expected {weights.sha256.lower()}; get the right file")
    return path


def _cache_name(url: str, sha256: str) -> str:
    """A readable name that differs for different contents, and cannot lead out of the folder."""
    name = PurePosixPath(re.sub(r"[^\w.-]", "_", PurePosixPath(urlsplit(url).path).name).lstrip(".") or "model")
    return f"{name.stem}-{sha256[:8].lower()}{name.suffix}"


def _is_complete(target: Path, sha256: str) -> bool:
    if not target.is_file():
        return False
    if sha256_of(target) == sha256.lower():
        return True
    logger.warning("%s does not have the sha256 %s; it is downloaded again", target, sha256.lower())
    return False


def _download(url: str, target: Path, *, sha256: str, progress: Progress, timeout_s: float) -> None:
    part = target.with_name(f".{target.name}.part")
    try:
        with urlopen(url, timeout=timeout_s) as response, open(part, "wb") as file:
            size = int(length) if (length := response.headers.get("Content-Length", "")).isdigit() else None
            with progress(target.name, size) as advance:
                got = _copy(response, file, advance)
            if size is not None and file.tell() != size:
                raise _Incomplete(f"the download ended after {file.tell()} of {size} bytes; try again")
            if got != sha256.lower():
                raise _Incomplete(f"what came has sha256 {got}, expected {sha256.lower()}; it was removed")
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _copy(source: IO[bytes], file: IO[bytes], advance: Callable[[int], None]) -> str:
    """Copy all of `source`; the sha256 of what was written."""
    digest = hashlib.sha256()
    while piece := source.read(PIECE_BYTES):
        file.write(piece)
        digest.update(piece)
        advance(len(piece))
    return digest.hexdigest()


def _download_error(weights: Weights, target: Path, cause: Exception) -> EngineError:
    if isinstance(cause, HTTPError):
        cause.close()
        what = f"the server answered {cause.code} {cause.reason}"
    else:
        what = str(getattr(cause, "reason", None) or cause or type(cause).__name__)
    return EngineError(
        f"cannot download {weights.url}: {what}. Put the file there by hand as {target} "
        f"(sha256 {str(weights.sha256).lower()}), or set weights to the path of a file that you have"
    )
