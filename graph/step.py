"""One node at work: takes from its inbox, calls `process`, checks and sends on what comes back, follows its policy."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Thread, current_thread
from time import monotonic_ns
from typing import Any, Protocol, TypeAlias

from graph import contracts
from graph.build import Builder
from graph.errors import CauceError, NodeError, WrongMessage
from graph.join import JoinInbox
from graph.mailbox import Mailbox
from graph.node import Contract, Node, Stamp
from graph.packet import Ticket
from graph.plan import PlannedNode
from graph.supervise import Restarts
from graph.tally import BOUNDS_NS, Tally

log = logging.getLogger(__name__)

Give: TypeAlias = Callable[[Stamp, Any, int, Ticket | None], None]
"""Hands on a message: stamp, message (None: there is none for this capture), when it was sent, ticket."""


@dataclass(slots=True)
class Wiring:
    """What connects a step with the others."""

    outputs: Mapping[str, list[Mailbox]] = field(default_factory=dict)
    """Mailboxes of the consumers, by output."""
    on_failure: Callable[[CauceError], None] = lambda _: None
    """Told the error that ends the run."""


class Home(Protocol):
    """What a step knows of its worker."""

    stopping: bool


class Step:
    """A node in its worker. All methods but the constructor run in the worker's thread."""

    def __init__(self, planned: PlannedNode, wiring: Wiring, builder: Builder) -> None:
        self.planned, self.spec, self.tally = planned, planned.spec, Tally()
        self.node: Node | None = None
        self.is_over = False
        self.busy_since_ns = 0
        self.stamp: Stamp | None = None
        self.facts: Mapping[str, Mapping[str, str]] = {}
        self.wake_at_ns = 0
        """When a node that rests after an error is to be restarted; 0 while it does not rest."""
        self._wiring, self._builder = wiring, builder
        self._blocking = [m for ms in wiring.outputs.values() for m in ms if m.policy == "block"]
        self._restarts = Restarts(planned.spec)
        self._thread = current_thread()
        self._types = {name: port.type for name, port in planned.ports.outputs.items()}
        self._sole = "" in self._types
        self._sole_type = self._types.get("", object)
        self.targets: dict[str, list[Give]] = {
            name: [mailbox.offer for mailbox in mailboxes] for name, mailboxes in wiring.outputs.items()
        }
        """Where packets go, by output: into a mailbox, or straight to a consumer of the same thread."""
        self._sole_targets = self.targets.get("", [])

    def thread(self) -> Thread:
        """The thread that the node is stepped by."""
        return self._thread

    def setup(self) -> None:
        """Make the node and let it acquire what it needs; NodeError when it cannot."""
        self._thread = current_thread()
        config = {"_target_": self.spec.target, **self.spec.params}
        try:
            node = self._builder.instantiate(config)
            self.node = node
            node.setup()
            self.facts = node.facts()
        except Exception as e:
            self.tally.errors += 1
            log.debug("traceback of nodes.%s:", self.spec.name, exc_info=e)
            raise NodeError(self.spec.name, "setup", _cause(e)) from e
        self._process = node.process

    def close(self) -> None:
        """Release what the node holds; what goes wrong then is logged, never raised."""
        node, self.node = self.node, None
        if node is not None:
            try:
                node.close()
            except Exception:
                log.exception("nodes.%s: close failed", self.spec.name)

    def end(self) -> None:
        """The stream has ended: let the node complete its work and tell all consumers."""
        try:
            if self.node is not None:
                self.node.finish()
                self.facts = self.node.facts()
        except Exception as e:
            self.tally.errors += 1
            self._wiring.on_failure(NodeError(self.spec.name, "finish", _cause(e)))
        self.is_over = True
        for mailboxes in self._wiring.outputs.values():
            for mailbox in mailboxes:
                mailbox.close()

    def advance(self) -> bool:
        """Make one step if there is one to make; whether there was."""
        raise NotImplementedError

    def has_room(self) -> bool:
        """Whether all consumers that must not lose anything can take one more."""
        for mailbox in self._blocking:  # noqa: SIM110 - a generator costs more than all the rest of a hop
            if not mailbox.has_room():
                return False
        return True

    def rests(self) -> bool:
        """Whether the node waits for its restart; restarts it when that is due."""
        if not self.wake_at_ns:
            return False
        if monotonic_ns() < self.wake_at_ns:
            return True
        self.wake_at_ns = 0
        self.tally.restarts += 1
        try:
            self.setup()
        except NodeError as e:
            self.close()
            self._failed(e)
        return bool(self.wake_at_ns) or self.is_over

    def send(self, message: Any, stamp: Stamp, now_ns: int, ticket: Ticket | None) -> None:
        """Send on what `process` returned; WrongMessage when it is not what the signature says."""
        if self._sole:
            if message is not None and not isinstance(message, self._sole_type):
                raise self.wrong(message, self._sole_type, stamp)
            for give in self._sole_targets:
                give(stamp, message, now_ns, ticket)
        elif self._types:
            self._send_fields(message, stamp, now_ns, ticket)
        elif message is not None:
            raise self.wrong(message, type(None), stamp)

    def _send_fields(self, message: Any, stamp: Stamp, now_ns: int, ticket: Ticket | None) -> None:
        for name, kind in self._types.items():
            value = getattr(message, name, None)
            if value is not None and not isinstance(value, kind):
                raise self.wrong(value, kind, stamp)
            for give in self.targets[name]:
                give(stamp, value, now_ns, ticket)

    def wrong(self, message: Any, kind: type, stamp: Stamp | None) -> WrongMessage:
        """The error of a node whose signature promises another type."""
        cause = f"it returned {type(message).__name__}, but its signature says {kind.__name__}"
        return WrongMessage(self.spec.name, "process", cause, stamp=stamp)

    def _failed(self, error: NodeError) -> None:
        """Follow the node's policy after an error that the traceback of `error` tells about."""
        if self.spec.on_error == "skip":
            log.warning("%s; skipped", error)
            return
        pause_s = self._restarts.next_pause_s() if self.spec.on_error == "restart" else None
        if pause_s is None:
            self.is_over = True
            self._wiring.on_failure(error)
            return
        log.warning("%s; restart %d of %d in %g s", error, self._restarts.count, self.spec.max_restarts, pause_s)
        self.close()
        self.wake_at_ns = monotonic_ns() + int(pause_s * 1e9)

    def raised(self, e: Exception, stamp: Stamp | None) -> None:
        """A step has failed: count it, and follow the node's policy."""
        self.busy_since_ns = 0
        self.tally.errors += 1
        log.debug("traceback of nodes.%s:", self.spec.name, exc_info=e)
        error = e if isinstance(e, NodeError) else NodeError(self.spec.name, "process", _cause(e), stamp=stamp)
        error.__cause__ = error.__cause__ or (e if error is not e else None)
        self._failed(error)


