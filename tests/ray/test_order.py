"""What an actor is told of by several callers, or in calls that overtake each other."""

import asyncio

import pytest

from graph.bell import Bell
from graph.books import Books
from graph.cluster.actor import SiteActor
from graph.cluster.counts import UNHEARD, Counts
from graph.cluster.ends import Outbox
from graph.cluster.loop import Turns
from graph.cluster.pull import Reader, Shelf
from graph.node import Stamp
from graph.partition import parts
from graph.placement import HERE
from graph.plan import PlannedEdge
from graph.tally import Block, EdgeTally
from tests.graph.helpers import plan, toy
from tests.graph.toys import Number

EDGE = PlannedEdge("src", "", "out", "x", Number, policy="block", capacity=3)


class Notes:
    """Stands for the part of a graph that an actor has made."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def close_edge(self, edge: str) -> None:
        self.commands.append(edge)

    def stop(self) -> None:
        self.commands.append("stop")


def test_commands_are_carried_out_in_the_order_in_which_they_were_given():
    """Ray may begin calls in another one, as long as the actor is being made."""

    async def overtaken() -> list[str]:
        actor, site = SiteActor(), Notes()
        actor._site, actor._turns = site, Turns(asyncio.get_running_loop())
        actor._made().set()
        calls = [actor.tell(2, "stop", ()), actor.tell(1, "close_edge", ("b",)), actor.tell(0, "close_edge", ("a",))]
        await asyncio.wait_for(asyncio.gather(*calls), 5)
        return site.commands

    assert asyncio.run(overtaken()) == ["a", "b", "stop"]


def test_word_of_a_death_that_comes_late_does_not_cut_off_the_next_reader():
    async def late() -> list[bool]:
        outbox = Outbox(EDGE, EdgeTally(), asyncio.get_running_loop(), Bell())
        outbox.offer(Stamp("src", 0, 0), Number(0), 0, None)
        await outbox.give(Reader(2, is_new=True), 0, 0, Shelf(), lossless=False)
        found = []
        for generation in (1, 2):
            outbox.cut(generation)
            found.append(outbox.is_cut)
        return found

    assert asyncio.run(late()) == [False, True]


@pytest.mark.parametrize(("is_first", "number"), [(True, 7), (False, 7 + UNHEARD)])
def test_a_source_goes_on_with_higher_numbers_than_a_dead_actor_may_have_given(is_first, number):
    part = parts(plan("inline", src=toy("Count", n=10)))[HERE]
    block = Block(Books.size(part))
    books = Books(part, block)
    books.nodes["src"].seqs[0] = 7
    counts = Counts(part, block, books)
    begun = counts.begin(is_first=is_first)
    assert (books.nodes["src"].seqs[0], begun) == (number, bytes(block.raw))
    counts.close()
    block.close()
