"""Wires the part of a graph that runs in one process: its workers, mailboxes and steps, and the ways out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

from graph.batch import BatchStep
from graph.bell import Bell, SocketBell
from graph.books import Books
from graph.build import Builder
from graph.errors import CauceError
from graph.join import JoinInbox
from graph.mailbox import Mailbox
from graph.matching import MatchingMailbox
from graph.packet import Door
from graph.partition import Output, Part
from graph.placement import WorkerSpec
from graph.plan import PlannedEdge, PlannedNode
from graph.rendezvous import Rendezvous
from graph.source import SourceStep
from graph.step import Picky, Step, Way, Wiring
from graph.transport import memory
from graph.transport.link import Link
from graph.transport.memory import Handle
from graph.transport.outlet import Outlet
from graph.work import WorkStep
from graph.worker import Worker

OnFailure = Callable[[CauceError], None]


class Lender(Way, Protocol):
    """A way out of the process, with memory that is best written to."""

    def loan(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A writable array of undefined content."""
        ...


class Assembly:
    """All that one part of a graph consists of, wired. Knows nothing of how it is started and stopped."""

    def __init__(
        self, part: Part, books: Books, builder: Builder, on_failure: OnFailure, *, rings: Mapping[Output, Handle]
    ) -> None:
        self.part, self.books, self.on_failure = part, books, on_failure
        self._builder = builder
        self.workers: dict[str, Worker] = {}
        """The threads, by name."""
        self.homes: dict[str, Worker] = {}
        """The same by the names of their nodes."""
        self.mailboxes: dict[PlannedEdge, Mailbox] = {}
        self.matched: dict[PlannedEdge, MatchingMailbox] = {}
        """Those of them from which is taken by capture."""
        self.meetings: dict[str, Rendezvous] = {}
        """Where the inputs of a node meet, by node."""
        self.outlets: dict[Output, Lender] = {}
        self.links: dict[PlannedEdge, Link] = {}
        self.steps: dict[str, Step] = {}
        self._make_workers()
        self._make_mailboxes()
        self._make_outlets(rings)
        for node in part.nodes.values():
            self.steps[node.name] = self._step(node)
            self.homes[node.name].steps.append(self.steps[node.name])
        for edge in self.mailboxes:
            self._shorten(edge)

    def _make_workers(self) -> None:
        far = {e.source for e in self.part.leaving} | {e.target for e in self.part.arriving}
        listening = {n.worker.thread for n in self.part.nodes.values() if n.name in far}
        for node in self.part.nodes.values():
            thread = node.worker.thread
            if thread not in self.workers:
                bell = SocketBell(thread) if thread in listening else Bell()
                self.workers[thread] = Worker(thread, bell, self._context(node.worker))
            worker = self.homes[node.name] = self.workers[thread]
            worker.watches_clock |= node.watches_clock
        for worker in self.workers.values():  # what comes first to a join only waits for the rest
            worker.preempts = sum(self.homes[e.target] is worker for e in self.part.arriving) == 1

    def _context(self, spec: WorkerSpec) -> Callable[[], AbstractContextManager[Any]] | None:
        """What makes that which a worker works in."""
        return partial(self._builder.instantiate, spec.context) if spec.context else None

    def _make_mailboxes(self) -> None:
        for node in self.part.nodes.values():
            matches = len(node.edges) > 1 or node.spec.batch is not None
            for edge in node.edges:
                consumer = self.homes[edge.target]
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
                    box.on_room = self.homes[edge.source].bell
                self.mailboxes[edge] = box
                if isinstance(box, MatchingMailbox):
                    self.matched[edge] = box
                    box.copies = 1 if self.part.lossless else edge.copies
            if node.meets:
                self.meetings[node.name] = Rendezvous(self.mailboxes[e] for e in node.edges)

    def _make_outlets(self, rings: Mapping[Output, Handle]) -> None:
        for output, spec in self.part.rings.items():
            ring = memory.writer(rings[output], spec)
            links = [
                Link(e, ring, self.homes[e.source].bell, self.books.links[e])
                for e in self.part.leaving
                if (e.source, e.output) == output
            ]
            self.outlets[output] = Outlet(ring, links)
            self.links |= {link.edge: link for link in links}

    def _step(self, node: PlannedNode) -> Step:
        outputs: dict[str, list[Way]] = {name: [] for name in node.ports.outputs}
        for edge, box in self.mailboxes.items():
            if edge.source == node.name:
                outputs[edge.output].append(Picky(box, edge.origins) if edge.is_picky else box)
        lenders = {}
        for (source, output), outlet in self.outlets.items():
            if source == node.name:
                outputs[output].append(outlet)
                lenders[output] = outlet.loan
        wiring = Wiring(
            outputs,
            on_failure=self.on_failure,
            lenders=lenders,
            tally=self.books.nodes[node.name],
            is_live=not self.part.lossless,
        )
        if node.is_source:
            door = Door(node.spec.in_flight, self.homes[node.name].bell.ring)
            lossless, frames = self.part.lossless, self.part.frames
            return SourceStep(node, wiring, self._builder, door=door, lossless=lossless, frames=frames)
        if node.spec.batch is not None:
            lossless, home = self.part.lossless, self.homes[node.name]
            return BatchStep(node, wiring, self._builder, mailboxes=self.matched, home=home, lossless=lossless)
        is_sole = len(node.edges) == 1
        inbox = self.mailboxes[node.edges[0]] if is_sole else JoinInbox(node, self.matched, self.part.lossless)
        return WorkStep(node, wiring, self._builder, inbox=inbox, home=self.homes[node.name])

    def _shorten(self, edge: PlannedEdge) -> None:
        """Let packets skip the mailbox where it would hand over within one thread and has nothing to decide."""
        target = self.direct(edge)
        if target is not None and self.homes.get(edge.source) is self.homes[edge.target]:
            gives = self.steps[edge.source].targets[edge.output]
            gives[gives.index(self.mailboxes[edge].offer)] = target.receive

    def direct(self, edge: PlannedEdge) -> WorkStep | None:
        """The step at the end of an edge, where it may be given what comes and its mailbox has nothing to decide."""
        target = self.steps[edge.target]
        plain = edge.every == 1 and edge.max_age_ms is None and len(target.planned.edges) == 1
        plain = plain and not edge.is_picky and target.spec.batch is None  # which has to see how many wait
        return target if plain and isinstance(target, WorkStep) else None
