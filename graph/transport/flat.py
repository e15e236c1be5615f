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
"""Finds a place for an array without gaps: slot and offset."""
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


_layouts: dict[type, Layout | None] = {}
_codes: dict[np.dtype[Any], str] = {}
_new = object.__new__


def taken_apart(value: Any, place: Place) -> tuple[Any, ...]:
    """Key of the class, values of the fields, and what stands for those that are no plain values.

    All of it is for `marshal` to write, which refuses what is in a tuple and not plain, by ValueError.

    Raises:
        NotFlat: Something in it is no plain value, array or frozen dataclass with slots of such.
    """
    cls = type(value)
    layout = _layouts[cls] if cls in _layouts else _layout(cls)
    if layout is None:
        raise NotFlat(cls)
    values: list[Any] = []
    others: list[tuple[Any, ...]] = []
    for name in layout.names:
        x = getattr(value, name)
        kind = type(x)
        if kind is np.ndarray:
            dtype = x.dtype
            if not x.flags.c_contiguous:
                raise NotFlat(kind)
            where = x.tobytes() if x.nbytes <= SMALL else place(x)
            others.append((len(values), where, _codes.get(dtype) or _code(dtype), x.shape))
            x = None
        elif kind not in PLAIN:
            others.append((len(values), taken_apart(x, place), None, None))
            x = None
        values.append(x)
    return layout.key, values, others


def put_together(parts: tuple[Any, ...], lease: Lease) -> Any:
    """The message; its arrays are read-only, those that lie in slots are what `lease` gives."""
    key, values, others = parts
    for i, where, code, shape in others:
        if code is None:
            values[i] = put_together(where, lease)
        elif type(where) is tuple:
            slot, offset = where
            values[i] = lease(slot, offset, shape, _dtypes[code])
        else:
            values[i] = np.ndarray(shape, _dtypes[code], where)
    cls, setters = _known[key]
    value: Any = _new(cls)
    for i, put in setters:
        put(value, values[i])
    return value


def _code(dtype: np.dtype[Any]) -> str:
    if dtype.kind not in KINDS:
        raise NotFlat(dtype)
    _codes[dtype] = dtype.str
    return dtype.str


def _layout(cls: type) -> Layout | None:
    """The layout of a frozen dataclass with slots, whose fields are all that it has; None: of another class."""
    layout = None
    own = {name for base in cls.__mro__[:-1] for name in vars(base) if name in PICKLING}
    made = {
        name for name in own if getattr(getattr(cls, name), "__module__", "") == "dataclasses"
    }  # for frozen ones with slots
    if dataclasses.is_dataclass(cls) and cls.__dictoffset__ == 0 and own == made and "<locals>" not in cls.__qualname__:
        names = [f.name for f in dataclasses.fields(cls)]
        setters = [(i, getattr(cls, name).__set__) for i, name in enumerate(names)]
        layout = Layout(cls, f"{cls.__module__}:{cls.__qualname__}", names, setters)
    _layouts[cls] = layout
    return layout


class _Dtypes(dict[str, np.dtype[Any]]):
    """Dtypes by their code, each made once."""

    def __missing__(self, code: str) -> np.dtype[Any]:
        return self.setdefault(code, np.dtype(code))


class _Known(dict[str, tuple[type, Sequence[tuple[int, Callable[[Any, Any], None]]]]]):
    """Classes and what sets their fields, by their key; each is looked for once."""

    def __missing__(self, key: str) -> tuple[type, Sequence[tuple[int, Callable[[Any, Any], None]]]]:
        module, _, name = key.partition(":")
        cls: Any = importlib.import_module(module)
        for part in name.split("."):
            cls = getattr(cls, part)
        layout = _layout(cls)
        assert layout is not None
        return self.setdefault(key, (cls, layout.setters))


_dtypes, _known = _Dtypes(), _Known()
