"""`command=doctor`: what is installed, which backends and devices really work, and what to install for the rest."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from graph.build import Builder

if TYPE_CHECKING:
    from graph.compose import Graph

MARKS = {"works": "[green]works[/]", "missing": "[yellow]missing[/]", "broken": "[red]broken[/]"}


class Doctor:
    """Runs the `probes`, functions that return findings with area, name, status, detail and remedy, and shows them."""

    needs_graph = False

    def __init__(self, probes: Sequence[str] = ()) -> None:
        self.probes = probes

    def execute(self, graph: Graph | None) -> Mapping[str, Any]:
        """Probe and show."""
        builder = graph.builder if graph else Builder()
        findings = [f for target in self.probes for f in builder.resolve(target)()]
        t = Table(
            "area",
            "what",
            "status",
            "found",
            "to do",
            title=f"Python {platform.python_version()}, {platform.platform()}",
        )
        for f in findings:
            t.add_row(f.area, f.name, MARKS[f.status], escape(f.detail), escape(f.remedy))
        console = Console(highlight=False)
        (console if console.is_terminal else Console(highlight=False, width=120)).print(t)
        return {f"{f.area}.{f.name}": f.status for f in findings}

    def score(self, summary: Mapping[str, Any]) -> float | None:
        """How many things are broken."""
        return float(sum(status == "broken" for status in summary.values()))
