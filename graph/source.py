"""A source at work: paces nothing itself, stamps what its node captures, and keeps the door."""

from __future__ import annotations

from time import monotonic_ns
from typing import Any

from graph.build import Builder
from graph.node import Captured, EndOfStream, Stamp, of_fields
from graph.packet import Door, Ticket
from graph.plan import PlannedNode
from graph.step import Step, Wiring
from graph.tally import AT_DOOR, BUSY_SINCE, ENTERED, GAPS


class SourceStep(Step):
    """A node without inputs: stamps what it returns and lets it in, as many captures at a time as the door admits."""

    def __init__(
        self, planned: PlannedNode, wiring: Wiring, builder: Builder, *, door: Door, lossless: bool, frames: int | None
    ) -> None:
        super().__init__(planned, wiring, builder)
        self._door, self._lossless, self._frames = door, lossless, frames
        self._seqs = self.tally.seqs
        self._shifts = [0] * len(self._seqs)
        """By output: what is added to the device's own count, which begins anew with the device."""
        origin = self.spec.name
        self._outputs = {
            name: (i, f"{origin}.{name}" if name else origin, kind, self.targets[name])
            for i, (name, kind) in enumerate(self._types.items())
        }
        self._is_free = planned.spec.in_flight is None and not self._blocking
        """Whether every capture may enter, always."""

    def advance(self) -> bool:
        """See `Step.advance`."""
        if self.is_over or (self.wake_at_ns and self.rests()) or (self._lossless and not self._may_enter()):
            return False
        if self._frames is not None and self.cells[ENTERED] >= self._frames:
            self.end()
            return False
        start_ns = self.cells[BUSY_SINCE] = monotonic_ns()
        try:
            out = self._process()
            end_ns = monotonic_ns()
            self.cells[BUSY_SINCE] = 0
            self._let_in(out, end_ns)
            self.tally.took.observe(end_ns - start_ns)  # what counts can wait, what was captured cannot
        except EndOfStream:
            self.cells[BUSY_SINCE] = 0
            self.end()
        except Exception as e:
            self.raised(e, None)
        return True

    def _may_enter(self) -> bool:
        """Whether a capture may enter now: the door is open, and no consumer would lose it."""
        return self._door.is_open and (not self._blocking or self.has_room())

    def _let_in(self, out: Any, now_ns: int) -> None:
        """Send on what was captured, or turn it away at the door."""
        ticket, may_enter = None, True
        if not self._is_free:
            may_enter = self._lossless or self._may_enter()  # that was asked before; it may have taken the last slot
            ticket = self._door.enter() if may_enter else None
        if self._sole:
            gaps = self._emit("", out, now_ns, ticket, may_enter=may_enter)
            self.cells[ENTERED if may_enter else AT_DOOR] += 1
            if gaps:
                self.cells[GAPS] += gaps
            return
        self.cells[ENTERED if may_enter else AT_DOOR] += 1
        gaps = 0  # what several outputs of one device miss at once is lost once
        for name in self._types:
            captured = getattr(out, name)
            if captured is not None:
                gaps = max(gaps, self._emit(name, captured, now_ns, ticket, may_enter=may_enter))
        self.cells[GAPS] += gaps
        if self._lossless and may_enter:
            self._tell_of_nothing(out, now_ns, ticket)

    def _tell_of_nothing(self, out: Any, now_ns: int, ticket: Ticket | None) -> None:
        """Say of outputs without a capture how far they have told; the number stays that of the last capture.

        Whoever samples them would else wait for their next one, which may not come in before this one is done.
        """
        times = [c.captured_ns for name in self._types if (c := getattr(out, name)) is not None]
        for name in self._types if times else ():
            if getattr(out, name) is None:
                index, origin, _, targets = self._outputs[name]
                stamp = Stamp(origin, self._seqs[index] - 1, max(times), max(times) - now_ns)
                for give in targets:
                    give(stamp, None, now_ns, ticket)

    def _emit(self, name: str, captured: Any, now_ns: int, ticket: Ticket | None, *, may_enter: bool) -> int:
        """Number and stamp a capture, and send it on if it may enter; how many are missing before it."""
        index, origin, kind, targets = self._outputs[name]
        if type(captured) is not Captured:
            raise self.wrong(captured, kind, None)
        message, captured_ns, seq = captured
        if not isinstance(message, kind):
            raise self.wrong(message, kind, None)
        if type(captured_ns) is not int:  # numpy's numbers are none to those who write a stamp for another process
            captured_ns = int(captured_ns)
        missing, expected = 0, self._seqs[index]
        if seq is None:
            seq = expected
        elif (seq := int(seq) + self._shifts[index]) < expected:  # stamps go on, as joins take what is less for past
            self._shifts[index] += expected - seq
            seq = expected
        elif seq > expected > 0:
            missing = seq - expected
        self._seqs[index] = seq + 1
        if may_enter:
            stamp = of_fields(Stamp, (origin, seq, captured_ns, captured_ns - now_ns if self._lossless else 0))
            for give in targets:
                give(stamp, message, now_ns, ticket)
        return missing
