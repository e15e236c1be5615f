"""What a worker does shortly before a message is due: it plays one through, to nobody, so that caches have its way.

From one frame to the next a processor forgets the code that a message passes. To fetch it again takes as long as all
the rest of a short hop (docs/decisions/005), and a worker has the time for it while it waits. So it sends a message to
itself, through what real ones come through, and that ends at a node of its own. This is known as cache warming.

It does so at most once for each message that has come: a worker to which nothing comes sleeps.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from graph.bell import SocketBell
from graph.build import Builder
from graph.join import JoinInbox
from graph.mailbox import Mailbox
from graph.matching import MatchingMailbox
from graph.node import Node, Stamp
from graph.placement import WorkerSpec
from graph.plan import PlannedEdge, PlannedNode
from graph.ports import ports_of
from graph.rendezvous import Rendezvous
from graph.spec import NodeSpec
from graph.step import Step, Wiring
from graph.tally import EdgeTally, Tally
from graph.transport import memory
from graph.transport.flat import SMALL
from graph.transport.inlet import Inlet
from graph.transport.link import Link
from graph.transport.outlet import Outlet
from graph.transport.ring import BYTE, RingSpec
from graph.work import WorkStep

LEAD_NS = 4_000_000  # before a message is due: cameras are more exact, and caches do not forget so fast
REST_NS = 3_000_000  # who rests for less has not forgotten either
LONGEST_NS = 1_000_000_000  # between messages: what comes more seldom does not come by a clock


class Pace:
    """When a node's next step is due, by when those before it began."""

    def __init__(self) -> None:
        self.due_ns = 0
        """When to rehearse it; 0: not before it has made another step."""
        self._began_ns = self._gap_ns = 0

    def look(self, began_ns: int, now_ns: int) -> None:
        """Hear when its last step began."""
        if began_ns == self._began_ns:
            return
        gap_ns, before_ns = began_ns - self._began_ns, self._gap_ns
        self._began_ns, self._gap_ns = began_ns, gap_ns
        least_ns = min(gap_ns, before_ns)
        due_ns = began_ns + least_ns - LEAD_NS
        self.due_ns = due_ns if due_ns - now_ns > REST_NS and least_ns < LONGEST_NS else 0


class Rehearsal:
    """The rehearsals of one worker, for those of its nodes that have messages from other processes."""

    def __init__(self) -> None:
        self._paces: dict[Step, Pace] = {}
        self._loopbacks: dict[type[Node], Loopback] = {}
        self.count = 0
        """How many there were."""

    def follow(self, step: Step) -> None:
        """Rehearse for the messages of a node. Callable while the worker runs."""
        kind = Listener if len(step.planned.edges) == 1 else Joiner
        if kind not in self._loopbacks:
            self._loopbacks = {**self._loopbacks, kind: Loopback(kind)}
        self._paces = {step: Pace(), **self._paces}

    def look(self) -> int:
        """Rehearse if a message is due; when to look again, on the monotonic clock; 0: after another step."""
        now_ns = monotonic_ns()
        next_ns, is_due = 0, False
        for step, pace in self._paces.items():
            pace.look(step.began_ns, now_ns)
            if not pace.due_ns:
                continue
            if pace.due_ns <= now_ns:
                pace.due_ns, is_due = 0, True
            else:
                next_ns = min(next_ns or pace.due_ns, pace.due_ns)
        if is_due:
            self.count += 1
            for loopback in self._loopbacks.values():
                loopback.play()
        return next_ns

    def close(self) -> None:
        """Release what rehearsals need, when the worker has ended."""
        for loopback in self._loopbacks.values():
            loopback.close()


@dataclass(frozen=True, slots=True)
class Line:
    """What is said in a rehearsal."""

    pixels: npt.NDArray[np.uint8]
    """(n,), in a slot."""
    words: npt.NDArray[np.uint8]
    """(m,), so short that they go with the message."""


class Listener(Node):
    """Hears rehearsals in place of nodes with one edge, which may be given a message past the mailbox."""

    def process(self, a: Line) -> None:
        """Do nothing."""


class Joiner(Node):
    """Hears them in place of nodes with several, whose messages wait for each other."""

    def process(self, a: Line, b: Line) -> None:
        """Do nothing."""


class Loopback:
    """Edges from a process to itself, with a node at their end."""

    stopping = False

    def __init__(self, kind: type[Node]) -> None:
        ports = ports_of(kind)
        edges = tuple(_edge(port, joins=len(ports.inputs) > 1) for port in ports.inputs)
        spec = NodeSpec("nobody", f"{__name__}.{kind.__name__}", {})
        node = PlannedNode(spec, ports, WorkerSpec("", "inline"), edges, {}, {})
        self._bell = SocketBell("rehearsal", has_help=False)
        boxes: Mapping[PlannedEdge, Mailbox]  # of the classes that real ones have: caches tell them apart
        inbox: Mailbox | JoinInbox
        meeting = None
        if len(edges) > 1:
            boxes = matched = {e: MatchingMailbox(e.capacity, bell=self._bell, tells_absence=True) for e in edges}
            inbox, meeting = JoinInbox(node, matched, lossless=False), Rendezvous(matched.values())
        else:
            inbox = Mailbox(edges[0].capacity, bell=self._bell)
            boxes = {edges[0]: inbox}
        self._step = WorkStep(node, Wiring(tally=Tally(is_sink=False)), Builder([__name__]), inbox=inbox, home=self)
        self._step.setup()
        self._ends = [self._connected(e, boxes[e], meeting) for e in edges]
        self._words = np.zeros(SMALL // 64, np.uint8)
        self._seq = 0
        self._bell.wait(0)
        self.play()  # the first message tells the form of all others

    def _connected(self, edge: PlannedEdge, mailbox: Mailbox, meeting: Rendezvous | None) -> tuple[Outlet, Link, Inlet]:
        """Both ends of an edge."""
        taker = self._step if meeting is None else None
        spec = RingSpec(slots=4, slot_bytes=2 * SMALL, touched=4, readers=1)
        ours, theirs = socket.socketpair()
        handle = memory.create(spec)
        try:
            ring = memory.writer(handle, spec)
            link = Link(edge, ring, self._bell, EdgeTally())
            reader = memory.reader(handle, spec)
            inlet = Inlet(mailbox, self._bell, theirs, reader, on_error=_raised, taker=taker, meeting=meeting)
        finally:
            memory.close(handle)
        outlet = Outlet(ring, [link])
        link.connect(ours, is_new=True, counts_captures=False)
        inlet.drain()
        link.drain()
        return outlet, link, inlet

    def play(self) -> None:
        """Say a line on each edge, and hear them."""
        self._step.advance()
        self._seq += 1
        now_ns = monotonic_ns()
        for outlet, _, _ in self._ends:
            line = Line(outlet.loan((2 * SMALL,), BYTE), self._words)
            outlet.offer(Stamp("", self._seq, now_ns), line, now_ns, None)
        del line
        self._bell.wait(0)
        self._step.advance()

    @property
    def heard(self) -> int:
        """How many lines, or pairs of them, have come to the node."""
        return self._step.tally.steps

    def close(self) -> None:
        """Release all that it holds."""
        self._step.close()
        for _, link, inlet in self._ends:
            link.close()
            inlet.close()
        self._bell.close()


def _edge(port: str, *, joins: bool) -> PlannedEdge:
    return PlannedEdge(
        "", "", "nobody", port, Line, policy="latest", capacity=1, origins=frozenset({""}), tells_absence=joins
    )


def _raised(e: Exception) -> Any:
    raise e
