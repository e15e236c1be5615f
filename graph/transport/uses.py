"""What the consumer of one edge has of its producer's, until it gives it back or is gone."""

from __future__ import annotations

from collections.abc import Sequence

from graph.transport.memory import Writer


class Uses:
    """Slots that a consumer uses, each as often as it will give it back, and what the messages in them lend."""

    __slots__ = ("_counts", "_kept", "_ring")

    def __init__(self, ring: Writer) -> None:
        self._ring = ring
        self._counts: dict[int, int] = {}
        self._kept: dict[int, Sequence[object]] = {}

    def begin(self, slots: Sequence[int], kept: Sequence[object] = ()) -> None:
        """Count one more use of each slot, and keep what its message lends."""
        counts = self._counts
        for slot in slots:
            self._ring.use(slot)
            counts[slot] = counts.get(slot, 0) + 1
            if kept:
                self._kept[slot] = [*self._kept.get(slot, ()), *kept]

    def end(self, slot: int) -> None:
        """One use of a slot is over; with the last one goes what is kept for it."""
        self._counts[slot] -= 1
        if not self._counts[slot]:
            del self._counts[slot]
            self._kept.pop(slot, None)
        self._ring.release(slot)

    def end_all(self) -> None:
        """The consumer is gone."""
        for slot, count in self._counts.items():
            for _ in range(count):
                self._ring.release(slot)
        self._counts.clear()
        self._kept.clear()
