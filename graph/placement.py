"""Which workers there are and what each one is, from the config group `placement`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from graph.errors import nearest

Kind = Literal["inline", "thread"]


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """One worker. All workers of the kind `inline` are one and the same thread."""

    name: str
    kind: Kind

    @property
    def thread(self) -> str:
        """Name of the thread that steps the nodes of this worker."""
        return "inline" if self.kind == "inline" else self.name


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
        problems += [f"{key}.{k}: a worker has no such setting; there is: kind" for k in entry if k != "kind"]
        workers[str(name)] = WorkerSpec(str(name), cast(Kind, kind))
    return workers, problems
