"""Waiting for calls that other threads carry out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from threading import Lock
from time import monotonic
from typing import Any


def settled(future: Future[Any], deadline: float) -> bool:
    """Wait until a call has returned or the deadline has passed; whether it has returned."""
    try:
        future.exception(timeout=max(0.0, deadline - monotonic()))
    except TimeoutError:
        return False
    return True


def all_of(futures: Iterable[Future[Any]]) -> Future[None]:
    """Done when all are; fails with the first error."""
    waiting = list(futures)
    together: Future[None] = Future()
    lock = Lock()

    def one_is_done(_: Future[Any]) -> None:
        with lock:  # the last two may end at once
            if together.done() or not all(f.done() for f in waiting):
                return
            errors = [e for f in waiting if (e := f.exception()) is not None]
            together.set_exception(errors[0]) if errors else together.set_result(None)

    if not waiting:
        together.set_result(None)
    for future in waiting:
        future.add_done_callback(one_is_done)
    return together


def in_turn(calls: Iterator[Future[Any]]) -> Future[None]:
    """Ask for each call when the one before has returned. Done after the last; fails with the first error."""
    together: Future[None] = Future()

    def go_on(before: Future[Any] | None) -> None:
        if before is not None and (error := before.exception()) is not None:
            together.set_exception(error)
        elif (call := next(calls, None)) is not None:
            call.add_done_callback(go_on)
        else:
            together.set_result(None)

    go_on(None)
    return together
