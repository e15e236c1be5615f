"""Graphs of any shape: they end, their books balance, and wherever nodes run they give the same.

Live ones give what the same graph gives without loss, or less of it, in order.
"""

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


def live_graph(chance: random.Random, out: Path, *, realtime: bool) -> dict[str, Any]:
    """A source, nodes that add, fail, batch or join, and up to three sinks. What is lost depends on the clock alone."""

    def edge(source: str) -> dict[str, Any]:
        policy, capacity = chance.choice(("latest", "latest", "block")), chance.choice((None, None, 1, 3))
        return {"source": source, "policy": policy, "capacity": capacity}

    in_flight = chance.choice((None, None, 2, 4))
    limit = {"in_flight": in_flight} if realtime else {}
    nodes: dict[str, Any] = {"src": toy("Count", n=60, realtime=realtime, period_ms=3, **limit)}
    outputs = ["src"]
    for k in range(chance.randint(2, 8)):
        kind, name = chance.random(), f"n{k}"
        if kind < 0.5:
            batch = {"batch": {"max": chance.choice((2, 4)), "window_ms": 1}} if chance.random() < 0.2 else {}
            busy_ms = chance.choice((0, 0, 1, 5))
            nodes[name] = toy("AddTogether", k=k, busy_ms=busy_ms, inputs={"x": edge(chance.choice(outputs))}, **batch)
        elif kind < 0.65:
            at, on_error = chance.sample(range(60), 4), chance.choice(("skip", "restart"))
            nodes[name] = toy(
                "Fail", at=at, on_error=on_error, backoff_s=0.002, inputs={"x": edge(chance.choice(outputs))}
            )
        else:
            nodes[name] = toy("MixBoth", inputs={p: edge(chance.choice(outputs)) for p in "ab"})
        outputs.append(name)
    for k, source in enumerate(chance.sample(outputs, min(len(outputs), 3))):
        nodes[f"sink{k}"] = toy("WriteNumber", path=str(out / f"sink{k}"), inputs={"word": edge(source)})
    nodes = {name: entry | {"worker": chance.choice(WORKERS)} for name, entry in nodes.items()}
    return nodes if realtime else {name: _lossless(entry) for name, entry in nodes.items()}


def _lossless(entry: dict[str, Any]) -> dict[str, Any]:
    """The same node where nothing is dropped."""
    return entry | {
        "inputs": {p: {"source": e["source"], "policy": "block"} for p, e in entry.get("inputs", {}).items()}
    }


@pytest.mark.parametrize("seed", range(12))
def test_any_live_graph_gives_part_of_what_it_gives_without_loss(seed: int, tmp_path: Path) -> None:
    kinds = random.Random(seed)
    placed = {w: {"kind": kinds.choice(("process", "process", "thread", "inline"))} for w in WORKERS}
    written: dict[str, dict[str, list[str]]] = {}
    for where, workers in (("lossless", PLACEMENTS["inline"]), ("inline", PLACEMENTS["inline"]), ("placed", placed)):
        folder = tmp_path / where
        folder.mkdir()
        nodes = live_graph(random.Random(seed), folder, realtime=where != "lossless")
        runtime = Runtime(make_plan(nodes, workers, BUILDER), BUILDER)
        result = runtime.run()
        assert result.end == "finished", result.error
        assert books_balance(runtime)
        written[where] = {path.name: [s for s in lines(path) if "#" in s] for path in sorted(folder.iterdir())}
    for where in ("inline", "placed"):
        for sink, found in written[where].items():
            assert set(found) <= set(written["lossless"][sink])
            seqs = [int(line.split()[0].partition("#")[2]) for line in found]
            assert seqs == sorted(set(seqs))
        assert any(written[where].values())
