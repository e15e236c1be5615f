"""The counts of nodes and edges: int64 cells that one thread writes, cheaply, and all may read.

In the process that reads them the cells are a plain list; those of a process worker lie in a shared `Block`, so its
parent reads them without asking, also while the worker hangs, and they outlive its death.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args

BOUNDS_S = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.0167, 0.025, 0.0333, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BOUNDS_NS = [int(s * 1e9) for s in BOUNDS_S]
BUCKETS = len(BOUNDS_NS) + 1
TOTAL = BUCKETS  # the cell of a histogram behind its buckets: the sum of all durations
KEPT_AGES = 65_536

Cause = Literal["overwritten", "stale", "unmatched", "error", "stopped", "full", "lost"]
CAUSES: tuple[Cause, ...] = get_args(Cause)


class Cells(Protocol):
    """A list of whole numbers, or a view of int64 in shared memory."""

    def __getitem__(self, i: int, /) -> int: ...
    def __setitem__(self, i: int, value: int, /) -> None: ...
    def __len__(self) -> int: ...


class Block:
    """Cells in memory that several processes map: `fd` is passed on, and the kernel frees it with its last user.

    It has no name anywhere, so nothing can be left behind, whoever is killed.
    """

    def __init__(self, size: int, fd: int | None = None) -> None:
        if fd is None:
            fd = os.memfd_create("cauce-counts")
            os.ftruncate(fd, max(8 * size, mmap.PAGESIZE))
        self.fd = fd
        self._cells = memoryview(mmap.mmap(fd, max(8 * size, mmap.PAGESIZE))).cast("q")
        self._taken = 0

    def take(self, count: int) -> Any:
        """The next `count` cells. Every process takes in the same order, so all mean the same cells."""
        self._taken += count
        return self._cells[self._taken - count : self._taken]

    @property
    def raw(self) -> memoryview:
        """All cells as bytes, writable."""
        return self._cells.cast("B")

    def close(self) -> None:
        """Give up the descriptor; cells that were taken stay readable."""
        os.close(self.fd)


class Histogram:
    """Durations in the buckets `BOUNDS_S`; a step may write its `cells` itself."""

    __slots__ = ("cells",)
    SIZE = BUCKETS + 1

    def __init__(self, cells: Any = None) -> None:
        self.cells: Cells = [0] * self.SIZE if cells is None else cells

    def observe(self, ns: int) -> None:
        """Count one duration."""
        self.cells[bisect_left(BOUNDS_NS, ns)] += 1
        self.cells[TOTAL] += ns

    @property
    def counts(self) -> list[int]:
        """How many durations fell into each bucket."""
        return [self.cells[i] for i in range(BUCKETS)]

    @property
    def total_ns(self) -> int:
        """The sum of all durations."""
        return self.cells[TOTAL]

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus' buckets: how many durations were at most as long as each bound."""
        bounds = [*map(str, BOUNDS_S), "+Inf"]
        total = 0
        return [(bound, float(total := total + n)) for bound, n in zip(bounds, self.counts, strict=True)]


BUSY_SINCE, BUSY_SEQ, WAITING, ERRORS, RESTARTS, STALLS, GAPS, AT_DOOR, ENTERED, OVER, SEEN, UP = range(12)
_COUNTS = 12


