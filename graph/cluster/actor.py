"""The actor of a worker: makes its part of the graph, and does as the run tells it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from time import monotonic_ns
from typing import Any

from graph import logs, procfs
from graph.assembly import Assembly, OnFailure
from graph.books import Books
from graph.build import Builder
from graph.cluster.ends import Entry, Fan, Outbox
from graph.cluster.loop import Turns, post
from graph.cluster.pull import CUT, Parcel, Puller, Reader
from graph.errors import CauceError, NodeError, in_words
from graph.packet import Ticket
from graph.partition import Output, Part
from graph.plan import PlannedEdge
from graph.site import Site
from graph.tally import Block
from graph.transport.memory import Handle

REPORT_S = 0.2
CHUNK = 4096  # bytes of the counts that are compared, and told, at once


class ClusterAssembly(Assembly):
    """The part of a graph in an actor: what leaves it waits until it is asked for."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, part: Part, books: Books, builder: Builder, on_failure: OnFailure
    ) -> None:
        self._loop = loop
        self.outboxes: dict[PlannedEdge, Outbox] = {}
        self.fans: dict[PlannedEdge, Fan] = {}
        super().__init__(part, books, builder, on_failure, rings={})

    def _make_outlets(self, rings: Mapping[Output, Handle]) -> None:
        for output in self.part.rings:
            edges = [e for e in self.part.leaving if (e.source, e.output) == output]
            room = self.homes[output[0]].bell
            fan = Fan([Outbox(e, self.books.links[e], self._loop, room) for e in edges])
            self.outlets[output] = fan
            self.outboxes |= dict(zip(edges, fan.outboxes, strict=True))
            self.fans |= dict.fromkeys(edges, fan)


@dataclass(frozen=True, slots=True)
class Start:
    """What an actor is started with. Plain data."""

    part: Part
    edges: Sequence[PlannedEdge]
    """All edges that cross workers. Calls name them by their place in this list."""
    plugins: tuple[str, ...]
    level: int
    """Of logging."""
    path: Sequence[str]
    counts: bytes
    """Its books as they are now; it goes on counting from there."""
    theta_ns: int
    """How far its clock is ahead of that of the machine of the run."""
    cut: Sequence[PlannedEdge]
    """Edges whose consumer is dead."""


