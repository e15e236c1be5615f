"""Decides what is said when: the most urgent first, one at a time. Knows no clock, no thread and no sound.

All times are on the clock of the captures, in nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from graph import Stamp
from nodes.messages import Utterance

MOST_WAITING = 8


@dataclass(frozen=True, slots=True)
class Item:
    """An utterance and the capture that it is about."""

    utterance: Utterance
    stamp: Stamp

    def is_late(self, at_ns: int) -> bool:
        """Whether it is too old to begin at `at_ns`."""
        return at_ns - self.stamp.captured_ns > self.utterance.max_age_ms * 1e6


class Agenda:
    """What waits, and until when something is being said."""

    def __init__(self) -> None:
        self.waiting: list[Item] = []
        self.dropped = 0
        """How many were never said: too late, or too many."""
        self._said: Item | None = None
        self._since_ns = self._until_ns = 0

    def add(self, item: Item) -> None:
        """Let `item` wait. It replaces one with the same key; of too many, the least urgent and oldest goes."""
        key = item.utterance.key
        self.waiting = [w for w in self.waiting if not key or w.utterance.key != key]
        self.waiting.append(item)
        if len(self.waiting) > MOST_WAITING:
            self.waiting.remove(max(self.waiting, key=lambda w: (w.utterance.priority, -w.stamp.captured_ns)))
            self.dropped += 1
        self.waiting.sort(key=lambda w: (w.utterance.priority, w.stamp.captured_ns))

    def due_ns(self) -> int | None:
        """When the next one may begin: after what is being said, unless it interrupts that; None: nothing waits.

        What is urgent interrupts everything but what is urgent and as new: of two dangers, the newer one is the one to
        act on. The very words that are being said are not begun anew.
        """
        if not self.waiting:
            return None
        first = self.waiting[0]
        said = self._said
        interrupts = first.utterance.priority == 1 and (
            said is None
            or said.utterance.priority > 1
            or (said.utterance.text != first.utterance.text and said.stamp.captured_ns < first.stamp.captured_ns)
        )
        return max(first.stamp.captured_ns, self._since_ns if interrupts else self._until_ns)

    def take(self, by_ns: int) -> tuple[Item, int] | None:
        """The next one that may begin by `by_ns`, and when it may; it waits no longer."""
        due_ns = self.due_ns()
        if due_ns is None or due_ns > by_ns:
            return None
        return self.waiting.pop(0), due_ns

    def begin(self, item: Item, start_ns: int, *, duration_ns: int) -> bool:
        """Note that `item` is being said from `start_ns` on; False, and dropped, where that is too late."""
        if item.is_late(start_ns):
            self.dropped += 1
            return False
        self._said = item
        self._since_ns, self._until_ns = start_ns, start_ns + duration_ns
        return True

    def rest_ns(self, now_ns: int) -> int:
        """How much longer something is being said."""
        return max(0, self._until_ns - now_ns)