class Tally:
    """The counts of one node, and what it is at. The hot ones are written by index, in `cells`."""

    __slots__ = ("_ages", "age", "cells", "seen", "seqs", "took")

    def __init__(self, block: Block | None = None, *, is_sink: bool = True, outputs: int = 0) -> None:
        self.cells: Cells = [0] * _COUNTS if block is None else block.take(_COUNTS)
        self.took = Histogram(block and block.take(Histogram.SIZE))
        self.age = Histogram(block and block.take(Histogram.SIZE))
        self.seqs: Cells = [0] * outputs if block is None else block.take(outputs)
        """Of a source: the number of its next capture, by output."""
        self._ages: Any = None
        if is_sink:
            self._ages = memoryview(bytearray(8 * KEPT_AGES)).cast("q") if block is None else block.take(KEPT_AGES)
        self.seen = _seeing(self.cells, self.age.cells, self._ages)
        """Counts the age of what a sink showed or said, in nanoseconds."""

    @staticmethod
    def size(*, is_sink: bool, outputs: int) -> int:
        """Cells that one takes of a block."""
        return _COUNTS + 2 * Histogram.SIZE + outputs + (KEPT_AGES if is_sink else 0)

    @property
    def steps(self) -> int:
        """Calls of process that returned."""
        return sum(self.took.counts)

    @property
    def errors(self) -> int:
        """Calls of process, setup or finish that failed."""
        return self.cells[ERRORS]

    @property
    def restarts(self) -> int:
        """Restarts after an error or a death."""
        return self.cells[RESTARTS]

    @property
    def stalls(self) -> int:
        """Steps that took longer than `stall_after_s`."""
        return self.cells[STALLS]

    @property
    def waiting_ns(self) -> int:
        """How long packets have waited for this node, all together."""
        return self.cells[WAITING]

    @property
    def gaps(self) -> int:
        """Captures that a source lost by its own count."""
        return self.cells[GAPS]

    @property
    def at_door(self) -> int:
        """Captures that a source did not let in because `in_flight` of them were under way."""
        return self.cells[AT_DOOR]

    @property
    def ages_ns(self) -> list[int]:
        """The last ages that were counted, oldest first."""
        n = self.cells[SEEN]
        if self._ages is None or n == 0:
            return []
        first = n % KEPT_AGES if n > KEPT_AGES else 0
        kept = self._ages[: min(n, KEPT_AGES)].tolist()
        return [*kept[first:], *kept[:first]]


def _seeing(cells: Cells, buckets: Cells, kept: Any) -> Callable[[int], None]:
    """What counts an age. It is made once: to look up five attributes would take as long as to write five counts."""

    def seen(age_ns: int) -> None:
        buckets[bisect_left(BOUNDS_NS, age_ns)] += 1
        buckets[TOTAL] += age_ns
        if kept is not None:
            n = cells[SEEN]
            kept[n % KEPT_AGES] = age_ns
            cells[SEEN] = n + 1

    return seen


# `DROPPED` is the first of as many cells as there are causes.
OFFERED, TAKEN, THINNED, HANDED, CONNECTED, IN_HAND, DROPPED = range(7)


class EdgeTally:
    """The counts of one end of an edge."""

    __slots__ = ("cells",)
    SIZE = DROPPED + len(CAUSES)

    def __init__(self, block: Block | None = None) -> None:
        self.cells: Cells = [0] * self.SIZE if block is None else block.take(self.SIZE)

    def drop(self, cause: Cause, count: int = 1) -> None:
        """Count packets as lost."""
        self.cells[DROPPED + CAUSES.index(cause)] += count

    @property
    def offered(self) -> int:
        """Packets that came, those that skipped the mailbox among them."""
        return self.cells[OFFERED] + self.cells[HANDED]

    @property
    def thinned(self) -> int:
        """Packets that `every` left out."""
        return self.cells[THINNED]

    @property
    def handed(self) -> int:
        """Packets that skipped the mailbox, straight to the consumer."""
        return self.cells[HANDED]

    @property
    def delivered(self) -> int:
        """Packets that the consumer has, one way or the other."""
        return self.cells[TAKEN] + self.cells[HANDED]

    @property
    def connected(self) -> int:
        """Of a producer's end: how many had been sent when the consumer of now was connected."""
        return self.cells[CONNECTED]

    @property
    def dropped(self) -> dict[str, int]:
        """Packets lost, by cause."""
        return {cause: self.cells[DROPPED + i] for i, cause in enumerate(CAUSES)}

    @property
    def lost(self) -> int:
        """Packets dropped for whatever cause."""
        return sum(self.cells[i] for i in range(DROPPED, self.SIZE))

    @property
    def settled(self) -> int:
        """Of a consumer's end: packets that do not wait any more."""
        return self.cells[TAKEN] + self.cells[HANDED] + self.cells[THINNED] + self.lost

    @property
    def sent(self) -> int:
        """Of a producer's end: packets that left its process."""
        return self.cells[OFFERED] - self.cells[THINNED] - self.lost