class SiteActor:
    """What Ray runs. Its calls share one loop; nodes have threads of their own.

    Ray makes it without arguments, and `start` makes the rest, so that what goes wrong there can be told.
    """

    def __init__(self) -> None:
        self._is_made: asyncio.Event | None = None
        self._events: list[tuple[str, Any]] = []
        self._words: dict[str, str] = {}
        self._pullers: dict[PlannedEdge, Puller] = {}

    async def clock(self) -> int:
        """The monotonic clock of this machine, in ns."""
        return monotonic_ns()

    async def start(self, start: Start) -> None:
        """Make the nodes' part. Raises what goes wrong with it."""
        sys.path.extend(p for p in start.path if p not in sys.path)
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._turns = Turns(self._loop)
        self._edges, self._theta_ns = list(start.edges), start.theta_ns
        logs.hand_over(start.level, lambda *record: self._tell("log", record))
        size = Books.size(start.part)
        self._block, self._told = Block(size), bytearray(8 * size)
        self._block.raw[:] = start.counts
        self._told[:] = start.counts
        books = Books(start.part, self._block)
        assembly = self._assembly = ClusterAssembly(
            self._loop, start.part, books, Builder(start.plugins), on_failure=lambda e: self._tell("failed", e)
        )
        for edge in start.cut:
            assembly.outboxes[edge].cut(0)
        self._entries = {
            e: Entry(assembly.mailboxes[e], assembly.homes[e.target].bell, self._loop, start.theta_ns)
            for e in start.part.arriving
        }
        self._site, self._lossless = Site(assembly), start.part.lossless
        self._site.start()
        self._made().set()

    def _made(self) -> asyncio.Event:
        if self._is_made is None:
            self._is_made = asyncio.Event()
        return self._is_made

    async def tell(self, number: int, kind: str, values: tuple[Any, ...]) -> None:
        """Carry out the `number`th command; what comes of it is told by `report`."""
        await self._made().wait()
        await self._turns.come(number)
        site = self._site
        if kind == "set_up":
            site.set_up().add_done_callback(partial(self._settled, "ready"))
        elif kind == "run":
            site.run().add_done_callback(partial(self._settled, "over"))
        elif kind == "close_edge":
            site.close_edge(values[0])
        elif kind == "stop":
            site.stop()
        elif kind == "cut":
            edge, generation = values
            self._assembly.outboxes[edge].cut(generation)
        elif kind == "pull":
            self._pull(*values)
        elif kind == "close":
            site.stop()
            for puller in self._pullers.values():
                puller.end()
            stuck = await self._loop.run_in_executor(None, site.close, values[0])
            self._tell("closed", stuck)

    def _settled(self, kind: str, future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            self._tell(kind, self._site.facts)
        elif isinstance(error, CauceError):
            self._tell("failed", error)
        else:
            self._tell("failed", NodeError(self._site.part.name, "worker", in_words(error)))

    def _tell(self, kind: str, value: Any) -> None:
        """Have the run hear of something at once. Callable from any thread."""
        self._events.append((kind, value))
        post(self._loop, self._news.set)

    async def report(self) -> tuple[list[tuple[int, bytes]], list[tuple[str, Any]], float]:
        """What has changed: parts of the counts, by offset; events, in order; and the memory in use, in MB."""
        await self._made().wait()
        try:
            await asyncio.wait_for(self._news.wait(), REPORT_S)
        except TimeoutError:
            pass
        self._news.clear()
        if (words := self._site.words()) != self._words:
            self._words = words
            self._events.append(("words", words))
        events, self._events = self._events, []
        return self._changes(), events, procfs.resident_mb(os.getpid())

    def _changes(self) -> list[tuple[int, bytes]]:
        changes = []
        for at in range(0, len(self._told), CHUNK):
            now = bytes(self._block.raw[at : at + CHUNK])
            if now != self._told[at : at + CHUNK]:
                self._told[at : at + CHUNK] = now
                changes.append((at, now))
        return changes

    async def take(self, index: int, number: int, parcel: Parcel, message: Any = None) -> None:
        """A message from the run, beside its parcel so that Ray fetches what it refers to; see `Entry.take`."""
        await self._made().wait()
        parcel = Parcel(*parcel)._replace(message=message)
        del message
        await self._entries[self._edges[index]].take(number, parcel, lossless=self._lossless)

    async def give(self, index: int, reader: Reader, number: int) -> tuple[Any, ...] | None:
        """The next message of an edge; see `Outbox.give`."""
        await self._made().wait()
        edge = self._edges[index]
        outbox, shelf = self._assembly.outboxes[edge], self._assembly.fans[edge].shelf
        parcel = await outbox.give(reader, number, self._theta_ns, shelf, lossless=self._lossless)
        return None if parcel is None else tuple(parcel)

    async def done(self, index: int, generation: int, number: int) -> None:
        """The capture of a message that was given has ended."""
        self._assembly.outboxes[self._edges[index]].done(generation, number)

    async def where(self) -> str:
        """Where the threads of the nodes are at this moment."""
        names = {w.thread.ident: name for name, w in self._assembly.workers.items()}
        frames = sys._current_frames()
        return "\n".join(
            f"  {name}:\n{''.join(traceback.format_stack(frames[ident])).rstrip()}"
            for ident, name in names.items()
            if ident in frames
        )

    def _pull(self, edge: PlannedEdge, handle: Any, generation: int, is_new: bool) -> None:
        if (before := self._pullers.get(edge)) is not None:
            before.end()
        entry = self._entries[edge]
        reader = Reader(generation, is_new=is_new, had=entry.had)
        ends = _Pulled(entry, lossless=self._lossless)
        entry.mailbox.is_cut_off = False
        puller = Puller(handle, edge, self._edges.index(edge), reader, ends, partial(post, self._loop))
        self._pullers[edge] = puller
        entry.on_room = puller.pump
        puller.pump()


class _Pulled:
    """Where messages go that come from another actor."""

    def __init__(self, entry: Entry, *, lossless: bool) -> None:
        self._entry, self._lossless = entry, lossless

    def has_room(self) -> bool:
        """See `Ends.has_room`."""
        return self._entry.mailbox.has_room()

    def take_in(self, parcel: Parcel, ticket: Ticket | None) -> None:
        """See `Ends.take_in`."""
        self._entry.take_in(parcel, ticket, lossless=self._lossless)

    def gone(self, error: Exception) -> None:
        """See `Ends.gone`."""
        logging.getLogger(__name__).debug("an actor does not answer: %s", error)
        self._entry.take_in(Parcel(CUT), None, lossless=self._lossless)
