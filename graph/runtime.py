"""Runs a plan: starts in order, watches, stops in reverse, and always comes back in bounded time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Literal

from graph import partition
from graph.assembly import Assembly
from graph.books import Books
from graph.build import Builder
from graph.errors import CauceError, translated
from graph.futures import settled
from graph.health import Health
from graph.placement import HERE
from graph.plan import Plan
from graph.processes import Processes, Told
from graph.reading import EdgeReading, NodeReading
from graph.site import Site
from graph.standstill import StandstillDetector
from graph.step import Step
from graph.supervise import StallDetector, Watched
from graph.tally import Tally

log = logging.getLogger(__name__)
TICK_S = 0.1
STOP_S = 0.6  # for the steps under way to return
CLOSE_S = 0.9  # for all nodes together to close; with STOP_S it stays well under the 2 s that a stop may take
RUNNING = "the graph is running"  # what a program that starts another waits for
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
    """One run of a plan. Made, run once, then read.

    Raises:
        WorkerError: There is not enough shared memory for its processes.
    """

    def __init__(
        self,
        plan: Plan,
        builder: Builder | None = None,
        *,
        frames: int | None = None,
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self.plan = plan
        self._on_tick = on_tick
        self._events: SimpleQueue[CauceError | Told | str | None] = SimpleQueue()
        builder = builder or Builder()
        parts = partition.parts(plan, frames)
        here = parts[HERE]
        self.processes = Processes(
            plan,
            parts,
            builder,
            lambda rings: Site(Assembly(here, Books(here), builder, self._events.put, rings=rings)),
            self._events.put,
        )
        self._here = self.processes.here
        self._health = Health(plan, {name: self.tally(name) for name in plan.nodes})

    @property
    def steps(self) -> Mapping[str, Step]:
        """The nodes at work in this process."""
        return self._here.steps

    def tally(self, node: str) -> Tally:
        """The counts of one node, in whatever process."""
        if node in self.steps:
            return self.steps[node].tally
        return self.processes.by_name[self.plan.nodes[node].worker.site].books.nodes[node]

    def stop(self) -> None:
        """Ask the run to stop. Callable from any thread and from a signal handler, at any moment."""
        self.processes.is_stopping = True
        self._events.put("stop")

    def run(self) -> Result:
        """Run until the sources end, a stop is asked for, or a node fails for good; close everything."""
        end: End = "finished"
        error: CauceError | None = None
        loops: list[Future[None]] = []
        try:
            self._set_up()
            self.processes.run()
            loops = [self._here.run(), *(p.over for p in self.processes.by_name.values())]
            log.info(RUNNING)
            self._watch(loops)
        except _Stopped:
            end = "stopped"
        except BaseException as e:
            told = translated(e)
            if not isinstance(told, CauceError):  # Ctrl-C where nobody has asked for a stop instead, or a fault of ours
                self._shut_down(loops, bounded=True)  # all the same, nothing is left behind
                raise
            end, error = "failed", told
        stuck = self._shut_down(loops, bounded=end != "finished")
        return Result(end, error, tuple(stuck))

    def _set_up(self) -> None:
        """All processes at the same time, each its nodes in their order."""
        self._here.start()
        self.processes.start()
        here = self._here.set_up()
        here.add_done_callback(lambda _: self._events.put(None))
        while not (here.done() and self.processes.are_ready):
            self._next_event()
            if here.done():
                here.result()
        here.result()

    def _watch(self, loops: list[Future[None]]) -> None:
        detector = StallDetector(self._watched())
        tallies = {name: self.tally(name) for name in self.plan.nodes}
        standstill = StandstillDetector(self.plan, tallies, lambda: {e.name: e for e in self.read_edges()})
        for loop in loops:
            loop.add_done_callback(lambda _: self._events.put(None))
        while not all(loop.done() for loop in loops):
            self._next_event()
            if (error := detector.look() or standstill.look()) is not None:
                raise error
        for loop in loops:
            loop.result()
        while not self._events.empty():
            self._next_event()

    def _watched(self) -> Iterator[Watched]:
        for name, step in self.steps.items():
            yield Watched(self.plan.nodes[name], step.tally, step.stack)
        for process in self.processes.by_name.values():
            for name, tally in process.books.nodes.items():
                yield Watched(self.plan.nodes[name], tally, process.stack, process.restart)

    def _next_event(self) -> None:
        try:
            event = self._events.get(timeout=TICK_S)
        except Empty:
            event = None
        self._health.look()
        self._on_tick()
        if event == "stop":
            raise _Stopped
        if isinstance(event, CauceError):
            raise event
        if isinstance(event, Told):
            self.processes.hear(event)
        self.processes.tick()

    def _shut_down(self, loops: list[Future[None]], *, bounded: bool) -> list[str]:
        """Stop all workers, then close all nodes in reverse order; the names of nodes that did not return."""
        self.processes.stop()
        self._here.stop()
        deadline = monotonic() + STOP_S
        for loop in loops:
            settled(loop, deadline)
        seconds = CLOSE_S - self.processes.leaving_s if bounded else FINISH_S
        deadline = monotonic() + seconds
        self.processes.begin_close(0.8 * seconds)  # so they tell what hangs before they are ended
        stuck = self._here.close(seconds)
        return stuck + self.processes.end(deadline, is_stuck=bool(stuck))

    def read_nodes(self) -> list[NodeReading]:
        """The counts of all nodes at this moment."""
        return [
            NodeReading(
                name,
                node.is_sink,
                self.tally(name),
                *self._told_by(name),
                is_alive=self._health.is_alive(name),
                rate_is_ok=self._health.rate_is_ok(name),
            )
            for name, node in self.plan.nodes.items()
        ]

    def _told_by(self, name: str) -> tuple[Mapping[str, Mapping[str, str]], str]:
        """The facts of a node, and what it has to say of itself."""
        if (step := self.steps.get(name)) is not None:
            return step.facts, step.node.status() if step.node is not None else ""
        process = self.processes.by_name[self.plan.nodes[name].worker.site]
        return process.facts.get(name, {}), process.said.get(name, "")

    def read_edges(self) -> list[EdgeReading]:
        """The counts of all edges at this moment, and of what sources lost or did not let in."""
        readings = [self.processes.read(edge) for edge in self.plan.edges]
        for node in self.read_nodes():
            if self.plan.nodes[node.name].is_source:
                lost = {"in_flight": node.tally.at_door, "source_gap": node.tally.gaps}
                entered = node.tally.steps - node.tally.at_door
                readings.append(EdgeReading(node.name, sum(lost.values()) + entered, 0, 0, entered, lost))
        return readings
