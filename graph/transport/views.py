"""Arrays on shared memory: who looks at which slot, and arrays at hand before they are needed."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class _Kept(np.ndarray[Any, Any]):
    """An array that stays, so that views of it can be given out: plain arrays, each of them the base of its own views.

    To make such a view takes a third of what an array of the same memory takes. numpy hands on as a base what has the
    class of the view, so that a view of a plain array would not count as one of those that were given out.
    """


Place: TypeAlias = tuple[int, tuple[int, ...], np.dtype[Any]]
"""Offset, shape and dtype."""


class Views:
    """Arrays in the slots of a ring, each in use until no array is left that is a view of it.

    `on_end` is told the slot then, in any thread, by a destructor: it must neither wait nor raise. The next array of
    the same place is made at that moment, when all that it takes is at hand. When a frame comes it is not, and each
    thing that is touched first costs more than what it does.
    """

    MOST = 1024
    """Places that are remembered; arrays may be of ever new shapes."""

    def __init__(self, memory: memoryview, on_end: Callable[[int], None]) -> None:
        self.on_end = on_end
        self._memory = memory
        self._kept: dict[Place, _Kept] = {}
        self._ready: dict[Place, Array] = {}
        self._live: dict[int, tuple[weakref.ref[Array], int, Place]] = {}
        self._is_closed = False

    def take(self, slot: int, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """The array at an offset, which is in that slot."""
        place = offset, shape, dtype
        array = self._ready.pop(place, None)
        return self._made(slot, place)[0] if array is None else array

    def _made(self, slot: int, place: Place) -> tuple[Array, int]:
        """A new array, and under which number it is watched."""
        kept = self._kept.get(place)
        if kept is None:
            if len(self._kept) >= self.MOST:
                self._kept.clear()
            offset, shape, dtype = place
            kept = self._kept[place] = _Kept(shape, dtype, self._memory, offset)
        array: Array = kept.view(np.ndarray)
        lease = weakref.ref(array, self._ended)
        number = id(lease)
        self._live[number] = lease, slot, place
        return array, number

    def _ended(self, lease: weakref.ref[Array]) -> None:
        _, slot, place = self._live.pop(id(lease))
        if self._is_closed:
            return
        self.on_end(slot)
        if len(self._ready) < self.MOST:
            array, number = self._made(slot, place)
            if self._ready.setdefault(place, array) is not array:  # there is one; nobody must hear of the end of this
                del self._live[number]

    def close(self) -> None:
        """Tell nothing any more. Arrays that are in use stay."""
        self._is_closed = True
        self._ready.clear()
        self._kept.clear()


class Copies:
    """Read-only arrays of one shape and dtype, each with memory of its own, that are filled when they are asked for.

    Each comes back when no array is left that is a view of it. They are at hand for the same reason as `Views` are.
    """

    MOST = 64
    """That are at hand."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], words: int) -> None:
        self._shape, self._dtype, self._words = shape, dtype, words
        self._ready: list[tuple[memoryview, Array]] = []
        self._live: dict[int, tuple[weakref.ref[Array], memoryview, _Kept]] = {}

    def take(self, words: memoryview) -> Array:
        """The array with these bytes, given as int64."""
        memory, array = self._ready.pop() if self._ready else self._new()
        memory[:] = words
        return array

    def _new(self) -> tuple[memoryview, Array]:
        memory = memoryview(bytearray(8 * self._words)).cast("q")
        kept = _Kept(self._shape, self._dtype, memory)
        kept.flags.writeable = False
        return memory, self._view(memory, kept)

    def _view(self, memory: memoryview, kept: _Kept) -> Array:
        array: Array = kept.view(np.ndarray)
        lease = weakref.ref(array, self._ended)
        self._live[id(lease)] = lease, memory, kept
        return array

    def _ended(self, lease: weakref.ref[Array]) -> None:
        _, memory, kept = self._live.pop(id(lease))
        if len(self._ready) < self.MOST:
            self._ready.append((memory, self._view(memory, kept)))
