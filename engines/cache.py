"""`command=cache`: what was made from models and kept: lists it, verifies it, prunes it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from engines import artifacts
from engines.artifacts import Entry
from engines.base import EngineError

DAY_S = 24 * 3600
MB = 1_000_000


class Cache:
    """Lists all artifacts, those that were used last first.

    Args:
        verify: Read every file, and compare it with what was written.
        prune: Remove what is damaged, what was not asked for in `older_than_days`, and then the least used until no
            more than `max_mb` are kept; null: no limit.
    """

    needs_graph = False

    def __init__(
        self,
        *,
        verify: bool = False,
        prune: bool = False,
        older_than_days: float | None = 30,
        max_mb: float | None = None,
    ) -> None:
        for key, value in (("older_than_days", older_than_days), ("max_mb", max_mb)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
                raise EngineError(f"command.{key}: is {value!r}; expected a number, 0 or more, or null for no limit")
        self.verify, self.prune = verify, prune
        self.older_than_days, self.max_mb = older_than_days, max_mb

    def execute(self, graph: Any) -> Mapping[str, Any]:
        """Do it, and show it."""
        found = artifacts.entries()
        problems = {entry.path: entry.problem() for entry in found} if self.verify or self.prune else {}
        gone = self._unwanted(found, problems) if self.prune else []
        for entry in gone:
            artifacts.remove(entry)
        if self.prune:
            artifacts.sweep()
        kept = [entry for entry in found if entry not in gone]
        _show(kept, gone, problems)
        damaged = [entry for entry in kept if problems.get(entry.path)]
        return {
            "folder": str(artifacts.folder()),
            "kept": len(kept),
            "bytes": sum(entry.bytes for entry in kept),
            "removed": len(gone),
            "damaged": len(damaged),
        }

    def score(self, figures: Mapping[str, Any]) -> float:
        """What a sweep optimises: the bytes that are kept."""
        return float(figures["bytes"])

    def _unwanted(self, found: Sequence[Entry], problems: Mapping[Any, str | None]) -> list[Entry]:
        gone, kept_mb = [], 0.0
        for entry in found:
            old = self.older_than_days is not None and time.time() - entry.used_s > self.older_than_days * DAY_S
            full = self.max_mb is not None and kept_mb + entry.bytes / MB > self.max_mb
            if problems[entry.path] or old or full:
                gone.append(entry)
            else:
                kept_mb += entry.bytes / MB
        return gone


def _show(kept: Sequence[Entry], gone: Sequence[Entry], problems: Mapping[Any, str | None]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("artifact", "made from", "MB", "made", "last used", *(["state"] if problems else []), box=None)
    for entry in [*kept, *gone]:
        state = "removed" if entry in gone else "DAMAGED" if problems.get(entry.path) else "sound"
        used = time.strftime("%Y-%m-%d", time.localtime(entry.used_s))
        source = str(entry.key.get("source", ""))[:12]
        table.add_row(entry.title, source, f"{entry.bytes / MB:.1f}", entry.made[:10], used,
                      *([state] if problems else []))  # fmt: skip
    console = Console(highlight=False)
    if kept or gone:
        console.print(table)
    for path, problem in problems.items():
        if problem:
            console.print(f"{path}: {problem}", soft_wrap=True)
    total = sum(entry.bytes for entry in kept) / MB
    console.print(f"{len(kept)} kept, {total:.1f} MB, in {artifacts.folder()}", soft_wrap=True)
    if gone:
        console.print(f"{len(gone)} removed, {sum(entry.bytes for entry in gone) / MB:.1f} MB")
