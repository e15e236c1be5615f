"""Divides a plan into the parts that run in one process each, and sizes the memory between them."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graph.mailbox import HOLD_WINDOW
from graph.placement import HERE
from graph.plan import Plan, PlannedEdge, PlannedNode
from graph.transport.ring import RingSpec

UNKNOWN_BYTES = 64 << 20  # a slot for messages that no contract tells the size of; only what is written takes memory
SLACK = 4096  # alignment, and small arrays beside the large one that the contract tells of

Output = tuple[str, str]
"""A node and one of its outputs."""


@dataclass(frozen=True, slots=True)
class Part:
    """The nodes of one process, and the edges that come in and go out. Plain data: it is sent to the process."""

    name: str
    nodes: Mapping[str, PlannedNode]
    leaving: tuple[PlannedEdge, ...]
    rings: Mapping[Output, RingSpec]
    """Memory of the outputs that leave."""
    lossless: bool
    frames: int | None
    counts_captures: bool
    """Whether some source of the graph waits for the ends of captures."""

    @property
    def arriving(self) -> tuple[PlannedEdge, ...]:
        """Edges from other processes."""
        return tuple(e for n in self.nodes.values() for e in n.edges if e.source not in self.nodes)


def parts(plan: Plan, frames: int | None = None) -> dict[str, Part]:
    """The parts of a plan by process; the one that was started by hand is always there, and comes first."""
    site = {name: n.worker.site for name, n in plan.nodes.items()}
    names = dict.fromkeys([HERE, *site.values()])
    counts = any(n.spec.in_flight is not None for n in plan.nodes.values())
    rings = ring_specs(plan)
    return {
        name: Part(
            name,
            {n: node for n, node in plan.nodes.items() if site[n] == name},
            tuple(e for e in plan.edges if site[e.source] == name != site[e.target]),
            {output: spec for output, spec in rings.items() if site[output[0]] == name},
            plan.lossless,
            frames,
            counts,
        )
        for name in names
    }


def ring_specs(plan: Plan) -> dict[Output, RingSpec]:
    """How much memory each output needs that leaves its process."""
    all_edges: dict[Output, list[PlannedEdge]] = {}
    for e in plan.edges:
        all_edges.setdefault((e.source, e.output), []).append(e)
    specs = {}
    for output, edges in all_edges.items():
        leaving = [e for e in edges if plan.nodes[e.source].worker.site != plan.nodes[e.target].worker.site]
        if leaving:
            specs[output] = _ring_spec(plan, output, edges, leaving)
    return specs


def _ring_spec(plan: Plan, output: Output, edges: list[PlannedEdge], leaving: list[PlannedEdge]) -> RingSpec:
    """Slots for the worst case: all mailboxes full, each consumer at work on one and keeping another.

    Of those in the process of the producer as well: what was lent lies in a slot also for them.
    """
    size = _message_bytes(plan, output, edges[0].type)
    waiting = sum(e.capacity for e in edges if e.policy != "hold")
    under_way = _in_flight(plan, edges[0])
    held = sum(HOLD_WINDOW for e in edges if e.policy == "hold")
    slots = 2 + (waiting if under_way is None else min(waiting, under_way)) + 2 * len(edges) + held
    site = plan.nodes[output[0]].worker.site
    transport = plan.workers[site].transport if site != HERE else "slots"
    if size is None:
        return RingSpec(slots, UNKNOWN_BYTES, 0, transport, len(leaving))
    slot_bytes = -(-(size + SLACK) // mmap.PAGESIZE) * mmap.PAGESIZE
    return RingSpec(slots, slot_bytes, min(slots, 3 + len(edges)), transport, len(leaving))


def _message_bytes(plan: Plan, output: Output, kind: type) -> int | None:
    """What the arrays of a message take, by its type and the contract of its output; None where they do not tell."""
    size_bytes = getattr(kind, "size_bytes", None)
    size: int | None = None if size_bytes is None else size_bytes(plan.nodes[output[0]].emits.get(output[1], {}))
    return size


def _in_flight(plan: Plan, edge: PlannedEdge) -> int | None:
    """How many captures can be on this edge at most, by what their sources let in; None: any number."""
    limits = [plan.nodes[origin.partition(".")[0]].spec.in_flight for origin in edge.origins]
    return None if any(n is None for n in limits) else sum(n for n in limits if n is not None)


def problems(plan: Plan) -> Iterator[str]:
    """Where a graph needs more shared memory than its placement allows."""
    needs: dict[str, dict[Output, RingSpec]] = {}
    for output, spec in ring_specs(plan).items():
        needs.setdefault(plan.nodes[output[0]].worker.site, {})[output] = spec
    for name, specs in needs.items():
        limit = plan.workers[name].shared_mb if name != HERE else None
        size = sum(spec.size for spec in specs.values())
        if limit is not None and size > limit * 1e6:
            each = ", ".join(
                f"{'.'.join(filter(None, o))} {s.slots} slots of {s.slot_bytes / 1e6:.1f} MB" for o, s in specs.items()
            )
            yield (
                f"placement.{name}.shared_mb: is {limit:g}, but its outputs may need {size / 1e6:.0f} MB ({each}); "
                "allow as much, lower `capacity` of the edges or `in_flight` of the source, "
                "or have the messages tell their size"
            )
