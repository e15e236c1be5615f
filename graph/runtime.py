"""Runs a plan: starts in order, watches, stops in reverse, and always comes back in bounded time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Literal

from graph.build import Builder
from graph.errors import CauceError
from graph.join import JoinInbox
from graph.mailbox import Mailbox
from graph.packet import Door
from graph.plan import Plan, PlannedEdge, PlannedNode
from graph.source import SourceStep
from graph.step import Step, Wiring
from graph.supervise import StallDetector, stack_of
from graph.tally import EdgeReading, NodeReading
from graph.work import WorkStep
from graph.worker import Worker

log = logging.getLogger(__name__)
TICK_S = 0.1
STOP_S = 0.7  # for the steps under way to return
CLOSE_S = 0.9  # for all nodes together to close; with STOP_S it stays under the 2 s that a stop may take
FINISH_S = 30.0  # for nodes to close after a stream that ended by itself, when nobody waits impatiently

End = Literal["finished", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended."""

    end: End
    error: CauceError | None
    stuck: tuple[str, ...]
    """Nodes that did not return; their threads are still there, so the process must be left by `os._exit`."""


class _Stopped(Exception):
    """A stop was asked for."""


class Runtime:
    """One run of a plan. Made, run once, then read."""

    def __init__(
        self,
        plan: Plan,
        builder: Builder | None = None,
        *,
        frames: int | None = None,
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self.plan = plan
        self._builder, self._frames, self._on_tick = builder or Builder(), frames, on_tick
        self._events: SimpleQueue[CauceError | str | None] = SimpleQueue()
        self._workers: dict[str, Worker] = {}
        self._homes: dict[str, Worker] = {}
        self._mailboxes: dict[PlannedEdge, Mailbox] = {}
        self.steps: dict[str, Step] = {}
        self._wire()

    def _wire(self) -> None:
        """Make workers, mailboxes and steps, and connect them."""
        for node in self.plan.nodes.values():
            thread = node.worker.thread
            worker = self._homes[node.name] = self._workers.setdefault(thread, Worker(thread))
            worker.watches_clock |= _aligns(node)
        for edge in self.plan.edges:
            consumer = self._homes[edge.target]
            box = Mailbox(
                edge.capacity,
                bell=consumer.bell,
                policy=edge.policy,
                every=edge.every,
                tells_absence=edge.tells_absence,
            )
            if edge.policy == "block" and self._homes[edge.source] is not consumer:
                box.on_room = self._homes[edge.source].bell
            self._mailboxes[edge] = box
        for node in self.plan.nodes.values():
            self.steps[node.name] = self._step(node)
            self._homes[node.name].steps.append(self.steps[node.name])
        for edge in self.plan.edges:
            self._shorten(edge)

    def _step(self, node: PlannedNode) -> Step:
        outputs: dict[str, list[Mailbox]] = {name: [] for name in node.ports.outputs}
        for edge, box in self._mailboxes.items():
            if edge.source == node.name:
                outputs[edge.output].append(box)
        wiring = Wiring(outputs, self._events.put)
        if node.is_source:
            door = Door(node.spec.in_flight, self._homes[node.name].bell.ring)
            return SourceStep(node, wiring, self._builder, door=door, lossless=self.plan.lossless, frames=self._frames)
        sole = self._mailboxes[node.edges[0]] if len(node.edges) == 1 else None
        inbox = JoinInbox(node, self._mailboxes, self.plan.lossless) if sole is None else sole
        return WorkStep(node, wiring, self._builder, inbox=inbox, home=self._homes[node.name])

    def _shorten(self, edge: PlannedEdge) -> None:
        """Let packets skip the mailbox where it would hand over within one thread and has nothing to decide."""
        source, target = self.steps[edge.source], self.steps[edge.target]
        plain = edge.every == 1 and edge.max_age_ms is None and len(target.planned.edges) == 1
        if plain and self._homes[edge.source] is self._homes[edge.target] and isinstance(target, WorkStep):
            gives = source.targets[edge.output]
            gives[gives.index(self._mailboxes[edge].offer)] = target.receive

    def stop(self) -> None:
        """Ask the run to stop. Callable from any thread and from a signal handler, at any moment."""
        self._events.put("stop")

    def run(self) -> Result:
        """Run until the sources end, a stop is asked for, or a node fails for good; close everything."""
        end: End = "finished"
        error: CauceError | None = None
        for worker in self._workers.values():
            worker.start()
        loops: dict[str, Future[Any]] = {}
        try:
            self._set_up()
            loops = {name: w.call(w.step_all) for name, w in self._workers.items()}
            self._watch(list(loops.values()))
        except _Stopped:
            end = "stopped"
        except CauceError as e:
            end, error = "failed", e
        stuck = self._shut_down(loops, bounded=end != "finished")
        return Result(end, error, tuple(stuck))

    def _set_up(self) -> None:
        for name, step in self.steps.items():
            log.debug("setting up %s", name)
            self._wait(self._homes[name].call(step.setup))

    def _watch(self, loops: Sequence[Future[Any]]) -> None:
        detector = StallDetector(self.steps.values())
        for loop in loops:
            loop.add_done_callback(lambda _: self._events.put(None))
        while not all(loop.done() for loop in loops):
            self._next_event()
            if (stalled := detector.look()) is not None:
                raise stalled
        for loop in loops:
            loop.result()
        while not self._events.empty():
            self._next_event()

    def _wait(self, future: Future[Any]) -> None:
        """Wait for a call to return, open to stops and failures meanwhile."""
        future.add_done_callback(lambda _: self._events.put(None))
        while not future.done():
            self._next_event()
        future.result()

    def _next_event(self) -> None:
        try:
            event = self._events.get(timeout=TICK_S)
        except Empty:
            event = None
        self._on_tick()
        if event == "stop":
            raise _Stopped
        if isinstance(event, CauceError):
            raise event

    def _shut_down(self, loops: Mapping[str, Future[Any]], *, bounded: bool) -> list[str]:
        """Stop all workers, then close all nodes in reverse order; the names of nodes that did not return."""
        for worker in self._workers.values():
            worker.stop()
        for step in self.steps.values():
            if step.node is not None:
                step.node.interrupt()
        deadline = monotonic() + STOP_S
        for loop in loops.values():
            _settle(loop, deadline)
        deadline = monotonic() + (CLOSE_S if bounded else FINISH_S)
        closings = {name: self._homes[name].call(step.close) for name, step in reversed(self.steps.items())}
        stuck = [name for name, closing in closings.items() if not _settle(closing, deadline)]
        for name in stuck:
            worker = self._homes[name]
            log.warning(
                "nodes.%s: did not stop in time; its worker %r is here:\n%s", name, worker.name, stack_of(worker.thread)
            )
        for box in self._mailboxes.values():
            box.clear("stopped")
        for worker in self._workers.values():
            worker.end()
        for worker in self._workers.values():
            worker.thread.join(max(0.0, deadline - monotonic()) if not stuck else 0.0)
        return stuck

    def read_nodes(self) -> list[NodeReading]:
        """The counts of all nodes at this moment."""
        return [NodeReading(n, s.planned.is_sink, s.tally, s.facts) for n, s in self.steps.items()]

    def read_edges(self) -> list[EdgeReading]:
        """The counts of all edges at this moment, and of what sources lost or did not let in."""
        readings = [
            EdgeReading(e.name, len(b), b.taken + b.handed, dict[str, int](**b.dropped))
            for e, b in self._mailboxes.items()
        ]
        for name, step in self.steps.items():
            if step.planned.is_source:
                lost = {"in_flight": step.tally.at_door, "source_gap": step.tally.gaps}
                readings.append(EdgeReading(name, 0, step.tally.steps - step.tally.at_door, lost))
        return readings


def _settle(future: Future[Any], deadline: float) -> bool:
    """Wait until a call has returned or the deadline has passed; whether it has returned."""
    try:
        future.exception(timeout=max(0.0, deadline - monotonic()))
    except TimeoutError:
        return False
    return True


def _aligns(node: PlannedNode) -> bool:
    """Whether the node combines captures of different origins, for which it waits by the clock."""
    triggers = [e for e in node.edges if e.policy != "hold"]
    return len({e.port for e in triggers}) > 1 and len({o for e in triggers for o in e.origins}) > 1
