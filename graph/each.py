"""Repeats what a graph holds for one wearer, device or room: nodes that say `each: N` are there N times.

    camera: {use: "${source}", each: 2, worker: camera}     camera_1 and camera_2, in workers of their own
    detector: {use: "${detector}", inputs: {image: camera}} one for all
    fuse: {each: 2, inputs: {detections: detector}}         fuse_1 takes what the detector found for camera_1

Where there are fewer of one than of the other, they take turns: of 4 cameras and `each: 2` of the detector, detector_1
serves camera_1 and camera_3.

Done on the plain configuration, before it is checked: what comes out is a graph that could have been written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graph.errors import ConfigError

MARK = "{each}"


def expanded(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with its repeated nodes, and their workers, written out; ConfigError with all mistakes.

    In a repeated node "{each}" stands for its number; what it writes into the run's folder goes into one of its own.
    """
    nodes, placement = config.get("nodes"), config.get("placement")
    if not isinstance(nodes, Mapping) or not isinstance(placement, Mapping):
        return dict(config)
    counts = {str(k): v["each"] for k, v in nodes.items() if isinstance(v, Mapping) and v.get("each") is not None}
    wrong = [
        f"nodes.{name}.each: is {n!r}; expected a whole number, 1 or more"
        for name, n in counts.items()
        if not isinstance(n, int) or isinstance(n, bool) or n < 1
    ]
    if wrong:
        raise ConfigError(wrong)
    written = _Expansion(counts, str(config.get("out") or ""), placement)
    made: dict[str, Any] = {}
    for name, entry in nodes.items():
        made |= written.of(str(name), entry)
    return {**config, "nodes": made, "placement": {**placement, **written.workers}}


class _Expansion:
    """Writes out the nodes of one configuration."""

    def __init__(self, counts: Mapping[str, int], out: str, placement: Mapping[str, Any]) -> None:
        self._counts, self._out, self._placement = counts, out, placement
        self.workers: dict[str, Any] = {}

    def of(self, name: str, entry: Any) -> dict[str, Any]:
        """The node, or all that stand for it."""
        if not isinstance(entry, Mapping):
            return {name: entry}
        plain = {k: v for k, v in entry.items() if k != "each"}
        if name in self._counts:
            count = self._counts[name]
            return {f"{name}_{i}": self._repeated(plain, i, count) for i in range(1, count + 1)}
        if isinstance(inputs := plain.get("inputs"), Mapping):
            plain["inputs"] = {port: self._merged(value) for port, value in inputs.items()}
        return {name: plain}

    def _merged(self, value: Any) -> Any:
        """The edges into a node that is there once: from all that stand for a source."""
        edges: list[Any] = []
        for edge in value if isinstance(value, list) else [value]:
            source, output = _source(edge)
            if source not in self._counts:
                edges.append(edge)
                continue
            edges += [_with(edge, f"{source}_{i}{output}") for i in range(1, self._counts[source] + 1)]
        return edges if len(edges) != 1 else edges[0]

    def _repeated(self, entry: Mapping[str, Any], i: int, count: int) -> dict[str, Any]:
        made: dict[str, Any] = self._numbered({k: v for k, v in entry.items() if k != "inputs"}, i)
        if isinstance(inputs := entry.get("inputs"), Mapping):
            many = {port: value if isinstance(value, list) else [value] for port, value in inputs.items()}
            made["inputs"] = {port: [o for e in edges for o in self._own(e, i, count)] for port, edges in many.items()}
        worker = str(entry.get("worker", "main"))
        if worker in self._placement:
            made["worker"] = f"{worker}_{i}"
            if made["worker"] not in self._placement:
                self.workers[made["worker"]] = self._numbered(self._placement[worker], i)
        return made

    def _own(self, edge: Any, i: int, count: int) -> list[Any]:
        """What an edge is for the `i`th of so many; of one that serves others too, only what it makes of its own."""
        source, output = _source(edge)
        if not source:
            return [edge]
        there = self._counts.get(source, 0)
        if there >= count:
            return [_with(edge, f"{source}_{k}{output}") for k in range(i, there + 1, count)]
        own = [f"{name}_{i}" for name, n in self._counts.items() if n == count]
        entry = {"only": own, **(edge if isinstance(edge, Mapping) else {"source": edge})}
        return [_with(entry, f"{source}_{(i - 1) % there + 1}{output}") if there else entry]

    def _numbered(self, value: Any, i: int) -> Any:
        if isinstance(value, Mapping):
            return {k: self._numbered(v, i) for k, v in value.items()}
        if isinstance(value, list):
            return [self._numbered(v, i) for v in value]
        if not isinstance(value, str):
            return value
        if value == MARK:
            return i
        if self._out and value.startswith(f"{self._out}/"):
            value = f"{self._out}/{i}{value.removeprefix(self._out)}"
        return value.replace(MARK, str(i))


def _source(edge: Any) -> tuple[str, str]:
    """The node that an edge comes from, and its output with the dot before it."""
    text = edge.get("source") if isinstance(edge, Mapping) else edge
    if not isinstance(text, str):
        return "", ""
    node, dot, output = text.partition(".")
    return node, dot + output


def _with(edge: Any, source: str) -> Any:
    return {**edge, "source": source} if isinstance(edge, Mapping) else source
