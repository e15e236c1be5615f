"""A graph that can run: its nodes and edges, checked, in an order in which every node follows those it listens to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graph.node import Contract
from graph.placement import WorkerSpec
from graph.ports import Ports
from graph.spec import NodeSpec, Policy


@dataclass(frozen=True, slots=True)
class PlannedEdge:
    """One connection, checked."""

    source: str
    output: str
    target: str
    port: str
    type: type
    policy: Policy
    capacity: int
    every: int = 1
    max_age_ms: float | None = None
    origins: frozenset[str] = frozenset()
    """Source outputs whose captures may arrive on this edge."""
    is_picky: bool = False
    """Whether only captures of `origins` are sent, of those that the producer has."""
    copies: int = 1
    """How many messages of one capture may arrive: several where branches of its source were merged."""
    tells_absence: bool = False
    """Whether the consumer must also hear that there will be nothing for a capture, because it combines inputs."""

    @property
    def name(self) -> str:
        """The edge as people read it and metrics label it: "depth->fuse.depth"."""
        source = f"{self.source}.{self.output}" if self.output else self.source
        return f"{source}->{self.target}.{self.port}"

    @property
    def repeats(self) -> bool:
        """Whether several messages of one capture may arrive."""
        return self.copies > 1


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """One node, checked."""

    spec: NodeSpec
    ports: Ports
    worker: WorkerSpec
    edges: tuple[PlannedEdge, ...]
    expects: Mapping[str, Contract]
    emits: Mapping[str, Contract]

    @property
    def name(self) -> str:
        """Name in the graph."""
        return self.spec.name

    @property
    def anchor(self) -> str | None:
        """The port whose captures drive the node and stamp its output: the first that triggers and is required."""
        triggers = [p for p in self.ports.inputs if any(e.port == p and e.policy != "hold" for e in self.edges)]
        required = [p for p in triggers if self.ports.inputs[p].required]
        return next(iter(required or triggers), None)

    def origins(self, output: str) -> frozenset[str]:
        """Source outputs whose captures leave by `output`."""
        if self.is_source:
            return frozenset({f"{self.name}.{output}" if output else self.name})
        return self.driving

    @property
    def driving(self) -> frozenset[str]:
        """Source outputs whose captures drive the node; all others only join them."""
        return frozenset().union(*(e.origins for e in self.edges if e.port == self.anchor))

    @property
    def copies(self) -> int:
        """How many messages of one capture may drive it, and leave."""
        edges = [e for e in self.edges if e.port == self.anchor]
        return max((sum(e.copies for e in edges if o in e.origins) for e in edges for o in e.origins), default=1)

    @property
    def watches_clock(self) -> bool:
        """Whether the passing of time alone may decide what it combines: captures of different origins, or copies."""
        triggers = [e for e in self.edges if e.policy != "hold"]
        is_mixed = len({o for e in triggers for o in e.origins}) > 1
        return len({e.port for e in triggers}) > 1 and (is_mixed or any(e.repeats for e in triggers))

    @property
    def meets(self) -> bool:
        """Whether each capture of one origin comes by all its inputs, or word that it brings nothing, once, in order.

        Nothing else decides then what is processed together, neither the clock nor room.
        """
        edges = self.edges
        if self.spec.batch is not None or len(edges) < 2 or len({e.port for e in edges}) < len(edges):
            return False
        is_kept = all(e.policy == "block" and e.max_age_ms is None and not e.repeats for e in edges)
        return is_kept and len({origin for e in edges for origin in e.origins}) == 1

    @property
    def is_source(self) -> bool:
        """Whether it has no input."""
        return not self.ports.inputs

    @property
    def is_sink(self) -> bool:
        """Whether it has no output."""
        return not self.ports.outputs


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph that can run: nodes in an order in which every node follows those that it listens to."""

    nodes: Mapping[str, PlannedNode]
    lossless: bool
    """Whether every capture is processed, as fast as possible, and edges block instead of dropping."""
    workers: Mapping[str, WorkerSpec]
    """All workers of the placement, used or not."""
    off: tuple[str, ...] = ()
    """Nodes that stand in the graph and are switched off."""

    @property
    def edges(self) -> tuple[PlannedEdge, ...]:
        """All edges, in the order of their consumers."""
        return tuple(e for n in self.nodes.values() for e in n.edges)
