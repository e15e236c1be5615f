"""Arrays on shared memory: who looks at which slot, and arrays at hand before they are needed."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class _Kept(np.ndarray[Any, Any]):
    """An array that stays, so that views of it can be given out: plain arrays, each of them the base of its own views.

    To make such a view takes a third of what an array of the same memory takes. numpy hands on as a base what has the
    class of the view, so that a view of a plain array would not count as one of those that were given out.
    """


class _Place:
    """Where arrays of one shape and dtype lie in a slot, and what is at hand there."""

    __slots__ = ("dtype", "is_known", "kept", "ready", "shape", "slot")

    def __init__(self, slot: int, shape: tuple[int, ...], dtype: np.dtype[Any], kept: _Kept, *, is_known: bool) -> None:
        self.slot, self.shape, self.dtype, self.kept = slot, shape, dtype, kept
        self.is_known = is_known
        """Whether it will be found again."""
        self.ready: list[Array] = []


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
        self._last: dict[int, _Place] = {}
        """The place that was asked for last, by offset: nearly always the one that is asked for next."""
        self._places: dict[tuple[int, tuple[int, ...], np.dtype[Any]], _Place] = {}
        self._live: dict[int, tuple[weakref.ref[Array], _Place]] = {}
        self._is_closed = False

    def take(self, slot: int, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """The array at an offset, which is in that slot."""
        place = self._last.get(offset)
        if place is None or place.dtype is not dtype or place.shape != shape:
            place = self._found(slot, offset, shape, dtype)
        try:
            return place.ready.pop()
        except IndexError:
            return self._made(place)

    def _found(self, slot: int, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> _Place:
        place = self._places.get((offset, shape, dtype))
        if place is None:
            kept, is_known = _Kept(shape, dtype, self._memory, offset), len(self._places) < self.MOST
            place = _Place(slot, shape, dtype, kept, is_known=is_known)
            if not is_known:
                return place
            self._places[offset, shape, dtype] = place
        self._last[offset] = place
        return place

    def _made(self, place: _Place) -> Array:
        """A new array, which is watched."""
        array: Array = place.kept.view(np.ndarray)
        lease = weakref.ref(array, self._ended)
        self._live[id(lease)] = lease, place
        return array

    def _ended(self, lease: weakref.ref[Array]) -> None:
        _, place = self._live.pop(id(lease))
        if self._is_closed:
            return
        self.on_end(place.slot)
        if place.is_known and not place.ready:
            place.ready.append(self._made(place))

    def close(self) -> None:
        """Tell nothing any more. Arrays that are in use stay."""
        self._is_closed = True
        self._places.clear()
        self._last.clear()


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