class WorkStep(Step):
    """A node with inputs."""

    def __init__(
        self, planned: PlannedNode, wiring: Wiring, builder: Builder, *, inbox: Mailbox | JoinInbox, home: Home
    ) -> None:
        super().__init__(planned, wiring, builder)
        self._home = home
        self._inbox = inbox
        edge = planned.edges[0]
        self._port = edge.port
        self._max_age_ns = None if edge.max_age_ms is None else edge.max_age_ms * 1e6
        self._stamp_as = planned.ports.stamp
        self._is_sink = planned.is_sink
        self._unchecked = {p: c for p, c in planned.expects.items() if any(e.port == p for e in planned.edges)}
        self._has_prelude = True
        self._tells_absence = any(m.tells_absence for ms in wiring.outputs.values() for m in ms)
        self._took = self.tally.took

    def advance(self) -> bool:
        """See `Step.advance`."""
        if self.is_over or (self.wake_at_ns and self.rests()) or (self._blocking and not self.has_room()):
            return False
        if self._advance_one(self._inbox) if isinstance(self._inbox, Mailbox) else self._advance_joined(self._inbox):
            return True
        if self._inbox.is_over():
            self.end()
        return False

    def _advance_one(self, mailbox: Mailbox) -> bool:
        packet = mailbox.take()
        if packet is None:
            return False
        stamp, message = packet.stamp, packet.message
        if self._max_age_ns is not None and message is not None and stamp.age_ns() > self._max_age_ns:
            mailbox.was_stale()
            message = None
        if message is None:
            self._tell_absence(stamp)
        else:
            self._take_in(stamp, message, packet.sent_ns, packet.ticket)
        return True

    def _advance_joined(self, join: JoinInbox) -> bool:
        taken = join.take()
        if taken is None:
            return False
        packet, messages = taken
        if messages is None:
            self._tell_absence(packet.stamp)
        else:
            if self._has_prelude:
                self._prepare(messages, packet.stamp)
            self._step(packet.stamp, None, packet.sent_ns, packet.ticket, messages)
        return True

    def receive(self, stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None) -> None:
        """Process a message at once, handed over in the same thread; what cannot be processed now waits."""
        mailbox = self._inbox
        assert isinstance(mailbox, Mailbox)
        busy = self.is_over or self.wake_at_ns or self.busy_since_ns or (self._blocking and not self.has_room())
        if message is None or mailbox.packets or busy or self._home.stopping:
            mailbox.offer(stamp, message, sent_ns, ticket)
        else:
            mailbox.handed += 1
            self._take_in(stamp, message, sent_ns, ticket)

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
        self.stamp = stamp
        start_ns = self.busy_since_ns = monotonic_ns()
        try:
            out = self._process(message) if messages is None else self._process(**messages)
            end_ns = monotonic_ns()
            self.busy_since_ns = 0
            took, tally = self._took, self.tally
            took.counts[bisect_left(BOUNDS_NS, end_ns - start_ns)] += 1
            took.total_ns += end_ns - start_ns
            tally.waiting_ns += start_ns - sent_ns
            if self._is_sink:
                tally.seen(end_ns + stamp.offset_ns - stamp.captured_ns)
            if out is not None or self._tells_absence:
                self.send(out, stamp, end_ns, ticket)
        except Exception as e:
            self.raised(e, stamp)
            self._tell_absence(stamp)

    def _tell_absence(self, stamp: Stamp) -> None:
        for mailboxes in self._wiring.outputs.values():
            for mailbox in mailboxes:
                mailbox.offer(stamp, None, monotonic_ns(), None)

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


def _cause(e: Exception) -> str:
    """An exception in one line; our own errors speak for themselves."""
    return str(e) if isinstance(e, CauceError) else f"{type(e).__name__}: {e}"
