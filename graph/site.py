"""The part of a graph that runs in one process: connects it with the others, starts it, and comes to an end with it.

The same in the process that was started by hand and in each of its children; `graph/process.py` is what the former
holds of the latter.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Any

from graph.assembly import Assembly
from graph.errors import CauceError, NodeError, translated
from graph.futures import all_of, in_turn, settled
from graph.plan import PlannedEdge
from graph.rehearsal import Rehearsal
from graph.supervise import stack_of
from graph.transport import memory
from graph.transport.inlet import Inlet
from graph.transport.memory import Handle
from graph.transport.ring import RingSpec
from graph.work import WorkStep

log = logging.getLogger(__name__)


class Site:
    """One part of a graph at work. Set up, run and closed once."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self.part, self.books, self.steps = assembly.part, assembly.books, assembly.steps
        self._workers, self._homes, self._mailboxes = assembly.workers, assembly.homes, assembly.mailboxes
        self._inlets: dict[PlannedEdge, Inlet] = {}
        self._stopping = False

    def connect_out(self, edge: PlannedEdge, end: socket.socket, *, is_new: bool) -> None:
        """Send what leaves by `edge` to `end`, which becomes ours; `is_new`: its consumer has just been started."""
        self.assembly.links[edge].connect(end, is_new=is_new, counts_captures=self.part.counts_captures)

    def connect_in(self, edge: PlannedEdge, end: socket.socket, ring: Handle, spec: RingSpec) -> None:
        """Take what arrives by `edge` from `end`, which becomes ours as `ring` does."""
        if (before := self._inlets.get(edge)) is not None:
            before.drain()
            before.close()
        worker = self._homes[edge.target]
        worker.preempts &= spec.readers == 1  # whoever has others to tell as well must be let go on
        try:
            inlet = self._inlets[edge] = Inlet(
                self._mailboxes[edge],
                worker.bell,
                end,
                memory.reader(ring, spec),
                on_error=partial(self._unreadable, edge),
                taker=self.assembly.direct(edge),
                meeting=self.assembly.meetings.get(edge.target),
            )
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
        self._mailboxes[edge].close()

    def _unreadable(self, edge: PlannedEdge, e: Exception) -> None:
        if isinstance(error := translated(e), CauceError):
            self.assembly.on_failure(error)
            return
        cause = f"{edge.name}: {type(e).__name__}: {e}; the class of a message must be importable in every process"
        self.assembly.on_failure(NodeError(edge.target, "receive", cause))

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
        for link in self.assembly.links.values():
            link.close()
        for inlet in self._inlets.values():
            inlet.close()
        for box in self._mailboxes.values():  # now that nothing comes any more
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
