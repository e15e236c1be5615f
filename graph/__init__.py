"""The dataflow framework: spec -> plan -> runtime. Knows nothing of cameras or models.

Nodes need only `Node`, `Stamp`, `Captured` and `EndOfStream`; `load` is for Python and notebooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graph.node import Captured, Contract, EndOfStream, Node, Stamp

if TYPE_CHECKING:
    from graph.compose import Graph

__all__ = ["Captured", "Contract", "EndOfStream", "Node", "Stamp", "load"]


def load(
    name: str | None = None,
    overrides: Sequence[str] = (),
    *,
    config_dir: str | Path | None = None,
    plugins: Sequence[str] = (),
) -> Graph:
    """Compose and check the graph `name`; see `graph.compose.load`."""
    from graph import compose  # Hydra is imported only where a graph is composed

    return compose.load(name, overrides, config_dir=config_dir, plugins=plugins)
