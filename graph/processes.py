"""All process workers of a run: starts and connects them, and restarts those that die as their nodes' policies say."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from graph.build import Builder
from graph.errors import WorkerDied, WorkerError
from graph.partition import Output, Part
from graph.placement import HERE, WorkerSpec
from graph.plan import Plan, PlannedEdge
from graph.process import Process
from graph.reading import EdgeReading
from graph.site import Site
from graph.tally import RESTARTS
from graph.transport import memory
from graph.transport.memory import Handle
from graph.transport.ring import RingSpec

if TYPE_CHECKING:
    from graph.cluster.worker import Cluster

log = logging.getLogger(__name__)
MEMORY_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Told:
    """What a process has told, or what was found out about it."""

    process: Process
    kind: str
    value: Any


class Processes:
    """The processes of a run, and the edges between them and the part that runs here. One thread calls it."""

    def __init__(
        self,
        plan: Plan,
        parts: Mapping[str, Part],
        builder: Builder,
        here: Callable[[Mapping[Output, Handle]], Site],
        on_event: Callable[[Told], None],
    ) -> None:
        self._site = {name: node.worker.site for name, node in plan.nodes.items()}
        self._edges = [e for e in plan.edges if self._site[e.source] != self._site[e.target]]
        self._specs: dict[Output, RingSpec] = {o: spec for part in parts.values() for o, spec in part.rings.items()}
        memory.sweep(self._specs.values())
        if (shortage := memory.shortage(self._specs.values())) is not None:
            users = [self._site[node] for (node, _), spec in self._specs.items() if spec.transport != "slots"]
            raise WorkerError(users[0], shortage)
        self._rings = {output: memory.create(spec) for output, spec in self._specs.items()}
        self._due: dict[str, float] = {}
        """When those that died are to be started again."""
        self._unheard = set(self._edges)
        """Edges whose consumer has not been connected since it was started."""
        self._runs = self._ends = False
        self._has_ended = False
        self._looked_at = 0.0
        self.here = here(self._rings)
        self.is_stopping = False
        """Whether a stop was asked for, so that nothing is worth waiting for."""
        self._cluster = _cluster_of(plan, lambda: self.is_stopping)
        self.by_name = {
            name: self._kind(plan.workers[name])(
                part, plan.workers[name], builder, lambda p, kind, value: on_event(Told(p, kind, value))
            )
            for name, part in parts.items()
            if name != HERE
        }

    def _kind(self, worker: WorkerSpec) -> Callable[..., Process]:
        return self._cluster.worker if self._cluster is not None and worker.kind == "ray" else Process

    def start(self) -> None:
        """Start all at once, connect them, and have each set up its nodes."""
        for process in self.by_name.values():
            process.spawn(self._rings)
        for edge in self._edges:
            self._connect(edge)
        for process in self.by_name.values():
            process.set_up()

    @property
    def are_ready(self) -> bool:
        """Whether all have set up their nodes, but those that will not come back."""
        return all(p.is_ready or p.is_gone for p in self.by_name.values())

    def run(self) -> None:
        """Have all step their nodes; those that are started again later will do so by themselves."""
        self._runs = True
        for process in self.by_name.values():
            process.run()

    def hear(self, told: Told) -> None:
        """Act on what a process has told; raises the error that ends the run."""
        process = told.process
        if told.kind == "failed" and process.restarts.count and not process.is_ready:
            process.kill(f"could not be set up again ({told.value})")  # which is one failure more of it
        elif told.kind == "failed":
            raise told.value
        elif told.kind == "ready":
            process.facts = told.value
            process.is_ready = True
            if self._runs:
                process.run()
        elif told.kind == "died" and process.is_this(told.value) and not self._ends and process.is_up:
            self._died(process)

    def _died(self, process: Process) -> None:
        """Restart, go on without, or end the run: as the nodes of the process say."""
        busy = process.busy_nodes()
        how = process.bury()
        memory.sweep(self._specs.values())
        if process.over.done():
            return
        nodes = process.part.nodes
        names = ", ".join(busy or nodes)
        cause = f"its process (placement.{process.part.name}) {how}" + (" in a step" if busy else "")
        policies = {nodes[name].spec.on_error for name in nodes}
        may_restart = process.is_to_restart or "stop" not in policies
        pause_s = None if not may_restart else process.restarts.next_pause_s(monotonic() - process.started_at)
        if pause_s is not None:
            log.warning("nodes.%s: %s; restart %d in %g s", names, cause, process.restarts.count, pause_s)
            self._due[process.part.name] = monotonic() + pause_s
        elif policies == {"skip"}:
            log.warning("nodes.%s: %s once too often; the graph goes on without it", names, cause)
            self._give_up(process)
        else:
            raise WorkerDied(names, "process", cause)

    def _give_up(self, process: Process) -> None:
        """Nothing will come of this process any more: its consumers are told that their stream has ended."""
        process.is_gone = True
        for edge in process.part.leaving:
            self._end_of(edge.target).close_edge(edge)
        process.over.set_result(None)

    def tick(self) -> None:
        """Start what is due; end what takes too long to start, or too much memory."""
        now = monotonic()
        for name, at in list(self._due.items()):
            if now >= at:
                del self._due[name]
                self._start_again(self.by_name[name])
        if now - self._looked_at < MEMORY_EVERY_S:
            return
        self._looked_at = now
        for process in self.by_name.values():
            process.check()
            limit_mb = process.worker.memory_mb
            if process.is_up and not process.is_ready and now - process.started_at > process.worker.start_s:
                process.kill(f"was not ready within start_s={process.worker.start_s:g}")
            elif limit_mb is not None and process.is_up and (used := process.resident_mb()) > limit_mb:
                process.kill(f"used {used:.0f} MB, more than memory_mb={limit_mb:g},")

    def _start_again(self, process: Process) -> None:
        for output in process.part.rings:  # who still reads the old memory keeps it; the rest of it is freed
            memory.close(self._rings[output])
            self._rings[output] = memory.create(self._specs[output])
        for tally in process.books.nodes.values():
            tally.cells[RESTARTS] += 1
        process.spawn(self._rings)
        self._unheard |= set(process.part.arriving)
        for edge in self._edges:
            if process.part.name in (self._site[edge.source], self._site[edge.target]):
                self._connect(edge)
        process.set_up()

    def _end_of(self, node: str) -> Site | Process:
        site = self._site[node]
        return self.here if site == HERE else self.by_name[site]

    def _connect(self, edge: PlannedEdge) -> None:
        """Give both ends of an edge a socket to each other, if both are there."""
        source, target = self._end_of(edge.source), self._end_of(edge.target)
        if isinstance(source, Process) and not source.is_up and source.over.done():
            target.close_edge(edge)  # it has ended, and will not be there again
            return
        if any(isinstance(end, Process) and not end.is_up for end in (source, target)):
            return
        is_new = edge in self._unheard
        self._unheard.discard(edge)
        if isinstance(source, Process) and isinstance(target, Process):  # noqa: SIM102 - so mypy knows both
            if source.connect_directly(edge, target, is_new=is_new):
                return
        output = (edge.source, edge.output)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        target.connect_in(edge, theirs, memory.copy(self._rings[output]), self._specs[output])
        source.connect_out(edge, ours, is_new=is_new)

    def stop(self) -> None:
        """Have all return after the steps under way; none is started again from here on."""
        self._ends = True
        for process in self.by_name.values():
            process.stop()
            if not process.is_up and not process.over.done():
                process.over.set_result(None)

    def begin_close(self, seconds: float) -> None:
        """Have all close their nodes, at the same time."""
        for process in self.by_name.values():
            process.begin_close(seconds)

    @property
    def leaving_s(self) -> float:
        """What `end` takes in any case."""
        return self._cluster.session.leaving_s if self._cluster is not None else 0.0

    def end(self, deadline: float, *, is_stuck: bool) -> list[str]:
        """See that all are gone; the names of nodes whose cluster is still being joined, by a thread of ours.

        Where the run `is_stuck`, and this process is to be left at once, a cluster of its own goes with it.
        """
        for process in self.by_name.values():
            process.end(deadline)
            process.release()
        self._has_ended = True
        for handle in self._rings.values():
            memory.close(handle)
        memory.sweep(self._specs.values())
        return [] if self._cluster is None or is_stuck else self._cluster.leave()

    def read(self, edge: PlannedEdge) -> EdgeReading:
        """The counts of an edge, from both of its ends."""
        source, target = self._end_of(edge.source), self._end_of(edge.target)
        end = target.books.mailboxes[edge]
        if source is target:
            here = end.offered - end.settled
            return EdgeReading(edge.name, end.offered, end.thinned, here, end.delivered, end.dropped)
        link = source.books.links[edge]
        dropped = {cause: n + link.dropped[cause] for cause, n in end.dropped.items()}
        lost = link.connected - target.delivered_before[edge] if isinstance(target, Process) else 0
        left = link.sent - end.settled - max(0, lost)
        # What has arrived was sent, whether or not its actor has told so by now; other processes share their counts.
        unheard = max(0, -left) if isinstance(source, Process) and source.worker.kind == "ray" else 0
        left += unheard
        dropped["lost"] += max(0, lost)
        if isinstance(target, Process) and target.is_gone:
            dropped["lost"], left = dropped["lost"] + left, 0
        elif self._has_ended:
            dropped["stopped"], left = dropped["stopped"] + left, 0
        return EdgeReading(edge.name, link.offered + unheard, link.thinned, left, end.delivered, dropped)


def _cluster_of(plan: Plan, is_stopping: Callable[[], bool]) -> Cluster | None:
    """The cluster that a plan needs, if it does."""
    if all(node.worker.kind != "ray" for node in plan.nodes.values()):
        return None
    from graph.cluster.worker import Cluster

    return Cluster(plan, is_stopping)
