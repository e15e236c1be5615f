"""Which workers there are and what each one is, from the config group `placement`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal, cast, get_args

from graph.build import Builder
from graph.errors import nearest
from graph.transport import memory
from graph.transport.ring import Transport

Kind = Literal["inline", "thread", "process", "cuda", "ray"]
SETTINGS: Mapping[Kind, tuple[str, ...]] = {
    "inline": (),
    "thread": ("process", "context"),
    "process": ("memory_mb", "start_s", "shared_mb", "transport"),
    "cuda": ("process", "device", "priority"),
    "ray": ("memory_mb", "start_s", "resources", "address"),
}
CONTEXTS: Mapping[Kind, str] = {"cuda": "engines.device.streams.CudaContext"}
"""What a worker of a kind works in: a target whose objects are entered and left in the worker's thread."""
OF_CONTEXT = ("device", "priority")
"""Settings of a worker that are parameters of what it works in, and checked by that."""
FAR: tuple[Kind, ...] = ("process", "ray")
"""Kinds that have a process of their own, with threads in it."""
HERE = ""
"""Name of the process that was started by hand, and has all others as its children."""


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One worker. All workers of the kind `inline` are one and the same thread."""

    name: str
    kind: Kind
    process: str = HERE
    """Of a thread: the process worker, or the actor, in which it runs."""
    memory_mb: float | None = None
    """A process that grows beyond this is ended and restarted, as its nodes' `on_error` says."""
    start_s: float = 60.0
    """A process that is not ready by then has failed to start."""
    shared_mb: float | None = None
    """The most shared memory that the outputs of a process may need; a graph that needs more is refused."""
    transport: Transport = "slots"
    """Where the arrays lie that the outputs of a process send to others."""
    context: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Of a thread: the configuration of what it works in; empty where that is nothing."""

    resources: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Of an actor: what its machine must have free for it, such as {"CPU": 2, "GPU": 1}, or names of your own."""
    address: str | None = None
    """Of the cluster, for all actors the same: "auto", "host:port", or null for one that the run starts itself."""

    @property
    def thread(self) -> str:
        """Name of the thread that steps the nodes of this worker."""
        return "inline" if self.kind == "inline" else self.name

    @property
    def site(self) -> str:
        """Name of the process that the thread belongs to."""
        return self.name if self.kind in FAR else self.process


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
        given = {} if wrong else {k: v for k, v in entry.items() if k not in ("kind", *OF_CONTEXT)}
        if kind in CONTEXTS:
            of_context = {k: entry[k] for k in OF_CONTEXT if k in entry}
            given["context"] = {"_target_": CONTEXTS[cast(Kind, kind)], **of_context}
        workers[str(name)] = WorkerSpec(str(name), cast(Kind, kind), **given)
    processes = [n for n, w in workers.items() if w.kind in FAR]
    problems += [
        f"placement.{n}.process: there is no process worker {w.process!r}{nearest(w.process, processes)}"
        for n, w in workers.items()
        if w.process not in (HERE, *processes)
    ]
    addresses = {w.address for w in workers.values() if w.kind == "ray"}
    if len(addresses) > 1:
        problems.append(f"placement: its actors name several clusters, {addresses}; a run has one address for all")
    return workers, problems


def context_problems(workers: Mapping[str, WorkerSpec], builder: Builder) -> Iterator[str]:
    """Every mistake in what workers work in, by key; whether this machine has it shows when they start."""
    for name, worker in workers.items():
        if worker.context:
            key = f"placement.{name}"
            yield from builder.problems(key if worker.kind in CONTEXTS else f"{key}.context", worker.context)


def _resource_problems(key: str, value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{key}: is {value!r}; expected a mapping from resources to how much, such as {{CPU: 2, GPU: 1}}"
        return
    for name, amount in value.items():
        if not isinstance(amount, int | float) or isinstance(amount, bool) or amount < 0:
            yield f"{key}.{name}: is {amount!r}; expected a number, 0 or more"


def _problems(key: str, kind: Kind, entry: Mapping[str, Any]) -> Iterator[str]:
    if kind in FAR and not sys.platform.startswith("linux"):
        yield f"{key}.kind: {kind} workers need Linux (memfd, epoll); here is {sys.platform}; use kind=thread"
    if kind == "ray" and find_spec("ray") is None:
        yield f"{key}.kind: actors need the package ray: install the extra `ray` (uv sync --extra ray), or use process"
    for setting, value in entry.items():
        if setting == "kind":
            continue
        if setting not in SETTINGS[kind]:
            known = ", ".join(("kind", *SETTINGS[kind]))
            yield f"{key}.{setting}: a worker of the kind {kind} has no such setting; there is: {known}"
        elif setting == "process":
            if not isinstance(value, str):
                yield f"{key}.{setting}: is {value!r}; expected the name of a process worker"
        elif setting == "context":
            if not isinstance(value, Mapping) or "_target_" not in value:
                yield f"{key}.{setting}: is {value!r}; expected a mapping with a _target_"
        elif setting == "transport":
            if value not in get_args(Transport):
                yield f"{key}.{setting}: is {value!r}{nearest(value, get_args(Transport))}"
            elif (lack := memory.lack(cast(Transport, value))) is not None:
                yield f"{key}.{setting}: {lack}; or take transport=slots"
        elif setting in OF_CONTEXT:
            continue
        elif setting == "resources":
            yield from _resource_problems(f"{key}.resources", value)
        elif setting == "address":
            if value is not None and (not isinstance(value, str) or value.startswith("ray://")):
                yield (
                    f"{key}.address: is {value!r}; expected auto, host:port of a cluster that this machine belongs to, "
                    "or null for one of the run's own"
                )
        elif value is None and setting == "start_s":
            yield f"{key}.{setting}: is null; expected a number of seconds above 0"
        elif value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or value <= 0):
            yield f"{key}.{setting}: is {value!r}; expected a number above 0"
