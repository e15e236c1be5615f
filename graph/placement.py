"""Which workers there are and what each one is, from the config group `placement`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from graph.errors import nearest

Kind = Literal["inline", "thread", "process"]
SETTINGS: Mapping[Kind, tuple[str, ...]] = {
    "inline": (),
    "thread": ("process",),
    "process": ("memory_mb", "start_s", "shared_mb"),
}
HERE = ""
"""Name of the process that was started by hand, and has all others as its children."""


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One worker. All workers of the kind `inline` are one and the same thread."""

    name: str
    kind: Kind
    process: str = HERE
    """Of a thread: the process worker in which it runs."""
    memory_mb: float | None = None
    """A process that grows beyond this is ended and restarted, as its nodes' `on_error` says."""
    start_s: float = 60.0
    """A process that is not ready by then has failed to start."""
    shared_mb: float | None = None
    """The most shared memory that the outputs of a process may need; a graph that needs more is refused."""

    @property
    def thread(self) -> str:
        """Name of the thread that steps the nodes of this worker."""
        return "inline" if self.kind == "inline" else self.name

    @property
    def site(self) -> str:
        """Name of the process that the thread belongs to."""
        return self.name if self.kind == "process" else self.process


def parse_placement(placement: Any) -> tuple[dict[str, WorkerSpec], list[str]]:
    """Workers by name, and every mistake of form."""
    if not isinstance(placement, Mapping):
        return {}, [f"placement: is {placement!r}; expected a mapping from workers to what they are"]
    problems: list[str] = []
    workers = {}
    for name, entry in placement.items():
        key = f"placement.{name}"
        kind = entry.get("kind") if isinstance(entry, Mapping) else None
        if kind not in get_args(Kind):
            problems.append(f"{key}.kind: is {kind!r}{nearest(kind, get_args(Kind))}")
            continue
        wrong = list(_problems(key, cast(Kind, kind), entry))
        problems += wrong
        given = {} if wrong else {k: v for k, v in entry.items() if k != "kind"}
        workers[str(name)] = WorkerSpec(str(name), cast(Kind, kind), **given)
    processes = [n for n, w in workers.items() if w.kind == "process"]
    problems += [
        f"placement.{n}.process: there is no process worker {w.process!r}{nearest(w.process, processes)}"
        for n, w in workers.items()
        if w.process not in (HERE, *processes)
    ]
    return workers, problems


def _problems(key: str, kind: Kind, entry: Mapping[str, Any]) -> Iterator[str]:
    if kind == "process" and not sys.platform.startswith("linux"):
        yield f"{key}.kind: process workers need Linux (memfd, epoll); here is {sys.platform}; use kind=thread"
    for setting, value in entry.items():
        if setting == "kind":
            continue
        if setting not in SETTINGS[kind]:
            known = ", ".join(("kind", *SETTINGS[kind]))
            yield f"{key}.{setting}: a worker of the kind {kind} has no such setting; there is: {known}"
        elif setting == "process":
            if not isinstance(value, str):
                yield f"{key}.{setting}: is {value!r}; expected the name of a process worker"
        elif value is None and setting == "start_s":
            yield f"{key}.{setting}: is null; expected a number of seconds above 0"
        elif value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or value <= 0):
            yield f"{key}.{setting}: is {value!r}; expected a number above 0"
