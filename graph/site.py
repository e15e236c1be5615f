"""The part of a graph that runs in one process: its workers, its steps, and the ends of the edges that leave it.

The same in the process that was started by hand and in each of its children; `graph/process.py` is what the former
holds of the latter.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from time import monotonic
from typing import Any, Protocol

from graph.batch import BatchStep
from graph.bell import Bell, SocketBell
from graph.build import Builder
from graph.errors import CauceError, NodeError, translated
from graph.futures import all_of, in_turn, settled
from graph.join import JoinInbox
from graph.mailbox import Mailbox
from graph.matching import MatchingMailbox
from graph.packet import Door
from graph.partition import Books, Output, Part
from graph.placement import WorkerSpec
from graph.plan import PlannedEdge, PlannedNode
from graph.rehearsal import Rehearsal
from graph.rendezvous import Rendezvous
from graph.source import SourceStep
from graph.step import Picky, Step, Way, Wiring
from graph.supervise import stack_of
from graph.transport import memory
from graph.transport.inlet import Inlet
from graph.transport.link import Link
from graph.transport.memory import Handle
from graph.transport.outlet import Outlet
from graph.transport.ring import RingSpec
from graph.work import WorkStep
from graph.worker import Worker

log = logging.getLogger(__name__)

OnFailure = Callable[[CauceError], None]


class Lender(Way, Protocol):
    """A way out of the process, with memory that is best written to."""

    def loan(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A writable array of undefined content."""
        ...


