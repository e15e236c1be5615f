"""What a run holds of one of its processes: starts it, tells it what to do, hears how it is, and ends it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from threading import Thread
from time import monotonic, sleep
from typing import Any

from graph import logs, procfs
from graph.books import Books
from graph.build import Builder
from graph.child import HEARD_BY_PARENT
from graph.control import Closed, Control
from graph.partition import Output, Part
from graph.placement import WorkerSpec
from graph.plan import PlannedEdge
from graph.spec import NodeSpec
from graph.supervise import Restarts
from graph.tally import BUSY_SINCE, Block
from graph.transport import copies, memory
from graph.transport.memory import Handle
from graph.transport.ring import RingSpec

log = logging.getLogger(__name__)
LAST_WORDS_S = 0.2  # for what a process has said to be heard when it has ended
STACK_S = 0.1  # for a process to print where it hangs, before it is ended
_MAIN = "import sys; sys.path[:] = {path!r}; from graph.child import main; main({fd}, {parent})"

OnEvent = Callable[["Process", str, Any], None]
"""Told, in any thread, what happens to a process: "ready", "failed" with the error, "died"."""


class Process:
    """One process worker, from its first start over all restarts to its end. Its counts outlive it."""

    def __init__(self, part: Part, worker: WorkerSpec, builder: Builder, on_event: OnEvent) -> None:
        self.part, self.worker = part, worker
        self._builder, self._on_event = builder, on_event
        self._block = Block(Books.size(part))
        self.books = Books(part, self._block)
        self.restarts = Restarts(min((node.spec for node in part.nodes.values()), key=_patience))
        self.facts: Mapping[str, Mapping[str, Mapping[str, str]]] = {}
        self.said: Mapping[str, str] = {}
        self.over: Future[None] = Future()
        """Done when its nodes have ended, or will never run again."""
        self.is_up = self.is_ready = self.is_gone = False
        self.started_at = 0.0
        self.delivered_before = dict.fromkeys(part.arriving, 0)
        """What became of its packets before it was started last, by edge: how many were settled then."""
        self._closed: Future[list[str]] = Future()
        self._popen: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None
        self._listener: Thread | None = None
        self._killed_for = ""
        self.is_to_restart = False
        """Whether it was ended in order to be started again, whatever its nodes say of errors."""

    @property
    def pid(self) -> int | None:
        """Its number, while it runs."""
        return self._popen.pid if self._popen is not None and self.is_up else None

    def spawn(self, rings: Mapping[Output, Handle]) -> None:
        """Start it, with new memory for what it sends."""
        ours, theirs = socket.socketpair()
        main = _MAIN.format(path=sys.path, fd=theirs.fileno(), parent=os.getpid())
        # Ctrl-C goes to all of a terminal's processes; a new one lets it wait until it can say that it does not mind.
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD_BY_PARENT)
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", main],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                close_fds=True,
                env=copies.environment(os.environ),
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        theirs.close()
        control = self._control = Control(ours)
        self.is_up, self.is_ready = True, False
        self.is_to_restart, self._killed_for = False, ""
        self.started_at = monotonic()
        level = logging.getLogger().getEffectiveLevel()
        handles = [rings[output] for output in self.part.rings]
        fds = [self._block.fd, *(h for h in handles if isinstance(h, int))]
        names = [None if isinstance(h, int) else str(h) for h in handles]
        name = f"cauce-{self.part.name}-control"
        self._listener = Thread(target=self._listen, args=(control,), name=name, daemon=True)
        self._listener.start()
        self._tell("start", self.part, self._builder.plugins, level, names, fds=fds)

    def _listen(self, control: Control) -> None:
        """Hear what the process has to say until it is gone."""
        try:
            while True:
                kind, values, _ = control.receive()
                if kind == "words":
                    (self.said,) = values
                elif kind == "log":
                    logs.take_over(self.part.name, values)
                elif kind == "over":
                    (self.facts,) = values
                    self.over.set_result(None)
                elif kind == "closed":
                    self._closed.set_result(values[0])
                else:
                    self._on_event(self, kind, values[0])
        except Closed:
            pass
        self._on_event(self, "died", control)

    def _tell(self, kind: str, *values: Any, fds: tuple[int, ...] | list[int] = ()) -> None:
        """Give a command; one that is dead will be found so by its listener."""
        if self._control is not None and self.is_up:
            try:
                self._control.send(kind, *values, fds=fds)
            except Closed:
                pass

    def connect_out(self, edge: PlannedEdge, end: socket.socket, *, is_new: bool) -> None:
        """See `Site.connect_out`."""
        self._tell("out", edge, is_new, fds=[end.fileno()])
        end.close()

    def connect_in(self, edge: PlannedEdge, end: socket.socket, ring: Handle, spec: RingSpec) -> None:
        """See `Site.connect_in`."""
        if isinstance(ring, int):
            self._tell("in", edge, spec, None, fds=[end.fileno(), ring])
        else:
            self._tell("in", edge, spec, ring, fds=[end.fileno()])
        end.close()
        memory.close(ring)

    def connect_directly(self, edge: PlannedEdge, target: Process, *, is_new: bool) -> bool:
        """Connect with `target` in a way of its own, if there is one; whether there was."""
        return False

    def close_edge(self, edge: PlannedEdge) -> None:
        """See `Site.close_edge`."""
        self._tell("close_edge", edge)

    def set_up(self) -> None:
        """Have it set up its nodes; it answers with "ready" or "failed"."""
        self._tell("set_up")

    def run(self) -> None:
        """Have it step its nodes; `over` tells when they have ended."""
        self._tell("run")

    def stop(self) -> None:
        """Have it return after the steps under way."""
        self._tell("stop")

    def begin_close(self, seconds: float) -> None:
        """Have it close its nodes."""
        self._tell("close", seconds)

    def end(self, deadline: float) -> None:
        """Wait for it to end by itself until `deadline`, then end it."""
        if self._popen is None:
            return
        try:
            self._popen.wait(max(0.0, deadline - monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("placement.%s: its process %d did not end in time; killed", self.part.name, self._popen.pid)
            self._popen.kill()
            self._popen.wait()
        self.is_up = False
        if self._listener is not None:
            self._listener.join(LAST_WORDS_S)
        if self._control is not None:
            self._control.close()

    def kill(self, why: str) -> None:
        """End it at once; its listener will find it dead."""
        if self._popen is not None and self.is_up:
            log.warning("placement.%s: its process %d %s; killed", self.part.name, self._popen.pid, why)
            self._killed_for = why
            self._popen.kill()

    def restart(self, why: str) -> None:
        """End it at once and have it started anew, also where its nodes' errors would end the run."""
        self.is_to_restart = True
        sleep(STACK_S)
        self.kill(why)

    def check(self) -> None:
        """Find out what nobody tells; of a process that is gone, its socket tells."""

    def is_this(self, control: object) -> bool:
        """Whether an event of that connection is about the process that runs now."""
        return control is self._control

    def bury(self) -> str:
        """Take down what a dead process has left, and say how it died. What it was at counts as lost."""
        how = self._take_down()
        self.is_up = self.is_ready = False
        self.books.bury(self.delivered_before)
        return how

    def _take_down(self) -> str:
        assert self._popen is not None
        code = self._popen.wait()
        if self._control is not None:
            self._control.close()
        if self._killed_for:
            return f"{self._killed_for} and was killed"
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def busy_nodes(self) -> list[str]:
        """Nodes that are in a step at this moment."""
        return [name for name, tally in self.books.nodes.items() if tally.cells[BUSY_SINCE]]

    def stack(self) -> str:
        """Has the process print where its threads are, which works also while native code does not return."""
        if self._popen is not None and self.is_ready:
            self._popen.send_signal(signal.SIGUSR1)
        return f"  (the process {self.pid} has printed it)"

    def resident_mb(self) -> float:
        """Memory of its own that it uses; what it shares is not its own."""
        return procfs.resident_mb(self.pid)

    def release(self) -> None:
        """Give up what is held for it; its counts stay readable."""
        self._block.close()


def _patience(spec: NodeSpec) -> tuple[int, float]:
    """The most cautious node of a process decides how often it is started again, and after what pause."""
    return spec.max_restarts, -spec.backoff_s
