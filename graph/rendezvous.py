"""Wakes a node once for each capture whose messages come from several processes, and not once for each of them.

What comes first can only wait for the rest, and whoever is woken for it takes the processor from those who still work
at the rest. So the worker listens to the input alone that has told least, and when that one says something it takes in
what has come by the others as well.

That is enough where all inputs keep what they are given and tell every capture of one origin in order
(`PlannedNode.meets`): nothing can be decided before the one that is furthest behind tells more. Nor does it end in a
standstill, though the others may fill up and stop whoever sends to them: if nothing is on its way to that one, it has
told all that its origin sent, and so have the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from graph.mailbox import Mailbox

NOTHING = -1


class End(Protocol):
    """The consumer's end of an edge."""

    def drain(self) -> None:
        """Take in all that has come."""
        ...


class Rendezvous:
    """The inputs of one node that `meets`."""

    def __init__(self, boxes: Iterable[Mailbox]) -> None:
        self._ends: dict[Mailbox, End | None] = dict.fromkeys(boxes)
        self._slowest: Mailbox | None = None
        """The one that was waited for last: it is likely to be the last again."""

    def join(self, mailbox: Mailbox, end: End) -> None:
        """Take in what comes by this end from now on, in place of one before it."""
        self._ends[mailbox] = end

    def awaits(self, mailbox: Mailbox) -> bool:
        """Whether the node waits for this input before all others."""
        least = min((_told(box) for box in self._ends if not box.tells_no_more), default=NOTHING)
        slowest = self._slowest
        if slowest is not None and not slowest.tells_no_more and _told(slowest) == least:
            return mailbox is slowest
        return _told(mailbox) == least

    def drain(self, mailbox: Mailbox) -> None:
        """Something has come by an input: take in all there is."""
        self._slowest = mailbox
        for end in self._ends.values():
            if end is not None:
                end.drain()


def _told(mailbox: Mailbox) -> int:
    """Up to which capture of its only origin an input has told everything."""
    told = list(mailbox.told.values())  # at once: another thread may put in the first
    return told[0].seq if told else NOTHING
