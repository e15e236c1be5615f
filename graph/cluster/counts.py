"""The counts of an actor as the run shows them: what the actor has told, and what only the run knows of its edges."""

from __future__ import annotations

from collections.abc import Iterable

from graph.books import Books
from graph.cluster.line import Line
from graph.partition import Part
from graph.tally import BUSY_SINCE, CONNECTED, DROPPED, OFFERED, STALLS, Block, EdgeTally

UNHEARD = 100_000  # captures that a source may make while its actor tells nothing, and more


class Counts:
    """Puts together the counts in `block`, which `books` read."""

    def __init__(self, part: Part, block: Block, books: Books) -> None:
        self._block, self._books = block, books
        self._told = bytearray(block.raw.nbytes)
        """The counts as the actor has told them; ours have in addition what became of packets on the way."""
        self._draft = Block(block.raw.nbytes // 8)
        self._draft_books = Books(part, self._draft)

    def begin(self, *, is_first: bool) -> bytes:
        """What a new actor goes on counting from.

        Sources go on with higher numbers than those of the captures that a dead actor did not report, if any.
        """
        if not is_first:
            for tally in self._books.nodes.values():
                for i in range(len(tally.seqs)):
                    tally.seqs[i] += UNHEARD
        self._told[:] = self._block.raw
        return bytes(self._told)

    def merge(self, changes: Iterable[tuple[int, bytes]], line: Line) -> None:
        """Take over what the actor has counted, and add what only this side knows."""
        for at, data in changes:
            self._told[at : at + len(data)] = data
        self._draft.raw[:] = self._told
        for name, tally in self._draft_books.nodes.items():
            tally.cells[STALLS] = self._books.nodes[name].cells[STALLS]  # which are found here
            if tally.cells[BUSY_SINCE]:
                tally.cells[BUSY_SINCE] -= line.theta_ns
        for edge, lane in line.lanes.items():
            entry = self._draft_books.mailboxes[edge]
            entry.cells[OFFERED] += lane.tally.lost
            _add_drops(entry, lane.tally)
        for edge, landing in line.landings.items():
            link = self._draft_books.links[edge]
            link.cells[CONNECTED] = landing.tally.connected
            _add_drops(link, landing.tally)
        self._block.raw[:] = self._draft.raw

    def settle(self, line: Line) -> None:
        """Of an actor that is dead, count what it had not handed over, or not told of, at its end."""
        self.merge([], line)
        for edge, landing in line.landings.items():
            link = self._books.links[edge]
            passed = landing.tally.sent - link.sent
            if passed < 0:
                link.drop("lost", -passed)
            else:
                link.cells[OFFERED] += passed

    def close(self) -> None:
        """Release what it needs."""
        self._draft.close()


def _add_drops(to: EdgeTally, more: EdgeTally) -> None:
    for i in range(DROPPED, EdgeTally.SIZE):
        to.cells[i] += more.cells[i]
