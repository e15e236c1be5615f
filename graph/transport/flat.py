"""Messages that are frozen dataclasses of plain values and arrays, as nearly all are, without pickle.

Thirty frames a second leave the caches cold, and then each line that is executed counts: a frame takes a fraction of
the time that pickle takes. What does not fit here is pickled, see `wire`.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

SMALL = 4096  # bytes; a smaller array is cheaper to copy into the datagram than to account for
KINDS = "biufc"  # numpy's kinds whose `dtype.str` says all
PLAIN = frozenset((type(None), bool, int, float, str, bytes, tuple))
PICKLING = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")

Place: TypeAlias = Callable[[np.ndarray[Any, Any]], tuple[int, ...]]
"""Finds a place for an array: slot and offset; NotFlat for one with gaps."""
Parts: TypeAlias = tuple[str, list[Any], list[tuple[Any, ...]]]
"""A message taken apart: key of its class, values of its fields, and what stands for those that are no plain values:

number of the field; where the array lies, or its bytes, or the parts of a nested message; code of the dtype, None for a
nested message; shape.
"""
Lease: TypeAlias = Callable[[int, int, tuple[int, ...], np.dtype[Any]], np.ndarray[Any, Any]]
"""The array in a slot, at an offset, with this shape and dtype."""


class Layout(NamedTuple):
    """How a class is taken apart and put together."""

    cls: type
    key: str
    names: Sequence[str]
    setters: Sequence[tuple[int, Callable[[Any, Any], None]]]
    """By the number of the field."""


class NotFlat(ValueError):
    """A message that this module leaves to pickle."""


_new = object.__new__


def taken_apart(value: Any, place: Place) -> Parts:
    """The parts of a message.

    All of it is for `marshal` to write.

    Raises:
        NotFlat: Something in it is no plain value, array or frozen dataclass with slots of such.
    """
    cls = type(value)
    layout = layouts[cls]
    if layout is None:
        raise NotFlat(cls)
    values: list[Any] = []
    others: list[tuple[Any, ...]] = []
    for name in layout.names:
        x = getattr(value, name)
        kind = type(x)
        if kind is np.ndarray:
            where = x.tobytes() if x.nbytes <= SMALL else place(x)
            others.append((len(values), where, _codes[x.dtype], x.shape))
            x = None
        elif kind is tuple:
            if not is_plain(x):
                raise NotFlat(x)
        elif kind not in PLAIN:
            others.append((len(values), taken_apart(x, place), None, None))
            x = None
        values.append(x)
    return layout.key, values, others


def is_plain(values: tuple[Any, ...]) -> bool:
    """Whether there are plain values in it and nothing else: `marshal` would make bytes of an array in a tuple."""
    return PLAIN.issuperset(map(type, values)) and all(is_plain(x) for x in values if type(x) is tuple)


def put_together(parts: Parts, lease: Lease) -> Any:
    """The message; its arrays are read-only, those that lie in slots are what `lease` gives."""
    key, values, others = parts
    for i, where, code, shape in others:
        if code is None:
            values[i] = put_together(where, lease)
        elif type(where) is tuple:
            slot, offset = where
            values[i] = lease(slot, offset, shape, dtypes[code])
        else:
            values[i] = np.ndarray(shape, dtypes[code], where)
    cls, _, _, setters = known[key]
    value: Any = _new(cls)
    for i, put in setters:
        put(value, values[i])
    return value


class _Layouts(dict[type, Layout | None]):
    """The layout of a frozen dataclass with slots, whose fields are all that it has; None: of another class."""

    def __missing__(self, cls: type) -> Layout | None:
        own = {name for base in cls.__mro__[:-1] for name in vars(base) if name in PICKLING}
        made = {  # for frozen ones with slots
            name for name in own if getattr(getattr(cls, name), "__module__", "") == "dataclasses"
        }
        if not dataclasses.is_dataclass(cls) or cls.__dictoffset__ or own != made or "<locals>" in cls.__qualname__:
            return self.setdefault(cls, None)
        names = [f.name for f in dataclasses.fields(cls)]
        setters = [(i, getattr(cls, name).__set__) for i, name in enumerate(names)]
        return self.setdefault(cls, Layout(cls, f"{cls.__module__}:{cls.__qualname__}", names, setters))


class _Known(dict[str, Layout]):
    """The same by the key of the class, which is looked for once."""

    def __missing__(self, key: str) -> Layout:
        module, _, name = key.partition(":")
        cls: Any = importlib.import_module(module)
        for part in name.split("."):
            cls = getattr(cls, part)
        layout = layouts[cls]
        assert layout is not None
        return self.setdefault(key, layout)


class _Codes(dict[np.dtype[Any], str]):
    """What says all of a dtype; NotFlat where nothing so short does."""

    def __missing__(self, dtype: np.dtype[Any]) -> str:
        if dtype.kind not in KINDS:
            raise NotFlat(dtype)
        return self.setdefault(dtype, dtype.str)


class _Dtypes(dict[str, np.dtype[Any]]):
    """Dtypes by their code."""

    def __missing__(self, code: str) -> np.dtype[Any]:
        return self.setdefault(code, np.dtype(code))


layouts, known, _codes, dtypes = _Layouts(), _Known(), _Codes(), _Dtypes()
