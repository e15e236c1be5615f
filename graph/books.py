"""All counts of one part of a graph, in memory that its process and the run both have."""

from __future__ import annotations

from collections.abc import MutableMapping

from graph.partition import Part
from graph.plan import PlannedEdge
from graph.tally import BUSY_SINCE, HANDED, IN_HAND, OFFERED, TAKEN, UP, Block, EdgeTally, Tally


class Books:
    """The counts of the nodes of a part, and of its ends of edges; over the same block they mean the same cells."""

    def __init__(self, part: Part, block: Block | None = None) -> None:
        self._part = part
        self.nodes = {
            name: Tally(block, is_sink=n.is_sink, outputs=len(n.ports.outputs)) for name, n in part.nodes.items()
        }
        self.mailboxes = {e: EdgeTally(block) for n in part.nodes.values() for e in n.edges}
        self.links = {e: EdgeTally(block) for e in part.leaving}

    @staticmethod
    def size(part: Part) -> int:
        """Cells that the books of a part need."""
        nodes = sum(Tally.size(is_sink=n.is_sink, outputs=len(n.ports.outputs)) for n in part.nodes.values())
        edges = sum(len(n.edges) for n in part.nodes.values()) + len(part.leaving)
        return nodes + edges * EdgeTally.SIZE

    def bury(self, delivered_before: MutableMapping[PlannedEdge, int]) -> None:
        """Close the counts of a process that has died, for the next one to go on: what it was at is lost.

        `delivered_before` are the edges from other processes, with what was settled of each; it is brought up to now.
        """
        for name, tally in self.nodes.items():
            tally.cells[UP] = 0
            if tally.cells[BUSY_SINCE]:
                tally.cells[BUSY_SINCE] = 0
                self._lose_one(name)
        for link in self.links.values():
            if link.cells[IN_HAND]:
                link.cells[IN_HAND] = 0
                link.drop("lost")
        for edge, end in self.mailboxes.items():
            if edge in delivered_before:
                delivered_before[edge] = end.settled
                end.cells[OFFERED] = end.settled - end.handed
            else:
                end.drop("lost", end.offered - end.settled)

    def _lose_one(self, name: str) -> None:
        """The packet that a node was at has been taken, but nothing came of it."""
        node = self._part.nodes[name]
        edge = next((e for e in node.edges if e.port == node.anchor), None)
        if edge is not None and (end := self.mailboxes[edge]).delivered > 0:
            end.cells[TAKEN if end.cells[TAKEN] > 0 else HANDED] -= 1
            end.drop("lost")
