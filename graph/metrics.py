"""Shows the counts of a running graph to Prometheus."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any, Protocol
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from graph.errors import ServerError
from graph.node import FIGURES
from graph.reading import EdgeReading, NodeReading


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
        yield _gauge(
            "cauce_alive", "Whether the node is set up, not being restarted, and not stuck.", nodes, "is_alive"
        )
        yield _gauge("cauce_rate_ok", "Whether it makes min_rate_hz steps a second.", nodes, "rate_is_ok")
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


def _gauge(name: str, help_: str, nodes: Sequence[NodeReading], attribute: str) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=["node"])
    for n in nodes:
        family.add_metric([n.name], float(getattr(n, attribute)))
    return family


def _facts(nodes: Sequence[NodeReading]) -> Iterator[Metric]:
    """One `cauce_<topic>_info` per topic: 1, with the facts as labels."""
    topics: dict[str, list[tuple[str, Mapping[str, str]]]] = {}
    for n in nodes:
        for topic, facts in n.facts.items():
            if topic != FIGURES:  # words for people, whose names are no labels
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
        stopping = Thread(target=self._http.shutdown, name="cauce-metrics-end")
        stopping.start()
        with suppress(OSError):  # the server looks every half a second whether it is to stop, and when its socket ends
            self._http.socket.shutdown(socket.SHUT_RDWR)
        stopping.join()
        self._http.server_close()
        self._thread.join()
