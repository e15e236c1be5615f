"""A node with inputs at work: one edge, handed over or waiting in a mailbox, or several that are joined."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from time import monotonic_ns
from typing import Any, Protocol

from graph import contracts
from graph.build import Builder
from graph.errors import WrongMessage
from graph.join import JoinInbox
from graph.mailbox import Mailbox
from graph.node import Contract, Stamp
from graph.packet import Ticket
from graph.plan import PlannedEdge, PlannedNode
from graph.step import Step, Wiring
from graph.tally import BOUNDS_NS, BUSY_SEQ, BUSY_SINCE, TOTAL, WAITING

NEVER_NS = 3600 * 10**9


class Home(Protocol):
    """What a step knows of its worker."""

    stopping: bool


class Silence:
    """Since when a node has made no step. It begins with the first: what has not begun cannot be late."""

    def __init__(self, limit_s: float) -> None:
        self._limit_ns = int(limit_s * 1e9)
        self._steps = 0
        self._since_ns = 0
        self._is_told = True

    def look(self, steps: int) -> int:
        """When the silence will have lasted too long, on the monotonic clock; 0: it just has. Once in each silence."""
        now_ns = monotonic_ns()
        if steps != self._steps:
            self._steps, self._since_ns, self._is_told = steps, now_ns, False
        due_ns = self._since_ns + self._limit_ns
        if self._is_told:
            return now_ns + NEVER_NS
        if now_ns < due_ns:
            return due_ns
        self._is_told = True
        return 0


class WorkStep(Step):
    """A node with inputs."""

    def __init__(
        self, planned: PlannedNode, wiring: Wiring, builder: Builder, *, inbox: Mailbox | JoinInbox, home: Home
    ) -> None:
        super().__init__(planned, wiring, builder)
        self._home = home
        self._inbox = inbox
        self._sole_mailbox = inbox if isinstance(inbox, Mailbox) else None
        edge = planned.edges[0]
        self._port = edge.port
        self._max_age_ns = None if edge.max_age_ms is None else edge.max_age_ms * 1e6
        self._stamp_as = planned.ports.stamp
        self._is_sink = planned.is_sink
        self._unchecked = {p: c for p, c in planned.expects.items() if any(e.port == p for e in planned.edges)}
        self._has_prelude = True
        self._tells_absence = any(w.tells_absence for ways in wiring.outputs.values() for w in ways)
        self._took = self.tally.took.cells
        self._silence: Silence | None = None
        self.is_idle = False
        """Whether nothing waited when `advance` was called last, and a message could be processed."""
        self.pulls: Mapping[PlannedEdge, Callable[[], bool]] = {}
        """By edges from other processes that keep their messages: take in what has come; whether anything has.

        A worker that is never at rest hears of nothing else that is not urgent.
        """

    def setup(self) -> None:
        """See `Step.setup`."""
        super().setup()
        idle_s = None if self.node is None else self.node.idle_after_s
        self._silence = Silence(idle_s) if idle_s is not None and self._wiring.is_live else None

    def advance(self) -> bool:
        """See `Step.advance`."""
        self.is_idle = False
        if self.is_over or (self.wake_at_ns and self.rests()) or (self._blocking and not self.has_room()):
            return False
        if self._advance_one(self._inbox) if isinstance(self._inbox, Mailbox) else self._advance_joined(self._inbox):
            return True
        if self._inbox.is_over():
            self.end()
            return False
        self.is_idle = True
        if self._sole_mailbox is not None and self.pulls and self._pull():
            return True
        if self._silence is not None:
            self.due_ns = self._silence.look(self.tally.steps)
            if not self.due_ns:
                self._tell_silence()
        return False

    def _pull(self) -> bool:
        """Take in what has come from other processes; whether anything has."""
        moved = False
        for pull in self.pulls.values():
            moved |= pull()
        return moved

    def end(self) -> None:
        """See `Step.end`."""
        super().end()
        if isinstance(self._inbox, JoinInbox):
            self._inbox.abandon()

    def _advance_one(self, mailbox: Mailbox) -> bool:
        moved = False
        while mailbox.packets and (packet := mailbox.take()) is not None:
            stamp, message, sent_ns, ticket = packet
            if self._max_age_ns is not None and message is not None and stamp.age_ns() > self._max_age_ns:
                mailbox.was_stale()
                message = None
            if message is not None:
                self._take_in(stamp, message, sent_ns, ticket)
                return True
            self._tell_absence(stamp)  # at once: a message that waits behind it may be overwritten meanwhile
            moved = True
        return moved

    def _advance_joined(self, join: JoinInbox) -> bool:
        if self.pulls:  # also while it has something to do: another input may never rest
            self._pull()
        moved = False
        while (taken := join.take()) is not None:
            packet, messages = taken
            if messages is not None:
                if self._has_prelude:
                    self._prepare(messages, packet.stamp)
                self._step(packet.stamp, None, packet.sent_ns, packet.ticket, messages)
                return True
            self._tell_absence(packet.stamp)
            moved = True
        return moved

    def _tell_silence(self) -> None:
        """Nothing has come for so long that the node has something to say of it."""
        origin = next(iter(sorted(self.planned.edges[0].origins)), "")
        stamp = Stamp(origin, self.cells[BUSY_SEQ], monotonic_ns())
        try:
            assert self.node is not None
            out = self.node.idle(stamp)
            if out is not None:
                self.send(out, stamp, stamp.captured_ns, None)
        except Exception as e:
            self.raised(e, stamp)

    def receive(self, stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None) -> None:
        """Process a message at once, handed over in the same thread; what cannot be processed now waits."""
        mailbox = self._inbox
        assert isinstance(mailbox, Mailbox)
        busy = self.is_over or self.wake_at_ns or self.cells[BUSY_SINCE] or (self._blocking and not self.has_room())
        if message is None or mailbox.packets or busy or self._home.stopping:
            mailbox.offer(stamp, message, sent_ns, ticket)
        else:
            mailbox.was_handed()
            self._take_in(stamp, message, sent_ns, ticket)

    def take_over(self, stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None) -> None:
        """Process a message that has come alone from another process, as the node is idle."""
        assert self._sole_mailbox is not None
        self._sole_mailbox.was_handed()
        if self._has_prelude:
            self._take_in(stamp, message, sent_ns, ticket)
        else:
            self._step(stamp, message, sent_ns, ticket, None)

    def _take_in(self, stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None) -> None:
        """Process the message of the only edge."""
        messages = None
        if self._has_prelude:
            messages = {self._port: message}
            self._prepare(messages, stamp)
        self._step(stamp, message, sent_ns, ticket, messages)

    def _step(
        self, stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None, messages: dict[str, Any] | None
    ) -> None:
        """Call `process` with `messages`, or where there are none with its only `message`, and send on the outcome."""
        cells = self.cells
        cells[BUSY_SEQ] = stamp.seq
        start_ns = cells[BUSY_SINCE] = monotonic_ns()
        try:
            out = self._process(message) if messages is None else self._process(**messages)
            end_ns = monotonic_ns()
            cells[BUSY_SINCE] = 0
            if out is not None or self._tells_absence:
                self.send(out, stamp, end_ns, ticket)
            took = self._took  # what counts can wait, what comes of it cannot
            took[bisect_left(BOUNDS_NS, end_ns - start_ns)] += 1
            took[TOTAL] += end_ns - start_ns
            cells[WAITING] += start_ns - sent_ns
            self.began_ns = start_ns
            if self._is_sink:
                self.tally.seen(end_ns + stamp.offset_ns - stamp.captured_ns)
        except Exception as e:
            self.raised(e, stamp)
            self._tell_absence(stamp)

    def _tell_absence(self, stamp: Stamp) -> None:
        for ways in self._wiring.outputs.values():
            for way in ways:
                way.offer(stamp, None, monotonic_ns(), None)

    def _prepare(self, messages: dict[str, Any], stamp: Stamp) -> None:
        """What only some nodes, or only their first step, need."""
        if self._unchecked:
            self._check_contracts(messages)
        if self._stamp_as is not None:
            messages[self._stamp_as] = stamp
        self._has_prelude = bool(self._unchecked) or self._stamp_as is not None

    def _check_contracts(self, messages: dict[str, Any]) -> None:
        """Hold the first message of each port against what the node expects: a live source tells only then."""
        for port in [p for p in self._unchecked if p in messages]:
            emitted: Contract = getattr(messages[port], "contract", dict)()
            expected = self._unchecked.pop(port)
            wrong: Iterable[str] = contracts.mismatches(expected, emitted)
            for mismatch in wrong:
                cause = f"its input {port!r} {mismatch}; put a node in between that converts"
                error = WrongMessage(self.spec.name, "process", cause)
                self.is_over = True
                self._wiring.on_failure(error)
