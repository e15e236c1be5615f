"""Asks an actor for the messages of one edge: in order, and some ahead, so that none waits for a round trip."""

from __future__ import annotations

import io
import pickle
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, NamedTuple, Protocol

from graph.node import Stamp
from graph.packet import Ticket
from graph.plan import PlannedEdge

AHEAD = 4  # messages of one edge under way at most, beyond the two that are being written and read
SHARED_BYTES = 65_536  # from here on a message for several actors is put into the store once, for all of them
KEPT = 2

MESSAGE, END, CUT = 1, 2, 3
"""Kinds of parcels: a message or its absence; nothing more will come; its producer is gone for now."""


class Parcel(NamedTuple):
    """What travels. Times are on the clock of the machine that the run was started on."""

    kind: int
    stamp: tuple[Any, ...] | None = None
    sent_ns: int = 0
    has_ticket: bool = False
    message: Any = None


def window(edge: PlannedEdge) -> int:
    """How many messages of an edge may be under way."""
    return min(edge.capacity, AHEAD) + (0 if edge.policy == "block" else 2)


def shifted(stamp: Stamp, by_ns: int, *, lossless: bool) -> Stamp:
    """The stamp as a machine must see it whose clock is `by_ns` ahead."""
    if not by_ns:
        return stamp
    if lossless:  # media time stays what it is
        return stamp._replace(offset_ns=stamp.offset_ns - by_ns)
    return stamp._replace(captured_ns=stamp.captured_ns + by_ns)


class Shelf:
    """The last messages of one output, in the object store: put there by the first who sends them, for all."""

    def __init__(self) -> None:
        self._refs: deque[tuple[Any, Any]] = deque(maxlen=KEPT)
        self._lock = Lock()

    def placed(self, key: object, message: Any) -> Any:
        """The reference of a message; small ones are given back as they are, since they travel with the call."""
        if _array_bytes(message) < SHARED_BYTES:
            return message
        import ray

        with self._lock:
            for known, ref in self._refs:
                if known == key:
                    return ref
            ref = ray.put(message)
            self._refs.append((key, ref))
            return ref


def _array_bytes(message: Any) -> int:
    sizes: list[int] = []
    pickler = pickle.Pickler(io.BytesIO(), 5, buffer_callback=lambda b: sizes.append(b.raw().nbytes))
    pickler.dump(message)
    return sum(sizes)


class Ends(Protocol):
    """Where pulled messages go."""

    def has_room(self) -> bool:
        """Whether one more can be taken in."""
        ...

    def take_in(self, parcel: Parcel, ticket: Ticket | None) -> None:
        """Take in a parcel."""
        ...

    def gone(self, error: Exception) -> None:
        """The actor does not answer any more."""
        ...


@dataclass(frozen=True, slots=True)
class Reader:
    """Who pulls: what the actor must know to keep its books."""

    generation: int
    """Those of a lower number are dead."""
    is_new: bool = False
    """Whether the consumer has just been started; what an earlier one had not taken is lost."""
    had: int | None = None
    """How many messages the consumer has had, since its start, of earlier producers; None: it does not matter."""


class Puller:
    """One edge out of an actor. All methods run in the thread, or loop, that `post` gives work to."""

    def __init__(
        self, handle: Any, edge: PlannedEdge, index: int, reader: Reader, ends: Ends, post: Callable[..., None]
    ) -> None:
        self._handle, self._index, self._reader, self._ends, self._post = handle, index, reader, ends, post
        self._window = window(edge)
        self._asked = self._next = 0
        self._came: dict[int, Parcel] = {}
        self.is_over = False

    def pump(self) -> None:
        """Hand on what has come, and ask for more."""
        while self._next in self._came and not self.is_over and self._ends.has_room():
            number, self._next = self._next, self._next + 1
            self._hand_on(number, self._came.pop(number))
        while not self.is_over and self._asked - self._next < self._window:
            number, self._asked = self._asked, self._asked + 1
            ref = self._handle.give.remote(self._index, self._reader, number)
            ref.future().add_done_callback(partial(self._answered, number))

    def _hand_on(self, number: int, parcel: Parcel) -> None:
        self.is_over = parcel.kind == END
        ticket = PulledTicket(partial(self._post, self._finish, number)) if parcel.has_ticket else None
        self._ends.take_in(parcel, ticket)

    def _finish(self, number: int) -> None:
        self._handle.done.remote(self._index, self._reader.generation, number)

    def _answered(self, number: int, future: Any) -> None:
        """In a thread of Ray's."""
        error = future.exception()
        if error is not None:
            self._post(self._failed, error)
            return
        parcel = future.result()
        if parcel is None:  # there is a newer reader
            self._post(self.end)
            return
        parcel = Parcel(*parcel)
        if parcel.kind == MESSAGE and hasattr(parcel.message, "future"):
            parcel.message.future().add_done_callback(partial(self._resolved, number, parcel))
        else:
            self._post(self._arrived, number, parcel)

    def _resolved(self, number: int, parcel: Parcel, future: Any) -> None:
        error = future.exception()
        if error is not None:
            self._post(self._failed, error)
        else:
            self._post(self._arrived, number, parcel._replace(message=future.result()))

    def _arrived(self, number: int, parcel: Parcel) -> None:
        self._came[number] = parcel
        self.pump()

    def _failed(self, error: Exception) -> None:
        if not self.is_over:
            self.is_over = True
            self._ends.gone(error)

    def end(self) -> None:
        """Ask no more."""
        self.is_over = True
        self._came.clear()


class PulledTicket(Ticket):
    """Stands for a ticket that waits elsewhere; `on_end` is called in whatever thread drops the last packet."""

    __slots__ = ("_on_end",)

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end

    def __del__(self) -> None:
        self._on_end()