class Site:
    """One part of a graph, wired. Made, set up, run and closed once."""

    def __init__(
        self, part: Part, books: Books, builder: Builder, on_failure: OnFailure, *, rings: Mapping[Output, Handle]
    ) -> None:
        self.part, self.books = part, books
        self._builder, self._on_failure = builder, on_failure
        self._workers: dict[str, Worker] = {}
        self._homes: dict[str, Worker] = {}
        self.mailboxes: dict[PlannedEdge, Mailbox] = {}
        self._matched: dict[PlannedEdge, MatchingMailbox] = {}
        self._outlets: dict[Output, Lender] = {}
        self._links: dict[PlannedEdge, Link] = {}
        self._inlets: dict[PlannedEdge, Inlet] = {}
        self._meetings: dict[str, Rendezvous] = {}
        self.steps: dict[str, Step] = {}
        self._stopping = False
        self._make_workers()
        self._make_mailboxes()
        self._make_outlets(rings)
        for node in part.nodes.values():
            self.steps[node.name] = self._step(node)
            self._homes[node.name].steps.append(self.steps[node.name])
        for box in self.mailboxes:
            self._shorten(box)

    def _make_workers(self) -> None:
        far = {e.source for e in self.part.leaving} | {e.target for e in self.part.arriving}
        listening = {n.worker.thread for n in self.part.nodes.values() if n.name in far}
        for node in self.part.nodes.values():
            thread = node.worker.thread
            if thread not in self._workers:
                bell = SocketBell(thread) if thread in listening else Bell()
                self._workers[thread] = Worker(thread, bell, self._context(node.worker))
            worker = self._homes[node.name] = self._workers[thread]
            worker.watches_clock |= node.watches_clock
        for worker in self._workers.values():  # what comes first to a join only waits for the rest
            worker.preempts = sum(self._homes[e.target] is worker for e in self.part.arriving) == 1

    def _context(self, spec: WorkerSpec) -> Callable[[], AbstractContextManager[Any]] | None:
        """What makes that which a worker works in."""
        return partial(self._builder.instantiate, spec.context) if spec.context else None

    def _make_mailboxes(self) -> None:
        for node in self.part.nodes.values():
            matches = len(node.edges) > 1 or node.spec.batch is not None
            for edge in node.edges:
                consumer = self._homes[edge.target]
                is_here = edge.source in self.part.nodes
                box = (MatchingMailbox if matches else Mailbox)(
                    edge.capacity,
                    bell=consumer.bell,
                    policy=edge.policy,
                    every=edge.every if is_here else 1,  # what is thinned out is not sent at all
                    tells_absence=edge.tells_absence,
                    tally=self.books.mailboxes[edge],
                )
                box.only_joining = edge.origins - node.driving
                box.keeps_word = edge.tells_absence and matches and edge.port == node.anchor
                if edge.policy == "block" and is_here:
                    box.on_room = self._homes[edge.source].bell
                self.mailboxes[edge] = box
                if isinstance(box, MatchingMailbox):
                    self._matched[edge] = box
                    box.copies = 1 if self.part.lossless else edge.copies
            if node.meets:
                self._meetings[node.name] = Rendezvous(self.mailboxes[e] for e in node.edges)

    def _make_outlets(self, rings: Mapping[Output, Handle]) -> None:
        for output, spec in self.part.rings.items():
            ring = memory.writer(rings[output], spec)
            links = [
                Link(e, ring, self._homes[e.source].bell, self.books.links[e])
                for e in self.part.leaving
                if (e.source, e.output) == output
            ]
            self._outlets[output] = Outlet(ring, links)
            self._links |= {link.edge: link for link in links}

    def _step(self, node: PlannedNode) -> Step:
        outputs: dict[str, list[Way]] = {name: [] for name in node.ports.outputs}
        for edge, box in self.mailboxes.items():
            if edge.source == node.name:
                outputs[edge.output].append(Picky(box, edge.origins) if edge.is_picky else box)
        lenders = {}
        for (source, output), outlet in self._outlets.items():
            if source == node.name:
                outputs[output].append(outlet)
                lenders[output] = outlet.loan
        wiring = Wiring(
            outputs,
            on_failure=self._on_failure,
            lenders=lenders,
            tally=self.books.nodes[node.name],
            is_live=not self.part.lossless,
        )
        if node.is_source:
            door = Door(node.spec.in_flight, self._homes[node.name].bell.ring)
            lossless, frames = self.part.lossless, self.part.frames
            return SourceStep(node, wiring, self._builder, door=door, lossless=lossless, frames=frames)
        if node.spec.batch is not None:
            lossless, home = self.part.lossless, self._homes[node.name]
            return BatchStep(node, wiring, self._builder, mailboxes=self._matched, home=home, lossless=lossless)
        is_sole = len(node.edges) == 1
        inbox = self.mailboxes[node.edges[0]] if is_sole else JoinInbox(node, self._matched, self.part.lossless)
        return WorkStep(node, wiring, self._builder, inbox=inbox, home=self._homes[node.name])

    def _shorten(self, edge: PlannedEdge) -> None:
        """Let packets skip the mailbox where it would hand over within one thread and has nothing to decide."""
        target = self._direct(edge)
        if target is not None and self._homes.get(edge.source) is self._homes[edge.target]:
            gives = self.steps[edge.source].targets[edge.output]
            gives[gives.index(self.mailboxes[edge].offer)] = target.receive

    def _direct(self, edge: PlannedEdge) -> WorkStep | None:
        """The step at the end of an edge, where it may be given what comes and its mailbox has nothing to decide."""
        target = self.steps[edge.target]
        plain = edge.every == 1 and edge.max_age_ms is None and len(target.planned.edges) == 1
        plain = plain and not edge.is_picky and target.spec.batch is None  # which has to see how many wait
        return target if plain and isinstance(target, WorkStep) else None

    def connect_out(self, edge: PlannedEdge, end: socket.socket, *, is_new: bool) -> None:
        """Send what leaves by `edge` to `end`, which becomes ours; `is_new`: its consumer has just been started."""
        self._links[edge].connect(end, is_new=is_new, counts_captures=self.part.counts_captures)

    def connect_in(self, edge: PlannedEdge, end: socket.socket, ring: Handle, spec: RingSpec) -> None:
        """Take what arrives by `edge` from `end`, which becomes ours as `ring` does."""
        if (before := self._inlets.get(edge)) is not None:
            before.drain()
            before.close()
        worker = self._homes[edge.target]
        worker.preempts &= spec.readers == 1  # whoever has others to tell as well must be let go on
        try:
            bell, on_error, taker = worker.bell, partial(self._unreadable, edge), self._direct(edge)
            reader = memory.reader(ring, spec)
            meeting = self._meetings.get(edge.target)
            inlet = Inlet(self.mailboxes[edge], bell, end, reader, on_error=on_error, taker=taker, meeting=meeting)
            self._inlets[edge] = inlet
            step = self.steps[edge.target]
            if isinstance(step, WorkStep) and edge.policy == "block":
                step.pulls = {**step.pulls, edge: inlet.pull}
            worker.rehearsal = worker.rehearsal or Rehearsal()
            worker.rehearsal.follow(step)
        finally:
            memory.close(ring)

    def close_edge(self, edge: PlannedEdge) -> None:
        """Nothing will arrive by `edge` any more: its producer is gone for good."""
        if (inlet := self._inlets.get(edge)) is not None:
            inlet.drain()  # what it had sent is still good
        self.mailboxes[edge].close()

    def _unreadable(self, edge: PlannedEdge, e: Exception) -> None:
        if isinstance(error := translated(e), CauceError):
            self._on_failure(error)
            return
        cause = f"{edge.name}: {type(e).__name__}: {e}; the class of a message must be importable in every process"
        self._on_failure(NodeError(edge.target, "receive", cause))

    @property
    def workers(self) -> Mapping[str, Worker]:
        """The threads, by name."""
        return self._workers

    def bell_of(self, node: str) -> Bell:
        """What wakes the thread of a node."""
        return self._homes[node].bell

    def start(self) -> None:
        """Start the threads."""
        for worker in self._workers.values():
            worker.start()

    def set_up(self) -> Future[None]:
        """Set up workers, and nodes in their order, each in its worker. Fails with the first error."""
        return in_turn(self._setups())

    def _setups(self) -> Iterator[Future[Any]]:
        todo = [(name, worker, worker.enter) for name, worker in self._workers.items()]
        todo += [(name, self._homes[name], step.setup) for name, step in self.steps.items()]
        for name, worker, function in todo:
            if self._stopping:
                return
            log.debug("setting up %s", name)
            yield worker.call(function)

    def run(self) -> Future[None]:
        """Step the nodes until all are over or `stop` is called."""
        return all_of([worker.call(worker.step_all) for worker in self._workers.values()])

    def stop(self) -> None:
        """Have all workers return after the step under way."""
        self._stopping = True
        for worker in self._workers.values():
            worker.stop()
        for step in self.steps.values():
            if step.node is not None:
                step.node.interrupt()

    def close(self, seconds: float) -> list[str]:
        """Close all nodes in reverse order within `seconds`; the names of those that did not return."""
        deadline = monotonic() + seconds
        closings = {name: self._homes[name].call(step.close) for name, step in reversed(self.steps.items())}
        stuck = [name for name, closing in closings.items() if not settled(closing, deadline)]
        for name in stuck:
            worker = self._homes[name]
            log.warning(
                "nodes.%s: did not stop in time; its worker %r is here:\n%s", name, worker.name, stack_of(worker.thread)
            )
        for worker in self._workers.values():
            worker.end()
        for worker in self._workers.values():
            worker.thread.join(max(0.0, deadline - monotonic()) if not stuck else 0.0)
        for link in self._links.values():
            link.close()
        for inlet in self._inlets.values():
            inlet.close()
        for box in self.mailboxes.values():  # now that nothing comes any more
            box.clear("stopped")
        if not stuck:
            for worker in self._workers.values():
                worker.bell.close()
                if worker.rehearsal is not None:
                    worker.rehearsal.close()
        return stuck

    @property
    def facts(self) -> dict[str, Mapping[str, Mapping[str, str]]]:
        """What each node found out."""
        return {name: step.facts for name, step in self.steps.items()}

    def words(self) -> dict[str, str]:
        """What each node has to say of itself."""
        said = {name: step.node.status() for name, step in self.steps.items() if step.node is not None}
        return {name: words for name, words in said.items() if words}
