"""Runs our graphs: the same shapes as the peers', from a configuration, as a user would write it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

from bench.transport.contender import NO_USE, Run, folder, read
from bench.transport.frames import RESULT_BYTES, Feed, Use, announce
from graph.build import Builder
from graph.planner import make_plan
from graph.runtime import Result, Runtime

HERE = "bench.transport.nodes"
KIND = "process"


class Ours:
    """Our workers, of any kind that a placement may name."""

    def __init__(self, kind: str = KIND, transport: str | None = None) -> None:
        self.kind = kind
        self.worker = {"kind": kind} if transport is None else {"kind": kind, "transport": transport}
        self.name = f"ours ({', '.join(self.worker.values())})"

    def hop(self, feed: Feed, *, readers: int = 1, use: Use = NO_USE, newest: bool = False) -> Run:
        """See `Contender.hop`. As fast as it goes means that nothing may be lost: such a source waits for room."""
        with folder() as path:
            policy = "latest" if newest or feed.fps else "block"
            nodes = hop_nodes(path, feed, readers=readers, use=use, policy=policy)
            result, _ = self.run(path, nodes)
            return read(path, _trouble(result))

    def graph(self, feed: Feed, *, work_s: float) -> Run:
        """See `Contender.graph`. Edges block: the peers' links keep every frame too."""
        with folder() as path:
            nodes = {"camera": _camera(path, feed)}
            for name in "abc":
                nodes[name] = {
                    "_target_": f"{HERE}.Stage", "size": RESULT_BYTES, "work_s": work_s, "worker": name,
                    "inputs": {"frame": {"source": "camera", "policy": "block"}},
                }  # fmt: skip
            from_stages = {name: {"source": name, "policy": "block"} for name in "abc"}
            nodes["join"] = {"_target_": f"{HERE}.Join", "worker": "join", "inputs": from_stages}
            nodes["sink"] = _sink(path, 0, NO_USE, {"source": "join", "policy": "block"})
            result, _ = self.run(path, nodes)
            return read(path, _trouble(result))

    def run(
        self, path: Path, nodes: Mapping[str, Any], beside: Callable[[Runtime], None] | None = None
    ) -> tuple[Result, Runtime]:
        """Run a graph, each of its workers of this kind; `beside` runs in a thread meanwhile."""
        workers = {str(entry["worker"]): self.worker for entry in nodes.values()}
        builder = Builder(["bench"])
        runtime = Runtime(make_plan(nodes, workers, builder), builder)
        announce(path, "parent")
        thread = Thread(target=beside, args=(runtime,), daemon=True) if beside else None
        if thread:
            thread.start()
        result = runtime.run()
        if thread:
            thread.join()
        return result, runtime


def hop_nodes(path: Path, feed: Feed, *, readers: int, use: Use, policy: str, **sink: Any) -> dict[str, Any]:
    """A camera and its sinks, as a configuration."""
    nodes = {"camera": _camera(path, feed)}
    for i in range(readers):
        nodes[f"sink{i}"] = {**_sink(path, i, use, {"source": "camera", "policy": policy}), **sink}
    return nodes


def _camera(path: Path, feed: Feed) -> dict[str, Any]:
    return {
        "_target_": f"{HERE}.Camera", "folder": str(path), "feed": asdict(feed),
        "realtime": feed.fps > 0 and not feed.waits,
        "worker": "camera", "stall_after_s": None,
    }  # fmt: skip


def _sink(path: Path, i: int, use: Use, source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "_target_": f"{HERE}.Sink", "folder": str(path), "name": f"consumer{i}", "then": asdict(use),
        "worker": f"sink{i}", "stall_after_s": None, "inputs": {"frame": source},
    }  # fmt: skip


def _trouble(result: Result) -> str:
    return "" if result.end == "finished" else f"{result.end}: {result.error}"
