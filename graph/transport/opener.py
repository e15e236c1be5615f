"""Makes messages of the datagrams of one producer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from graph.mailbox import Mailbox
from graph.node import Stamp, of_fields
from graph.packet import Ticket
from graph.tally import Cause
from graph.transport import wire
from graph.transport.form import Known, learned
from graph.transport.memory import Reader
from graph.transport.wire import decoded, opened

Arrived: TypeAlias = tuple[Stamp, Any, int, Ticket | None]
"""Stamp, message, when it was sent, and its ticket."""


class Opener:
    """Opens what comes for one mailbox, one datagram after the other, and counts what cannot be used."""

    def __init__(
        self,
        mailbox: Mailbox,
        ring: Reader,
        *,
        is_read: Callable[[int], None],
        tell: Callable[[int, int], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._mailbox, self._ring, self._on_error = mailbox, ring, on_error
        self._is_read, self._tell = is_read, tell
        self._lease, self._settle = ring.lease, ring.settle
        self._forms: dict[int, Known] = {}
        self._number = 0
        """How many messages have come."""

    def open(self, datagram: memoryview) -> Arrived | None:
        """What a datagram brings to the mailbox, if anything."""
        head = ~datagram[0]
        if head < 0:
            return self._whole(opened(datagram))
        self._number += 1
        ticket = _RemoteTicket(self._tell, self._number) if head & 1 else None
        form = self._forms.get(head >> 1)
        if form is None:  # the message that told of it could not be read, which has ended the run
            self._lose("error")
            return None
        return form.made(datagram, self._lease, ticket)

    def _whole(self, fields: tuple[Any, ...]) -> Arrived | None:
        """The same of one that can be read by itself."""
        kind, has_ticket, origin, seq, captured_ns, offset_ns, sent_ns, what = fields
        message, ticket = None, None
        if what is not None:
            self._number += 1
            if has_ticket:
                ticket = _RemoteTicket(self._tell, self._number)
            try:
                message = decoded[kind](what, self._lease)
                if kind == wire.FORM:
                    self._forms[what[0]] = learned(origin, message, what[1])
            except Exception as e:  # whatever the message's own class raises
                if self._settle is None or self._settle():
                    self._lose("error")
                    self._on_error(e)
                else:
                    self._lose("lost")
                return None
            if self._settle is not None and not self._settle():
                self._lose("lost")
                message, ticket = None, None
        elif kind == wire.END:
            self._mailbox.close()
            return None
        elif kind == wire.SKIP:
            for slot in fields[1]:
                self._ring.skip(slot)
                self._is_read(slot)
            return None
        return of_fields(Stamp, (origin, seq, captured_ns, offset_ns)), message, sent_ns, ticket

    def _lose(self, cause: Cause) -> None:
        """Count a message that cannot be used."""
        self._mailbox.tally.drop(cause)
        if self._mailbox.on_taken is not None:
            self._mailbox.on_taken()


class _RemoteTicket(Ticket):
    """Stands for the ticket that waits in the producer; its end is told there."""

    __slots__ = ("_number", "_tell")

    def __init__(self, tell: Callable[[int, int], None], number: int) -> None:
        self._tell, self._number = tell, number

    def __del__(self) -> None:
        self._tell(wire.DONE, self._number)
