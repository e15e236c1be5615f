"""Lossless graphs of any shape: they end, their books balance, and wherever nodes run they give the same."""

import random
from pathlib import Path
from typing import Any

import pytest

from graph.planner import make_plan
from graph.runtime import Runtime
from tests.graph.helpers import BUILDER, PLACEMENTS, books_balance, lines, toy

WORKERS = ("main", "a", "b", "c")


def graph(chance: random.Random, out: Path) -> dict[str, Any]:
    """One or two sources, some nodes that change, thin, batch, merge, join or sample, and up to three sinks."""
    nodes: dict[str, Any] = {}
    outputs: list[str] = []

    def edge(source: str, *, may_hold: bool = False) -> dict[str, Any]:
        entry: dict[str, Any] = {"source": source, "every": chance.choice((1, 1, 2, 3))}
        return entry | {"policy": "hold" if may_hold and chance.random() < 0.3 else "block"}

    for k in range(chance.choice((1, 1, 2))):
        kind, n = chance.choice(("Count", "Stereo")), chance.choice((20, 40))
        nodes[f"src{k}"] = toy(kind, n=n)
        outputs += [f"src{k}"] if kind == "Count" else [f"src{k}.left", f"src{k}.right"]
    for k in range(chance.randint(2, 8)):
        kind, name = chance.random(), f"n{k}"
        if kind < 0.6:
            merged = [edge(s) for s in chance.sample(outputs, min(len(outputs), chance.choice((1, 1, 1, 2))))]
            batch = {"batch": {"max": chance.choice((2, 4)), "window_ms": 1}} if chance.random() < 0.2 else {}
            mute, busy_ms = chance.choice((None, None, 3)), chance.choice((0, 0, 0.5, 2))
            nodes[name] = toy("AddTogether", k=k, mute=mute, busy_ms=busy_ms, inputs={"x": merged}, **batch)
        else:
            inputs = {"a": edge(chance.choice(outputs)), "b": edge(chance.choice(outputs), may_hold=True)}
            nodes[name] = toy("Mix", inputs=inputs)
        outputs.append(name)
    for k, source in enumerate(chance.sample(outputs, min(len(outputs), 3))):
        nodes[f"sink{k}"] = toy("WriteNumber", path=str(out / f"sink{k}"), inputs={"word": source})
    return {name: entry | {"worker": chance.choice(WORKERS)} for name, entry in nodes.items()}


@pytest.mark.parametrize("seed", range(16))
def test_any_lossless_graph_gives_the_same_wherever_its_nodes_run(seed: int, tmp_path: Path) -> None:
    kinds = random.Random(seed)
    placed = {w: {"kind": kinds.choice(("process", "process", "thread", "inline"))} for w in WORKERS}
    written = {}
    for where, workers in (("inline", PLACEMENTS["inline"]), ("placed", placed)):
        folder = tmp_path / where
        folder.mkdir()
        runtime = Runtime(make_plan(graph(random.Random(seed), folder), workers, BUILDER), BUILDER)
        result = runtime.run()
        assert result.end == "finished", result.error
        assert books_balance(runtime)
        # Captures of two sources have no order between them, so each file is compared as a set of lines.
        written[where] = {path.name: sorted(lines(path)) for path in sorted(folder.iterdir())}
    assert written["placed"] == written["inline"]
    assert any(len(found) > 2 for found in written["inline"].values())
