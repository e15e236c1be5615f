"""A node at work on several messages at once: one call serves all that wait, and nobody waits past the window.

The window begins when the first message of a batch was sent. A batch is full, and does not wait at all, when it has
`max` messages or when nothing more could wait: each mailbox is full or closed. Messages are taken in the order in which
the node would take them one by one, so what leaves the node is the same with and without a batch.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from time import monotonic_ns
from typing import Any

from graph.build import Builder
from graph.errors import WrongMessage
from graph.join import JoinInbox
from graph.matching import MatchingMailbox
from graph.node import FIGURES
from graph.packet import Packet
from graph.plan import PlannedEdge, PlannedNode
from graph.step import Wiring
from graph.tally import BUSY_SEQ, BUSY_SINCE, WAITING
from graph.work import Home, WorkStep


class BatchStep(WorkStep):
    """A node with one input port whose `process_batch` is called."""

    def __init__(
        self,
        planned: PlannedNode,
        wiring: Wiring,
        builder: Builder,
        *,
        mailboxes: Mapping[PlannedEdge, MatchingMailbox],
        home: Home,
        lossless: bool,
    ) -> None:
        self._sizes: Counter[int] = Counter()
        self._join = JoinInbox(planned, mailboxes, lossless)
        super().__init__(planned, wiring, builder, inbox=self._join, home=home)
        assert planned.spec.batch is not None
        self._max, self._window_ns = planned.spec.batch.max, int(planned.spec.batch.window_ms * 1e6)
        self._waits = [mailboxes[edge] for edge in planned.edges]
        self._since_ns = 0
        """When the first message of the batch to come was sent; 0 while none waits. It may be overwritten by now."""
        self._outcome: deque[tuple[Packet, Any]] = deque()
        """What is to be sent on yet, and the packets it came of: consumers that lose nothing take one at a time."""

    @property
    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """Those of the node, and how often there were how many messages in a batch."""
        if not self._sizes:
            return self._own_facts
        sizes = ", ".join(f"{n} of {size}" for size, n in sorted(self._sizes.items()))
        return {**self._own_facts, FIGURES: {**self._own_facts.get(FIGURES, {}), "batches": sizes}}

    @facts.setter
    def facts(self, found: Mapping[str, Mapping[str, str]]) -> None:
        self._own_facts = found

    def setup(self) -> None:
        """See `Step.setup`."""
        super().setup()
        self._process = self.node.process_batch  # type: ignore[union-attr]  # the plan has made sure that there is one

    def advance(self) -> bool:
        """See `Step.advance`."""
        self.due_ns = 0
        if self.is_over or (self.wake_at_ns and self.rests()):
            return False
        moved = self._send_on()
        if self._outcome:
            return moved
        moved |= self._pull()
        moved |= self._tell_of_nothing()
        if self._is_due():
            self._since_ns = 0
            self._step_together(self._take())
            self._send_on()
            return True
        if self._inbox.is_over():
            self.end()
        return moved

    def _send_on(self) -> bool:
        """Send on what has come out, as far as there is room for it; whether anything was sent."""
        moved = False
        while self._outcome and (not self._blocking or self.has_room()):
            packet, out = self._outcome.popleft()
            if out is not None:
                self.send(out, packet.stamp, monotonic_ns(), packet.ticket)
            elif self._tells_absence:
                self._tell_absence(packet.stamp)
            moved = True
        return moved

    def _tell_of_nothing(self) -> bool:
        """Pass on that captures bring nothing, as far as no message is before them; whether there were any."""
        moved = False
        while (packet := self._join.take_absence()) is not None:
            self._tell_absence(packet.stamp)
            moved = True
        return moved

    def _is_due(self) -> bool:
        """Whether a batch is to be made now; else `due_ns` says when, unless a packet must come first."""
        heads = [h.sent_ns for m in self._waits if (h := m.head()) is not None and h.message is not None]
        if not heads:
            self._since_ns = 0
            return False
        first_ns = min(heads)
        self._since_ns = min(self._since_ns or first_ns, first_ns)
        is_decided = self._join.head() is not None
        if sum(map(len, self._waits)) >= self._max or all(m.tells_no_more or len(m) >= m.capacity for m in self._waits):
            return is_decided
        end_ns = self._since_ns + self._window_ns
        if monotonic_ns() >= end_ns:
            return is_decided
        self.due_ns = end_ns if is_decided else 0
        return False

    def _take(self) -> list[tuple[Packet, bool]]:
        """What belongs to the batch, in order, each with whether there is a message that can be used."""
        packets: list[tuple[Packet, bool]] = []
        count = 0
        while count < self._max and (taken := self._join.take()) is not None:
            packet, messages = taken
            packets.append((packet, messages is not None))
            count += messages is not None
        return packets

    def _step_together(self, packets: Sequence[tuple[Packet, bool]]) -> None:
        """Call `process_batch` with the messages that can be used; its results follow in the order of `packets`."""
        batch = [packet for packet, is_there in packets if is_there]
        results: Sequence[Any] = ()
        if batch:
            self.cells[BUSY_SEQ] = batch[0].stamp.seq
            try:
                results = self._called(batch)
            except Exception as e:
                self.raised(e, batch[0].stamp)
                results = [None] * len(batch)
        rest = iter(results)
        self._outcome.extend((packet, next(rest) if is_there else None) for packet, is_there in packets)

    def _called(self, batch: Sequence[Packet]) -> Sequence[Any]:
        """One result for each packet, each of the right type; WrongMessage for anything else."""
        arguments: dict[str, Any] = {self._port: [p.message for p in batch]}
        for packet in batch if self._unchecked else ():
            self._check_contracts({self._port: packet.message})
        if self._stamp_as is not None:
            arguments[self._stamp_as] = [p.stamp for p in batch]
        start_ns = self.cells[BUSY_SINCE] = monotonic_ns()
        results = self._process(**arguments)
        end_ns = monotonic_ns()
        self.cells[BUSY_SINCE] = 0
        self.began_ns = start_ns
        self._sizes[len(batch)] += 1
        self.tally.took.observe(end_ns - start_ns)
        for packet in batch:
            self.cells[WAITING] += start_ns - packet.sent_ns
            if self._is_sink:
                self.tally.seen(end_ns + packet.stamp.offset_ns - packet.stamp.captured_ns)
        if self._is_sink and results is None:
            return [None] * len(batch)
        if not isinstance(results, Sequence) or len(results) != len(batch):
            count = len(results) if isinstance(results, Sequence) else type(results).__name__
            cause = f"process_batch returned {count}; expected a sequence of {len(batch)}, a result for each message"
            raise WrongMessage(self.spec.name, "process", cause, stamp=batch[0].stamp)
        for out, packet in zip(results, batch, strict=True):
            self._check(out, packet)
        return results

    def _check(self, out: Any, packet: Packet) -> None:
        """Hold a result against the signature, before any of the batch is sent."""
        for name, kind in self._types.items():
            value = getattr(out, name, None) if name else out
            if value is not None and not isinstance(value, kind):
                raise self.wrong(value, kind, packet.stamp)
        if self._is_sink and out is not None:
            raise self.wrong(out, type(None), packet.stamp)
