"""Sources that must lose nothing."""

from typing import Any

from graph.node import Stamp
from graph.packet import Door, Ticket
from graph.plan import Plan
from graph.source import SourceStep
from graph.step import Wiring
from graph.tally import AT_DOOR, ENTERED
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
