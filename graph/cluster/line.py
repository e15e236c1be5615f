"""One life of an actor as the run sees it: a thread that carries commands and messages to it, and its news back."""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from threading import Thread, current_thread
from time import monotonic, monotonic_ns
from typing import Any

from graph.bell import SocketBell
from graph.cluster.lane import Landing, Lane
from graph.cluster.pull import Puller, Reader, Shelf
from graph.partition import Output
from graph.plan import PlannedEdge
from graph.tally import EdgeTally
from graph.transport import memory, wire
from graph.transport.memory import Handle, Writer
from graph.transport.ring import RingSpec

log = logging.getLogger(__name__)
CLOCK_ROUNDS = 5

Heard = Callable[["Line", str, Any], None]
"""Told, in the line's thread: "report" with one; "up"; "died" and "refused" with the exception."""


class Line:
    """An actor from its start to its death. A new one of the same worker gets a new line."""

    def __init__(self, name: str, handle: Any, edges: Sequence[PlannedEdge], generation: int, heard: Heard) -> None:
        self.handle, self.generation = handle, generation
        self.is_made = False
        """Whether the actor has found a place and answers."""
        self.theta_ns = 0
        self.heard_at = monotonic()
        self.lanes: dict[PlannedEdge, Lane] = {}
        self.landings: dict[PlannedEdge, Landing] = {}
        self._index = {e: i for i, e in enumerate(edges)}
        self._heard = heard
        self._pullers: dict[PlannedEdge, Puller] = {}
        self._rings: dict[Output, Writer] = {}
        self._work: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._closed = self._is_dead = False
        self._commands = count()
        self._bell = SocketBell(f"{name}-line")
        self._thread = Thread(target=self._serve, name=f"cauce-{name}-line", daemon=True)

    def start(self, started: Callable[[int], Any]) -> None:
        """Start the thread; `started` tells what to start the actor with, by how far its clock is ahead."""
        self._post(self._begin, started)
        self._thread.start()

    def _post(self, function: Callable[..., None], *args: Any) -> None:
        self._work.append((function, args))
        self._bell.ring()

    def tell(self, kind: str, *values: Any) -> None:
        """Give a command."""
        self._post(self._call, kind, values)

    def _call(self, kind: str, values: tuple[Any, ...]) -> None:
        number = next(self._commands)
        self.handle.tell.remote(number, kind, values).future().add_done_callback(self._answered)

    def connect_in(
        self, edge: PlannedEdge, end: socket.socket, ring: Handle, spec: RingSpec, *, shelf: Shelf | None
    ) -> None:
        """See `Site.connect_in`."""
        if edge not in self.lanes:
            lane = Lane(edge, self._index[edge], self.handle, self._bell, shelf, self._post)
            self.lanes = {**self.lanes, edge: lane}
        self.lanes[edge].connect(end, ring, spec)

    def connect_out(
        self,
        edge: PlannedEdge,
        end: socket.socket,
        ring: tuple[Handle, RingSpec],
        before: EdgeTally,
        *,
        is_new: bool,
        counts_captures: bool,
    ) -> None:
        """See `Site.connect_out`."""
        output = (edge.source, edge.output)
        if edge not in self.landings:
            if output not in self._rings:
                self._rings[output] = memory.writer(*ring)
            landing = Landing(edge, self._rings[output], self._bell, before)
            self.landings = {**self.landings, edge: landing}
            reader = Reader(self.generation)
            puller = Puller(self.handle, edge, self._index[edge], reader, landing, self._post)
            self._pullers = {**self._pullers, edge: puller}
        self.landings[edge].connect(end, is_new=is_new, counts_captures=counts_captures)

    def _serve(self) -> None:
        while not self._closed:
            try:
                while self._work and not self._closed:
                    function, args = self._work.popleft()
                    function(*args)
                    del function, args
                if self.is_made and not self._closed:
                    for lane in self.lanes.values():
                        lane.pump()
                    for puller in self._pullers.values():
                        puller.pump()
            except Exception as e:
                self._lost(e)
                return
            if not self._work:
                self._bell.wait()

    def _begin(self, started: Callable[[int], Any]) -> None:
        self.theta_ns = self._clock_ahead_ns()
        self.handle.start.remote(started(self.theta_ns)).future().add_done_callback(self._started)

    def _clock_ahead_ns(self) -> int:
        """How far the actor's clock is ahead: 0 where no difference can be told from the time of a call."""
        import ray

        best = (1 << 62, 0)
        for _ in range(CLOCK_ROUNDS):
            sent_ns = monotonic_ns()
            theirs: int = ray.get(self.handle.clock.remote())
            came_ns = monotonic_ns()
            best = min(best, (came_ns - sent_ns, theirs - (sent_ns + came_ns) // 2))
        round_trip_ns, ahead_ns = best
        return ahead_ns if abs(ahead_ns) > round_trip_ns else 0

    def _started(self, future: Any) -> None:
        if future.exception() is not None:
            self._answered(future)
        else:
            self._post(self._made)

    def _made(self) -> None:
        self.is_made = True
        self.heard_at = monotonic()
        self._heard(self, "up", None)
        self._ask()

    def _ask(self) -> None:
        """Have the actor tell its news: it answers after a moment, or at once when there are any."""
        self.handle.report.remote().future().add_done_callback(self._reported)

    def _reported(self, future: Any) -> None:
        if future.exception() is not None:
            self._answered(future)
        else:
            self._post(self._news, future.result())

    def _news(self, report: Any) -> None:
        self.heard_at = monotonic()
        self._heard(self, "report", report)
        if not self._closed:
            self._ask()

    def _answered(self, future: Any) -> None:
        """In a thread of Ray's."""
        if (error := future.exception()) is not None:
            self._post(self._lost, error)

    def _lost(self, error: Exception) -> None:
        from ray.exceptions import RayTaskError

        if not (self._is_dead or self._closed):
            self._is_dead = True
            refused = isinstance(error, RayTaskError | wire.Unsendable)
            self._heard(self, "refused" if refused else "died", error)

    def where(self, seconds: float) -> str:
        """Where the threads of the actor are; says so when it does not answer."""
        import ray

        try:
            text: str = ray.get(self.handle.where.remote(), timeout=seconds)
        except Exception as e:
            return f"  (it does not answer: {type(e).__name__})"
        return text

    def close(self) -> None:
        """End the actor and all that leads to it."""
        import ray

        if self._closed:
            return
        self._closed = True
        try:
            ray.kill(self.handle, no_restart=True)
        except Exception as e:
            log.debug("an actor could not be ended: %s", e)
        self._bell.ring()
        if self._thread.is_alive() and current_thread() is not self._thread:
            self._thread.join(1.0)
        for lane in self.lanes.values():
            lane.close()
        for landing in self.landings.values():
            landing.close()
        if not self._thread.is_alive():
            self._bell.close()
