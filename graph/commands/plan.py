"""`command=plan`: check the graph and show it, without running it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graph import describe
from graph.errors import ConfigError, nearest

if TYPE_CHECKING:
    from graph.compose import Graph

FORMS = ("table", "mermaid", "svg")


class ShowPlan:
    """Prints the plan.

    Args:
        form: "table", "mermaid" or "svg".
        path: Write it to this file instead.
    """

    def __init__(self, form: str = "table", *, path: str | None = None) -> None:
        self.form, self.path = form, path

    def execute(self, graph: Graph) -> Mapping[str, Any]:
        """Show the plan."""
        if self.form not in FORMS:
            raise ConfigError([f"command.form: is {self.form!r}{nearest(self.form, FORMS)}"])
        text = {"table": describe.table, "mermaid": describe.mermaid, "svg": describe.svg}[self.form](graph.plan)
        if self.path is None:
            print(text)
        else:
            Path(self.path).write_text(text + "\n", encoding="utf-8")
            print(f"written: {self.path}")
        return {"nodes": len(graph.plan.nodes), "edges": len(graph.plan.edges)}

    def score(self, summary: Mapping[str, Any]) -> float | None:
        """A plan has no figure that a sweep could optimise."""
        return None
