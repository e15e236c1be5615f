"""Messages that say nothing new but when they were captured and where their arrays lie, as nearly all frames do.

What they have in common is their form. It is told once on each connection, with a whole message; after that a message
is a few whole numbers. When a frame comes caches are cold, and to write and read those takes half as long as values do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter, is_
from struct import Struct
from typing import Any, NamedTuple

import numpy as np

from graph.node import Stamp
from graph.transport import flat
from graph.transport.flat import Lease

_HEAD = 5  # words before the places: number and ticket, seq, captured_ns, offset_ns, sent_ns

_new = object.__new__


class _Array(NamedTuple):
    """A field that is an array in a slot."""

    get: Callable[[Any], Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Form(NamedTuple):
    """The producer's side of a form."""

    number: int
    arrays: Sequence[_Array]
    rest: Callable[[Any], tuple[Any, ...]] | None
    """Gives the fields that are no arrays, where there are any."""
    values: tuple[Any, ...]
    """What those fields are in all messages of the form."""
    pack: Callable[..., bytes]

    def told(
        self, stamp: Stamp, message: Any, sent_ns: int, has_ticket: bool, lent: Mapping[int, tuple[int, int]]
    ) -> tuple[bytes, list[int]] | None:
        """The datagram of a message of the same class, and its slots; None where it does not have this form."""
        _, arrays, rest, values, pack = self
        if rest is not None and not all(map(is_, rest(message), values)):
            return None
        slots: list[int] = []
        places: list[int] = []
        for get, shape, dtype in arrays:
            array = get(message)
            place = lent.get(id(array))
            if place is None or array.shape != shape or array.dtype is not dtype:
                return None
            places += place
            slots.append(place[0])
        _, seq, captured_ns, offset_ns = stamp
        return pack(~(self.number * 2 + has_ticket), seq, captured_ns, offset_ns, sent_ns, *places), slots


def form_of(number: int, message: Any, parts: flat.Parts) -> Form | None:
    """The form of a message that was taken apart; None for one in which more may change than where arrays lie."""
    _, _, others = parts
    for _, where, code, _ in others:
        if not (_is_plain(where) if code is None else type(where) is tuple):
            return None
    names = flat.layouts[type(message)].names
    lying = [names[i] for i, _, code, _ in others if code is not None]
    if not lying:
        return None
    arrays = [_Array(attrgetter(name), getattr(message, name).shape, getattr(message, name).dtype) for name in lying]
    rest = _fields([name for name in names if name not in lying])
    pack = Struct(f"<{_HEAD + 2 * len(lying)}q").pack
    return Form(number, arrays, rest, rest(message) if rest else (), pack)


def _is_plain(parts: flat.Parts) -> bool:
    """Whether a part of a message has no arrays, so that the same object says the same for ever."""
    return all(code is None and _is_plain(where) for _, where, code, _ in parts[2])


def _fields(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]] | None:
    if not names:
        return None
    get: Callable[[Any], Any] = attrgetter(*names)
    return get if len(names) > 1 else lambda message: (get(message),)


class Known(NamedTuple):
    """The consumer's side of a form: how a message of it is made."""

    origin: str
    cls: type
    arrays: Sequence[tuple[Callable[[Any, Any], None], tuple[int, ...], np.dtype[Any]]]
    rest: Sequence[tuple[Callable[[Any, Any], None], Any]]

    def made(self, places: Sequence[int], lease: Lease) -> tuple[str, Any]:
        """The origin, and the message whose arrays lie there: slot, offset, slot, offset, ..."""
        origin, cls, arrays, rest = self
        value = _new(cls)
        for put, x in rest:
            put(value, x)
        at = 0
        for put, shape, dtype in arrays:
            put(value, lease(places[at], places[at + 1], shape, dtype))
            at += 2
        return origin, value


def learned(origin: str, message: Any, parts: flat.Parts) -> Known:
    """The form of a message that came whole."""
    key, _, others = parts
    layout = flat.known[key]
    lying = {i: (shape, flat.dtypes[code]) for i, _, code, shape in others if code is not None}
    arrays = [(layout.setters[i][1], *what) for i, what in lying.items()]
    rest = [(put, getattr(message, layout.names[i])) for i, put in layout.setters if i not in lying]
    return Known(origin, layout.cls, arrays, rest)
