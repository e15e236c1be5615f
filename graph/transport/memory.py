"""Where the arrays of an output lie: what both ends of an edge ask of a transport, and which one was chosen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from graph.transport import iceoryx, ring, samples
from graph.transport.ring import BYTE, Bytes, Ref, RingReader, RingSpec, RingWriter, Transport
from graph.transport.views import Array

Handle = int | str
"""What a process needs to find the memory: a descriptor of ours, or the name of a service."""


class Writer(Protocol):
    """The producer's side: gives out slots, and counts who uses them."""

    spec: RingSpec
    awaits_readers: bool
    """Whether what is published before a reader is there would never reach it."""

    @property
    def loans(self) -> Mapping[int, tuple[int, int]]:
        """Slot and offset of arrays that `loan` gave, by identity, while they live and readers can be sent there."""

    @property
    def has_free(self) -> bool:
        """Whether `acquire` would give a slot."""

    def acquire(self, *, is_frugal: bool = False) -> int | None:
        """A slot with one use, or None when all are in use; frugally: all that have pages, as others wait for some."""

    def use(self, slot: int) -> None:
        """Count one more user of a slot."""

    def release(self, slot: int) -> None:
        """Count one user less; the last one frees the slot."""

    def loan(self, shape: tuple[int, ...], dtype: np.dtype[Any] = BYTE, *, is_frugal: bool = False) -> Array | None:
        """A writable array in a slot of `acquire`, in use as long as it or a view of it lives; None: there is none.

        Whoever calls knows that it fits.
        """

    def find(self, array: Array) -> Ref | None:
        """Where `array`, which has no gaps, lies, if readers can still be sent there; None: elsewhere."""

    def view(self, ref: Ref) -> Bytes:
        """The bytes at `ref`, writable, until they are published."""

    def publish(self, slots: Sequence[int]) -> Sequence[int]:
        """Let readers see slots that are written, before any datagram names them.

        Returns those that every reader has to be told of, also one that does not want them.
        """


class Reader(Protocol):
    """A consumer's side: read-only views of what the producer wrote."""

    @property
    def settle(self) -> Callable[[], bool] | None:
        """Called when all slots of one message have been leased, in whatever order: whether all arrays were there.

        None: they always are.
        """

    def on_end(self, told: Callable[[int], None]) -> None:
        """Have `told` called with its slot, once for each array, in any thread, when no view of it is left."""

    def lease(self, slot: int, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """The array at an offset."""

    def skip(self, slot: int) -> None:
        """Pass over a slot that is not wanted."""

    def close(self) -> None:
        """Read no more; arrays that are still in use stay readable."""


def lack(transport: Transport) -> str | None:
    """What is missing on this machine for a transport, and what to do; None: nothing."""
    if transport == "iceoryx2" and find_spec("iceoryx2") is None:
        return f"the package iceoryx2 is not installed; {iceoryx.REMEDY}"
    return None


def shortage(specs: Iterable[RingSpec]) -> str | None:
    """What is wrong where the memory that is planned is more than there is; writing to it would kill the process."""
    size = sum(spec.size for spec in specs if spec.transport == "iceoryx2" and spec.touched)
    if not size or (free := shutil.disk_usage(iceoryx.FOLDER).free) >= size:
        return None
    return (
        f"transport=iceoryx2 may need {size / 1e6:.0f} MB in {iceoryx.FOLDER}, where {free / 1e6:.0f} MB are free; "
        "make it larger (docker run --shm-size), or take transport=slots, which needs none there"
    )


def create(spec: RingSpec) -> Handle:
    """New memory for an output; whoever calls closes it."""
    return ring.create(spec) if spec.transport == "slots" else iceoryx.Made.new(spec)


def copy(handle: Handle) -> Handle:
    """One more handle of the same memory."""
    return os.dup(handle) if isinstance(handle, int) else str(handle)


def close(handle: Handle) -> None:
    """Give up a handle; who has opened the memory keeps it."""
    if isinstance(handle, int):
        os.close(handle)
    elif isinstance(handle, iceoryx.Made):
        handle.close()


def writer(handle: Handle, spec: RingSpec) -> Writer:
    """The producer's side of the memory `handle`."""
    return RingWriter(handle, spec) if isinstance(handle, int) else samples.SampleWriter(handle, spec)


def reader(handle: Handle, spec: RingSpec) -> Reader:
    """A consumer's side of the memory `handle`."""
    return RingReader(handle, spec) if isinstance(handle, int) else samples.SampleReader(handle, spec)


def sweep(specs: Iterable[RingSpec]) -> None:
    """Remove what processes that were killed have left, where the transport leaves anything."""
    if any(spec.transport == "iceoryx2" for spec in specs):
        iceoryx.sweep()
