"""What a message lends to another process beside its arrays, such as an image on a GPU.

It is kept in the process that lends it until every reader of the message has let go of one of its arrays, or is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from typing import Any

import numpy.typing as npt

from graph.transport.flat import SMALL


class _Here(local):
    kept: list[object] | None = None


_here = _Here()


@contextmanager
def collecting() -> Iterator[list[object]]:
    """What the message asks to be kept that is pickled in the block, to be sent to processes of this machine."""
    before, _here.kept = _here.kept, []
    try:
        yield _here.kept
    finally:
        _here.kept = before


def keep(thing: object, beside: npt.NDArray[Any]) -> bool:
    """For `__reduce__` of a message: keep `thing` until nobody reads `beside` any more, an array of that message.

    False: nobody can promise that, since it goes to another machine or into a file, or `beside` is too small to be
    shared; then the message goes without.
    """
    if _here.kept is None or beside.nbytes <= SMALL:
        return False
    _here.kept.append(thing)
    return True
