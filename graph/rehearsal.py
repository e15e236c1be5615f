"""What a worker does shortly before a message is due: it plays one through, to nobody, so that caches have its way.

From one frame to the next a processor forgets the code that a message passes. To fetch it again takes as long as all
the rest of a short hop (docs/decisions/005), and a worker has the time for it while it waits. So it sends a message to
itself, through what real ones come through, and that ends at a node of its own.

It does so at most once for each message that has come: a worker to which nothing comes sleeps.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from graph.bell import SocketBell
from graph.build import Builder
from graph.mailbox import Mailbox
from graph.node import Node, Stamp
from graph.placement import WorkerSpec
from graph.plan import PlannedEdge, PlannedNode
from graph.ports import ports_of
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
        self._stage = Stage()
        self.count = 0
        """How many there were."""

    def follow(self, step: Step) -> None:
        """Rehearse for the messages of a node. Callable while the worker runs."""
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
            self._stage.play()
        return next_ns

    def close(self) -> None:
        """Release what rehearsals need, when the worker has ended."""
        self._stage.close()


@dataclass(frozen=True, slots=True)
class Line:
    """What is said in a rehearsal."""

    pixels: npt.NDArray[np.uint8]
    """(n,), in a slot."""
    words: npt.NDArray[np.uint8]
    """(m,), so short that they go with the message."""


class Nobody(Node):
    """Listens to rehearsals."""

    def process(self, line: Line) -> None:
        """Do nothing."""


class Stage:
    """An edge from a process to itself, with the node at its end."""

    stopping = False

    def __init__(self) -> None:
        edge = PlannedEdge("", "", "nobody", "line", Line, policy="latest", capacity=1)
        node = PlannedNode(
            NodeSpec("nobody", f"{__name__}.Nobody", {}), ports_of(Nobody), WorkerSpec("", "inline"), (edge,), {}, {}
        )
        spec = RingSpec(slots=4, slot_bytes=2 * SMALL, touched=4, readers=1)
        ours, theirs = socket.socketpair()
        self._bell = bell = SocketBell("rehearsal", has_help=False)
        mailbox = Mailbox(edge.capacity, bell=bell)
        wiring = Wiring(tally=Tally(is_sink=False))
        self._step = WorkStep(node, wiring, Builder([__name__]), inbox=mailbox, home=self)
        self._step.setup()
        handle = memory.create(spec)
        try:
            ring = memory.writer(handle, spec)
            self._link = Link(edge, ring, bell, EdgeTally())
            self._outlet = Outlet(ring, [self._link])
            reader = memory.reader(handle, spec)
            self._inlet = Inlet(mailbox, bell, theirs, reader, on_error=_raised, taker=self._step)
        finally:
            memory.close(handle)
        self._link.connect(ours, is_new=True, counts_captures=False)
        self._inlet.drain()
        self._link.drain()
        self._words = np.zeros(SMALL // 64, np.uint8)
        self._bell.wait(0)
        self.play()  # the first message tells the form of all others

    def play(self) -> None:
        """Say a line, and hear it."""
        self._step.advance()
        now_ns = monotonic_ns()
        line = Line(self._outlet.loan((2 * SMALL,), BYTE), self._words)
        self._outlet.offer(Stamp("", 0, now_ns), line, now_ns, None)
        del line
        self._bell.wait(0)

    @property
    def heard(self) -> int:
        """How many lines have come to the node."""
        return self._step.tally.steps

    def close(self) -> None:
        """Release all that it holds."""
        self._step.close()
        self._link.close()
        self._inlet.close()
        self._bell.close()


def _raised(e: Exception) -> Any:
    raise e
