"""Sources that must lose nothing."""

from typing import Any

from graph.node import Stamp
from graph.packet import Door, Ticket
from graph.plan import Plan
from graph.source import SourceStep
from graph.step import Wiring
from graph.tally import AT_DOOR, ENTERED, GAPS
from tests.graph.helpers import BUILDER, plan, toy


class LastPlace:
    """A way whose last place is taken by the step itself, as by a source that is lent the last slot."""

    policy = "block"
    tells_absence = False

    def __init__(self) -> None:
        self.room, self.got = [True, False, True, False], []

    def has_room(self) -> bool:
        return self.room.pop(0)

    def offer(self, stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None) -> None:
        self.got.append(int(message))

    def close(self) -> None: ...


def test_what_a_lossless_source_has_captured_is_sent_though_there_is_no_room_for_another():
    made: Plan = plan(src=toy("Count", n=9), out=toy("WriteNumber", path="unused", inputs={"word": "src"}))
    way = LastPlace()
    wiring = Wiring({"": [way]})
    wiring.tally.seqs = [0]
    door = Door(None, lambda: None)
    source = SourceStep(made.nodes["src"], wiring, BUILDER, door=door, lossless=True, frames=None)
    source.setup()
    assert [source.advance() for _ in range(4)] == [True, False, True, False]
    assert way.got == [0, 1]
    assert (source.cells[ENTERED], source.cells[AT_DOOR]) == (2, 0)


class Numbers(LastPlace):
    """Keeps the numbers of the stamps, and always has room."""

    def has_room(self) -> bool:
        return True

    def offer(self, stamp: Stamp, message: Any, sent_ns: int, ticket: Ticket | None) -> None:
        self.got.append(stamp.seq)


def test_numbers_go_on_where_a_source_that_counts_by_itself_is_started_again():
    """Joins take what is less than they were told of for past: they would drop all until the numbers are as high."""
    made: Plan = plan(
        src=toy("Count", n=9, realtime=True, period_ms=0, gap_at=3),
        out=toy("WriteNumber", path="unused", inputs={"word": "src"}),
    )
    way = Numbers()
    wiring = Wiring({"": [way]})
    wiring.tally.seqs = [0]
    for _ in range(2):  # the second is a new process, which has the counts
        source = SourceStep(
            made.nodes["src"], wiring, BUILDER, door=Door(None, lambda: None), lossless=False, frames=None
        )
        for _ in range(2):  # the second is the same process after an error of the node
            source.setup()
            for _ in range(4):
                source.advance()
    assert way.got == [0, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 16, 17, 19]
    assert source.cells[GAPS] == 4
