"""One node at work: takes from its inbox, calls `process`, checks and sends on what comes back, follows its policy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import current_thread
from time import monotonic_ns
from typing import Any, Protocol, TypeAlias

from graph.build import Builder
from graph.errors import CauceError, NodeError, WrongMessage, in_words
from graph.node import Node, Stamp
from graph.packet import Ticket
from graph.plan import PlannedNode
from graph.spec import Policy
from graph.supervise import Restarts, stack_of
from graph.tally import BUSY_SINCE, ERRORS, OVER, RESTARTS, UP, Tally

log = logging.getLogger(__name__)

Give: TypeAlias = Callable[[Stamp, Any, int, Ticket | None], None]
"""Hands on a message: stamp, message (None: there is none for this capture), when it was sent, ticket."""


class Way(Protocol):
    """Where a step sends: the mailbox of a consumer, or the outlet to those in other processes."""

    policy: Policy
    tells_absence: bool

    def has_room(self) -> bool:
        """Whether a message would be kept that must not be lost."""
        ...

    def offer(self, stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None) -> None:
        """Take in a message, or None: there is none for this capture."""
        ...

    def close(self) -> None:
        """Nothing more will come."""
        ...


class Picky:
    """A way for the captures of some origins; it knows nothing of all others."""

    def __init__(self, way: Way, origins: frozenset[str]) -> None:
        self._way, self._origins = way, origins
        self.policy, self.tells_absence = way.policy, way.tells_absence
        self.has_room, self.close = way.has_room, way.close

    def offer(self, stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None) -> None:
        """See `Way.offer`."""
        if stamp.origin in self._origins:
            self._way.offer(stamp, message, sent_ns, ticket)


@dataclass(slots=True)
class Wiring:
    """What connects a step with the others."""

    outputs: Mapping[str, Sequence[Way]] = field(default_factory=dict)
    """Ways to the consumers, by output."""
    lenders: Mapping[str, Callable[[tuple[int, ...], Any], Any]] = field(default_factory=dict)
    """What lends memory that other processes see, by output."""
    tally: Tally = field(default_factory=Tally)
    """Where the step counts."""
    is_live: bool = True
    """Whether time passes as it does outside."""
    on_failure: Callable[[CauceError], None] = lambda _: None
    """Told the error that ends the run."""


class Step:
    """A node in its worker. All methods but the constructor run in the worker's thread."""

    def __init__(self, planned: PlannedNode, wiring: Wiring, builder: Builder) -> None:
        self.planned, self.spec, self.tally = planned, planned.spec, wiring.tally
        self.cells = self.tally.cells
        self.node: Node | None = None
        self.is_over = False
        self.facts: Mapping[str, Mapping[str, str]] = {}
        self.wake_at_ns = 0
        """When a node that rests after an error is to be restarted; 0 while it does not rest."""
        self.due_ns = 0
        """When the node is ready by the passing of time alone; 0: only a packet can make it ready."""
        self.began_ns = 0
        """When its last call of `process` for a message began."""
        self._wiring, self._builder = wiring, builder
        self._blocking = [w for ways in wiring.outputs.values() for w in ways if w.policy == "block"]
        self._restarts = Restarts(planned.spec)
        self._thread = current_thread()
        self._types = {name: port.type for name, port in planned.ports.outputs.items()}
        self._sole = "" in self._types
        self._sole_type = self._types.get("", object)
        self.targets: dict[str, list[Give]] = {
            name: [way.offer for way in ways] for name, ways in wiring.outputs.items()
        }
        """Where packets go, by output: into a mailbox, or straight to a consumer of the same thread."""
        self._sole_targets = self.targets.get("", [])

    def stack(self) -> str:
        """Where the node's thread is at this moment."""
        return stack_of(self._thread)

    def setup(self) -> None:
        """Make the node and let it acquire what it needs; NodeError when it cannot."""
        self._thread = current_thread()
        config = {"_target_": self.spec.target, **self.spec.params}
        try:
            node = self._builder.instantiate(config)
            self.node = node
            if self._wiring.lenders:
                node._lenders = self._wiring.lenders
            if self.spec.batch is not None:
                node.batch_max = self.spec.batch.max
            node.setup()
            self.facts = node.facts()
        except Exception as e:
            self.cells[ERRORS] += 1
            log.debug("traceback of nodes.%s:", self.spec.name, exc_info=e)
            raise NodeError(self.spec.name, "setup", in_words(e)) from e
        self._process = node.process
        self.cells[UP] = 1

    def close(self) -> None:
        """Release what the node holds; what goes wrong then is logged, never raised."""
        self.cells[UP] = 0
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
            self.cells[ERRORS] += 1
            self._wiring.on_failure(NodeError(self.spec.name, "finish", in_words(e)))
        self.is_over = True
        self.cells[OVER] = 1
        for ways in self._wiring.outputs.values():
            for way in ways:
                way.close()

    def advance(self) -> bool:
        """Make one step if there is one to make; whether there was."""
        raise NotImplementedError

    def has_room(self) -> bool:
        """Whether all consumers that must not lose anything can take one more."""
        for way in self._blocking:  # noqa: SIM110 - a generator costs more than all the rest of a hop
            if not way.has_room():
                return False
        return True

    def rests(self) -> bool:
        """Whether the node waits for its restart; restarts it when that is due."""
        if not self.wake_at_ns:
            return False
        if monotonic_ns() < self.wake_at_ns:
            return True
        self.wake_at_ns = 0
        self.cells[RESTARTS] += 1
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
        self.cells[BUSY_SINCE] = 0
        self.cells[ERRORS] += 1
        log.debug("traceback of nodes.%s:", self.spec.name, exc_info=e)
        error = e if isinstance(e, NodeError) else NodeError(self.spec.name, "process", in_words(e), stamp=stamp)
        error.__cause__ = error.__cause__ or (e if error is not e else None)
        self._failed(error)
