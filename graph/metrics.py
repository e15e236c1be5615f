"""Counts what happens, cheaply, and shows it to Prometheus. Each tally is written by one thread and read by all."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Thread
from typing import Any, Protocol
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from graph.errors import ServerError

BOUNDS_S = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.0167, 0.025, 0.0333, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BOUNDS_NS = [int(s * 1e9) for s in BOUNDS_S]
KEPT_AGES = 65_536


class Histogram:
    """Durations in the buckets `BOUNDS_S`."""

    __slots__ = ("counts", "total_ns")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_ns = 0

    def observe(self, ns: int) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS_NS, ns)] += 1
        self.total_ns += ns

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus' buckets: how many durations were at most as long as each bound."""
        bounds = [*map(str, BOUNDS_S), "+Inf"]
        total = 0
        return [(bound, float(total := total + n)) for bound, n in zip(bounds, self.counts, strict=True)]


class Tally:
    """The counts of one node."""

    __slots__ = ("age", "ages_ns", "at_door", "errors", "gaps", "restarts", "stalls", "took", "waiting_ns")

    def __init__(self) -> None:
        self.errors = self.restarts = self.stalls = 0
        self.waiting_ns = 0
        self.took = Histogram()
        self.age = Histogram()
        self.ages_ns: deque[int] = deque(maxlen=KEPT_AGES)
        self.gaps = 0
        """Captures that a source lost by its own count."""
        self.at_door = 0
        """Captures that a source did not let in because `in_flight` of them were under way."""

    @property
    def steps(self) -> int:
        """Calls of process that returned."""
        return sum(self.took.counts)

    def seen(self, age_ns: int) -> None:
        """Count the age of what a sink showed or said."""
        self.age.observe(age_ns)
        self.ages_ns.append(age_ns)


@dataclass(frozen=True, slots=True)
class EdgeReading:
    """The counts of one edge at one moment."""

    name: str
    waiting: int
    delivered: int
    dropped: Mapping[str, int]
    """Packets lost, by cause."""


@dataclass(frozen=True, slots=True)
class NodeReading:
    """The counts of one node at one moment."""

    name: str
    is_sink: bool
    tally: Tally
    facts: Mapping[str, Mapping[str, str]]


class Readable(Protocol):
    """What can be exported: a running graph."""

    def read_nodes(self) -> Sequence[NodeReading]:
        """All nodes."""
        ...

    def read_edges(self) -> Sequence[EdgeReading]:
        """All edges."""
        ...


class Exporter:
    """A Prometheus collector over a running graph: reads the tallies when it is asked, costs nothing in between."""

    def __init__(self, graph: Readable) -> None:
        self._graph = graph

    def collect(self) -> Iterator[Metric]:
        """All metrics; docs/metrics.md is their table."""
        nodes = self._graph.read_nodes()
        yield _counter("cauce_steps", "Calls of process.", nodes, lambda t: t.steps)
        yield _counter("cauce_errors", "Calls of process, setup or finish that failed.", nodes, lambda t: t.errors)
        yield _counter("cauce_restarts", "Restarts after an error.", nodes, lambda t: t.restarts)
        yield _counter("cauce_stalls", "Steps that took longer than stall_after_s.", nodes, lambda t: t.stalls)
        waited = "Time that packets waited in the node's mailboxes."
        yield _counter("cauce_waiting_seconds", waited, nodes, lambda t: t.waiting_ns / 1e9)
        took = HistogramMetricFamily("cauce_step_seconds", "Duration of process.", labels=["node"])
        age = HistogramMetricFamily(
            "cauce_age_seconds", "Age of what a sink showed or said: from capture.", labels=["sink"]
        )
        for n in nodes:
            took.add_metric([n.name], n.tally.took.cumulative(), n.tally.took.total_ns / 1e9)
            if n.is_sink:
                age.add_metric([n.name], n.tally.age.cumulative(), n.tally.age.total_ns / 1e9)
        yield took
        yield age
        yield from self._edges()
        yield from _facts(nodes)

    def _edges(self) -> Iterator[Metric]:
        drops = CounterMetricFamily(
            "cauce_drops", "Packets lost on an edge or at a source, by cause.", labels=["edge", "cause"]
        )
        delivered = CounterMetricFamily(
            "cauce_deliveries", "Packets that a consumer took from an edge.", labels=["edge"]
        )
        depth = GaugeMetricFamily("cauce_mailbox_depth", "Packets that wait on an edge.", labels=["edge"])
        for e in self._graph.read_edges():
            delivered.add_metric([e.name], e.delivered)
            depth.add_metric([e.name], e.waiting)
            for cause, n in e.dropped.items():
                drops.add_metric([e.name, cause], n)
        yield from (drops, delivered, depth)


def _counter(name: str, help_: str, nodes: Sequence[NodeReading], value: Any) -> Metric:
    family = CounterMetricFamily(name, help_, labels=["node"])
    for n in nodes:
        family.add_metric([n.name], value(n.tally))
    return family


def _facts(nodes: Sequence[NodeReading]) -> Iterator[Metric]:
    """One `cauce_<topic>_info` per topic: 1, with the facts as labels."""
    topics: dict[str, list[tuple[str, Mapping[str, str]]]] = {}
    for n in nodes:
        for topic, facts in n.facts.items():
            topics.setdefault(topic, []).append((n.name, facts))
    for topic, entries in topics.items():
        labels = sorted({label for _, facts in entries for label in facts})
        family = GaugeMetricFamily(
            f"cauce_{topic}_info", f"Facts that nodes read back of their {topic}.", labels=["node", *labels]
        )
        for name, facts in entries:
            family.add_metric([name, *(facts.get(label, "") for label in labels)], 1)
        yield family


class Server:
    """Serves the metrics of one graph over HTTP until it is closed."""

    def __init__(self, graph: Readable, *, host: str, port: int) -> None:
        registry = CollectorRegistry()
        registry.register(Exporter(graph))
        self._http: WSGIServer
        self._thread: Thread
        try:
            self._http, self._thread = start_http_server(port, addr=host, registry=registry)
        except OSError as e:
            raise ServerError(
                f"metrics.port: cannot serve the metrics on {host}:{port}: {e.strerror or e}; is another run using it? "
                "Choose another with metrics.port=N (0: any that is free), or metrics=none"
            ) from e
        self.url = f"http://{host}:{self._http.server_port}/metrics"

    def close(self) -> None:
        """Stop serving and free the port."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
