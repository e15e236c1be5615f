"""Messages that say little new: when they were captured, where their arrays lie or what small ones hold.

Nearly all frames are such. What they have in common is their form. It is told once on each connection, with a whole
message; after that a message is a few whole numbers. When a frame comes caches are cold, and to write and read those
takes half as long as values of all kinds do.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter, is_
from struct import Struct
from typing import Any, NamedTuple

import numpy as np

from graph.node import Stamp, of_fields
from graph.packet import Ticket
from graph.transport import flat
from graph.transport.flat import Lease
from graph.transport.views import Copies

_HEAD = 5  # words before the places: number and ticket, seq, captured_ns, offset_ns, sent_ns
_WORD = 8

_new = object.__new__


class _Array(NamedTuple):
    """A field that is an array."""

    get: Callable[[Any], Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int
    """Bytes that it takes behind the places; 0 for one in a slot."""


class Form(NamedTuple):
    """The producer's side of a form."""

    number: int
    arrays: Sequence[_Array]
    rest: Callable[[Any], tuple[Any, ...]] | None
    """Gives the fields that are no arrays, where there are any."""
    values: tuple[Any, ...]
    """What those fields are in all messages of the form."""
    exactly: bytes | None
    """The same in bytes; None for other than plain values."""
    pack: Callable[..., bytes]

    def told(
        self, stamp: Stamp, message: Any, sent_ns: int, has_ticket: bool, lent: Mapping[int, tuple[int, int]]
    ) -> tuple[bytes, list[int]] | None:
        """The datagram of a message of the same class, and its slots; None where it does not have this form."""
        number, arrays, rest, values, exactly, pack = self
        if rest is not None and not all(map(is_, found := rest(message), values)) and not _are(found, exactly):
            return None
        slots: list[int] = []
        places: list[int] = []
        small = b""
        for get, shape, dtype, size in arrays:
            array = get(message)
            if type(array) is not np.ndarray or array.shape != shape or array.dtype is not dtype:
                return None
            if size:
                small += array.tobytes().ljust(size, b"\0")
                continue
            place = lent.get(id(array))
            if place is None:
                return None
            places += place
            slots.append(place[0])
        _, seq, captured_ns, offset_ns = stamp
        return pack(~(number * 2 + has_ticket), seq, captured_ns, offset_ns, sent_ns, *places) + small, slots


def form_of(number: int, message: Any, parts: flat.Parts) -> Form | None:
    """The form of a message that was taken apart; None for one without arrays, and where arrays are in parts of it."""
    _, _, others = parts
    layout = flat.layouts[type(message)]
    if layout is None or not all(code is not None or _is_plain(where) for _, where, code, _ in others):
        return None
    names = layout.names
    arrays = []
    for i, where, code, shape in others:
        if code is not None:
            size = 0 if type(where) is tuple else _padded(len(where))
            arrays.append(_Array(attrgetter(names[i]), shape, getattr(message, names[i]).dtype, size))
    taken = {i for i, _, code, _ in others if code is not None}
    rest = _fields([name for i, name in enumerate(names) if i not in taken])
    values = rest(message) if rest else ()
    pack = Struct(f"<{_HEAD + 2 * sum(not array.size for array in arrays)}q").pack
    return Form(number, arrays, rest, values, _exactly(values), pack) if arrays else None


def _is_plain(parts: flat.Parts) -> bool:
    """Whether a part of a message has no arrays, so that the same object says the same for ever."""
    return all(code is None and _is_plain(where) for _, where, code, _ in parts[2])


def _padded(size: int) -> int:
    return max(-(-size // _WORD), 1) * _WORD


def _fields(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]] | None:
    if not names:
        return None
    get: Callable[[Any], Any] = attrgetter(*names)
    return get if len(names) > 1 else lambda message: (get(message),)


def _exactly(values: tuple[Any, ...]) -> bytes | None:
    return marshal.dumps(values, 2) if flat.is_plain(values) else None


def _are(values: tuple[Any, ...], exactly: bytes | None) -> bool:
    return exactly is not None and _exactly(values) == exactly


Put = Callable[[Any, Any], None]


class Known(NamedTuple):
    """The consumer's side of a form: how a message of it is made."""

    origin: str
    cls: type
    lying: Sequence[tuple[Put, tuple[int, ...], np.dtype[Any]]]
    small: Sequence[tuple[Put, Copies, slice]]
    """The last says which words of the datagram are its bytes."""
    rest: Sequence[tuple[Put, Any]]
    unpack: Callable[[memoryview], tuple[int, ...]]

    def made(self, datagram: memoryview, lease: Lease, ticket: Ticket | None) -> tuple[Stamp, Any, int, Ticket | None]:
        """Stamp, message, when it was sent, and its ticket."""
        origin, cls, lying, small, rest, unpack = self
        _, seq, captured_ns, offset_ns, sent_ns, *places = unpack(datagram)
        value: Any = _new(cls)
        for put, x in rest:
            put(value, x)
        at = 0
        for put, shape, dtype in lying:
            put(value, lease(places[at], places[at + 1], shape, dtype))
            at += 2
        for put, copies, words in small:
            put(value, copies.take(datagram[words]))
        return of_fields(Stamp, (origin, seq, captured_ns, offset_ns)), value, sent_ns, ticket


def learned(origin: str, message: Any, parts: flat.Parts) -> Known:
    """The form of a message that came whole."""
    key, _, others = parts
    layout = flat.known[key]
    arrays = {i: (where, flat.dtypes[code], shape) for i, where, code, shape in others if code is not None}
    lying, small = [], []
    at = head = _HEAD + 2 * sum(type(where) is tuple for where, _, _ in arrays.values())
    for i, (where, dtype, shape) in arrays.items():
        put = layout.setters[i][1]
        if type(where) is tuple:
            lying.append((put, shape, dtype))
        else:
            words = _padded(len(where)) // _WORD
            small.append((put, Copies(shape, dtype, words), slice(at, at + words)))
            at += words
    rest = [(put, getattr(message, layout.names[i])) for i, put in layout.setters if i not in arrays]
    return Known(origin, layout.cls, lying, small, rest, Struct(f"<{head}q").unpack_from)
