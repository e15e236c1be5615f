"""Live graphs of any shape whose processes are killed: when all are up again, each branch that lived lives.

`CAUCE_CHAOS_GRAPHS=200` tries that many; which they are is the same on every machine, when they are killed is not.
"""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from graph import supervise
from graph.planner import make_plan
from graph.process import Process
from graph.runtime import Runtime
from tests.faults.test_processes import AGAIN, accounted_for
from tests.graph.helpers import BUILDER, beside, toy, until
from tests.transports import TRANSPORTS, shared

GRAPHS = int(os.environ.get("CAUCE_CHAOS_GRAPHS", "5"))
FEW = 3
"""Messages after which a sink counts as alive."""
SETTLED_S = 1
"""After that, inputs that come to lag behind others by more than `align_ms` do: nothing is matched from then on."""


class Draft:
    """A graph that is being drawn."""

    def __init__(self, chance: random.Random, out: Path) -> None:
        self.chance, self.has_pictures, self.is_aligned = chance, chance.random() < 0.5, chance.random() < 0.5
        self.nodes: dict[str, Any] = {}
        self.may_starve: set[str] = set()
        """Those behind a join for which an edge keeps so few that they may be gone when all the others have come."""
        self._outputs: list[str] = []
        for k in range(1 + self.is_aligned):
            self._source(f"src{k}")
        for k in range(chance.randint(3, 9)):
            self._stage(f"n{k}", joins=chance.random() < 0.5)
            self._outputs.append(f"n{k}")
        ends = {self._outputs[-1], *chance.sample(self._outputs, min(len(self._outputs), 3))}
        sink = "Album" if self.has_pictures else "WriteNumber"
        for k, source in enumerate(sorted(ends)):
            self._add(f"sink{k}", toy(sink, path=str(out / f"sink{k}"), inputs={"word": [self._edge(source)]}))
        for entry in self.nodes.values():
            entry |= AGAIN | {"worker": chance.choice(("main", "a", "b", "c", "d"))}

    def _source(self, name: str) -> None:
        chance = self.chance
        in_flight, period_ms = chance.choice((None, None, 1, 2, 5)), chance.choice((3, 7))
        self.nodes[name] = toy("Snap" if self.has_pictures else "Count", n=10**6, realtime=True, period_ms=period_ms)
        self.nodes[name] |= {"in_flight": in_flight} if in_flight else {}
        self._outputs.append(name)

    def _stage(self, name: str, *, joins: bool) -> None:
        """One that works on what one port brings, or a join."""
        chance = self.chance
        busy_ms = chance.choice((0, 0, 0, 2, 6))
        if joins:
            kind = "Pick" if self.has_pictures else chance.choice(("Mix", "MixBoth", "MixBoth"))
            entry = toy(kind, inputs={"a": self._port(), "b": self._port(may_hold=True)})
            entry |= {"align_ms": chance.choice((10, 30))} if self.is_aligned else {}
        elif self.has_pictures:
            entry = toy("Pass", busy_ms=busy_ms, inputs={"x": self._port()})
        else:
            kind = chance.choice(("AddTogether", "AddTogether", "Falter"))
            entry = toy(kind, k=0, busy_ms=busy_ms, inputs={"x": self._port()})
            entry |= {"batch": {"max": chance.choice((2, 4)), "window_ms": 1}} if chance.random() < 0.3 else {}
        self._add(name, entry)

    def _add(self, name: str, entry: dict[str, Any]) -> None:
        self.nodes[name] = entry
        edges = [e for port in entry["inputs"].values() for e in (port if isinstance(port, list) else [port])]
        few = len(entry["inputs"]) > 1 and any(e["policy"] == "latest" and e["capacity"] for e in edges)
        if few or not self.may_starve.isdisjoint(e["source"] for e in edges):
            self.may_starve.add(name)

    def _port(self, *, may_hold: bool = False) -> Any:
        if may_hold and self.chance.random() < 0.25:
            return {"source": self.chance.choice(self._outputs), "policy": "hold"}
        count = min(len(self._outputs), self.chance.choice((1, 1, 1, 2)))
        return [self._edge(source) for source in self.chance.sample(self._outputs, count)]

    def _edge(self, source: str) -> dict[str, Any]:
        policy, capacity = self.chance.choice(("latest", "block", "block")), self.chance.choice((None, 1, 1, 2, 3))
        return {"source": source, "policy": policy, "capacity": capacity}


def placed(chance: random.Random, transport: str) -> dict[str, Any]:
    """Four processes, or fewer that have several threads."""
    process, thread = {"kind": "process", "transport": transport}, {"kind": "thread", "process": "a"}
    places = {w: chance.choice((process, process, process, thread)) for w in ("b", "c", "d")}
    return {"main": {"kind": chance.choice(("inline", "thread"))}, "a": process} | places


def lines(path: Path) -> int:
    return path.read_text().count("#") if path.exists() else 0


def alive(sinks: list[Path], *, within_s: float) -> set[Path]:
    """The sinks by which something comes within that time."""
    before, deadline = {sink: lines(sink) for sink in sinks}, time.monotonic() + within_s
    found: set[Path] = set()
    while len(found) < len(sinks) and time.monotonic() < deadline:
        found |= {sink for sink in sinks if lines(sink) >= before[sink] + FEW}
        time.sleep(0.02)
    return found


def kill_some(chance: random.Random, processes: list[Process]) -> int:
    """One or two at a time, at any moment; how many there were."""
    kills = 0
    for _ in range(chance.choice((2, 4, 8))):
        time.sleep(chance.uniform(0.02, 0.5))
        for process in chance.sample(processes, min(len(processes), chance.choice((1, 2)))):
            if pid := process.pid:
                try:
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
                except ProcessLookupError:
                    pass
    return kills


@pytest.mark.parametrize("seed", range(GRAPHS))
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_any_live_graph_goes_on_when_what_was_killed_is_up_again(
    transport: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "LONGEST_BACKOFF_S", 0.2)
    before, chance = shared(), random.Random(f"{transport}{seed}")
    draft = Draft(chance, tmp_path)
    runtime = Runtime(make_plan(draft.nodes, placed(chance, transport), BUILDER), BUILDER)
    sinks = [tmp_path / name for name in draft.nodes if name.startswith("sink") and name not in draft.may_starve]
    processes = list(runtime.processes.by_name.values())
    with beside(runtime) as (_, results):
        until(lambda: all(p.is_ready for p in processes), 60)
        time.sleep(SETTLED_S)
        lived = alive(sinks, within_s=3)
        kills = kill_some(chance, processes) if processes else 0
        until(lambda: all(p.is_ready for p in processes), 60)
        assert alive(sorted(lived), within_s=20) == lived, runtime.read_edges()
        assert not results
    assert results[0].end == "stopped"
    accounted_for(runtime, kills)
    assert shared() <= before
