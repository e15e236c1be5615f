"""A thread that steps nodes. Several workers of the kind `inline` share one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from queue import SimpleQueue
from threading import Thread
from time import monotonic_ns
from typing import Any

from graph import wakeup
from graph.bell import Bell
from graph.errors import WorkerError, in_words
from graph.rehearsal import Rehearsal
from graph.step import Step

log = logging.getLogger(__name__)
POLL_S = 0.005  # while a node rests or a join waits for the clock, nobody rings
LEAST_WAIT_S = 1e-6  # 0 says that all is over


class Worker:
    """One thread. It carries out calls one after the other; stepping the graph is the longest of them.

    What it works in is made by `context`, entered when `enter` is called, and left when the thread ends.
    """

    def __init__(self, name: str, bell: Bell, context: Callable[[], AbstractContextManager[Any]] | None = None) -> None:
        self.name, self.bell = name, bell
        self.steps: list[Step] = []
        self.watches_clock = False
        """Whether a node may become ready by the passing of time alone."""
        self.stopping = False
        self.preempts = False
        """Whether a message takes the processor from whoever has sent it, where both have to share it."""
        self.rehearsal: Rehearsal | None = None
        """What it does while it waits for the next message from another process."""
        self._context, self._held = context, ExitStack()
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self.thread = Thread(target=self._serve, name=f"cauce-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    def call(self, function: Callable[[], Any]) -> Future[Any]:
        """Have the thread call `function` when it has carried out what it was asked before."""
        future: Future[Any] = Future()
        self._calls.put((function, future))
        return future

    def enter(self) -> None:
        """Enter what the worker works in, before anything else; WorkerError where it cannot."""
        if self._context is None:
            return
        try:
            self._held.enter_context(self._context())
        except Exception as e:
            raise WorkerError(self.name, in_words(e)) from e

    def end(self) -> None:
        """Let the thread end after what it was asked."""
        self._calls.put(None)

    def stop(self) -> None:
        """Have `step_all` return after the step under way. Callable from any thread."""
        self.stopping = True
        self.bell.ring()

    def step_all(self) -> None:
        """Step the nodes, each when it is ready, until all are over or `stop` is called."""
        wakeup.sharpen_clock()
        if self.preempts:
            wakeup.shorten_slice()
        steps = self.steps
        while not self.stopping:
            moved = False
            for step in steps:
                if step.advance():
                    moved = True
            if moved:
                continue
            patience_s = self._patience_s()
            if patience_s == 0:
                self.bell.leave()
                return
            self.bell.wait(patience_s)

    def _patience_s(self) -> float | None:
        """How long to wait for a ring: 0 when all is over, None when only a ring can change anything."""
        over, resting, due_ns = True, self.watches_clock, 0
        for step in self.steps:
            over = over and step.is_over
            resting = resting or step.wake_at_ns != 0
            if step.due_ns and not step.is_over:
                due_ns = min(due_ns or step.due_ns, step.due_ns)
        if over:
            return 0
        if self.rehearsal is not None and (next_ns := self.rehearsal.look()):
            due_ns = min(due_ns or next_ns, next_ns)
        if not due_ns:
            return POLL_S if resting else None
        left_s = max((due_ns - monotonic_ns()) / 1e9, LEAST_WAIT_S)
        return min(left_s, POLL_S) if resting else left_s

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            function, future = call
            try:
                future.set_result(function())
            except BaseException as e:  # a node that raises SystemExit must not end its worker unheard
                future.set_exception(e)
            del function, future, call
        try:
            self._held.close()
        except Exception:
            log.exception("placement.%s: what the worker works in could not be left", self.name)
