"""Messages that are frozen dataclasses of plain values and arrays, as nearly all are, without pickle.

Thirty frames a second leave the caches cold, and then each line that is executed counts: a frame takes a quarter of the
time that pickle takes. What does not fit here is pickled, see `wire`.
"""

from __future__ import annotations

import dataclasses
import importlib
import marshal
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from graph.node import Stamp
from graph.transport.ring import Bytes, Ref

SMALL = 4096  # bytes; a smaller array is cheaper to copy into the datagram than to account for
LARGEST = 120_000  # bytes of a datagram; about half of what Linux lets a socket hold
KINDS = "biufc"  # numpy's kinds whose `dtype.str` says all
PLAIN = frozenset((type(None), bool, int, float, str, bytes, tuple))
PICKLING = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")

Place: TypeAlias = Callable[[np.ndarray[Any, Any]], Ref]
Lease: TypeAlias = Callable[[Ref], Bytes]


class Layout(NamedTuple):
    """How a class is taken apart and put together."""

    cls: type
    key: tuple[str, str]
    names: Sequence[str]
    setters: Sequence[Callable[[Any, Any], None]]


class NotFlat(ValueError):
    """A message that this module leaves to pickle."""


_layouts: dict[type, Layout | None] = {}
_known: dict[tuple[str, str], Layout] = {}


def dumps(stamp: Stamp, sent_ns: int, message: Any, place: Place | None) -> bytes:
    """The bytes of a message, whose large arrays lie where `place` says.

    Raises:
        ValueError: Something in it is no plain value, array or frozen dataclass with slots of such.
    """
    parts = None if message is None or place is None else _taken_apart(message, place)
    data = marshal.dumps((*stamp, sent_ns, parts))
    if len(data) > LARGEST:
        raise NotFlat(f"{len(data)} bytes")
    return data


def loads(data: memoryview, lease: Lease) -> tuple[Stamp, int, Any]:
    """Stamp, time of sending and message; arrays are read-only views of what `lease` gives."""
    origin, seq, captured_ns, offset_ns, sent_ns, parts = marshal.loads(data)
    message = None if parts is None else _put_together(parts, lease)
    return Stamp(origin, seq, captured_ns, offset_ns), sent_ns, message


def _taken_apart(value: Any, place: Place) -> tuple[Any, ...]:
    """Key of the class, values of the fields, and what stands for those that are no plain values."""
    cls = type(value)
    layout = _layouts[cls] if cls in _layouts else _layout(cls)
    if layout is None:
        raise NotFlat(cls)
    values: list[Any] = []
    others: list[tuple[Any, ...]] = []
    for name in layout.names:
        x = getattr(value, name)
        if type(x) is np.ndarray:
            others.append((len(values), *_array(x, place)))
            x = None
        elif type(x) not in PLAIN:
            others.append((len(values), _taken_apart(x, place)))
            x = None
        values.append(x)
    return layout.key, values, others


def _array(array: np.ndarray[Any, Any], place: Place) -> tuple[Any, ...]:
    dtype = array.dtype
    if dtype.kind not in KINDS or not array.flags.c_contiguous:
        raise NotFlat(dtype)
    where = array.tobytes() if array.nbytes <= SMALL else tuple(place(array))
    return where, dtype.str, array.shape


def _put_together(parts: tuple[Any, ...], lease: Lease) -> Any:
    key, values, others = parts
    for i, *other in others:
        if len(other) == 1:
            values[i] = _put_together(other[0], lease)
        else:
            where, dtype, shape = other
            buffer = lease(Ref(*where)) if type(where) is tuple else where
            values[i] = np.ndarray(shape, dtype, buffer)
    cls, _, _, setters = _known.get(key) or _found(key)
    value: Any = object.__new__(cls)
    for put, x in zip(setters, values, strict=True):
        put(value, x)
    return value


def _layout(cls: type) -> Layout | None:
    """The layout of a frozen dataclass with slots, whose fields are all that it has; None: of another class."""
    layout = None
    own = {name for base in cls.__mro__[:-1] for name in vars(base) if name in PICKLING}
    made = {
        name for name in own if getattr(getattr(cls, name), "__module__", "") == "dataclasses"
    }  # for frozen ones with slots
    if dataclasses.is_dataclass(cls) and cls.__dictoffset__ == 0 and own == made and "<locals>" not in cls.__qualname__:
        names = [f.name for f in dataclasses.fields(cls)]
        setters = [getattr(cls, name).__set__ for name in names]
        layout = Layout(cls, (cls.__module__, cls.__qualname__), names, setters)
    _layouts[cls] = layout
    return layout


def _found(key: tuple[str, str]) -> Layout:
    module, name = key
    cls: Any = importlib.import_module(module)
    for part in name.split("."):
        cls = getattr(cls, part)
    layout = _layout(cls)
    assert layout is not None
    _known[key] = layout
    return layout
