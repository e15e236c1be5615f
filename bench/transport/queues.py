"""A peer: multiprocessing.Queue, which pickles each array, sends it through a pipe, and unpickles it."""

from __future__ import annotations

import queue
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np

DEPTH = 4


class Tx:
    """The writing end: a queue for each reader."""

    def __init__(self, queues: list[Any], size: int) -> None:
        self.queues, self.size = queues, size

    def loan(self) -> np.ndarray:
        """New memory: `put` returns before its thread has pickled, so a frame must not be written again."""
        return np.empty(self.size, np.uint8)

    def publish(self, frame: np.ndarray) -> None:
        for q in self.queues:
            q.put(frame)

    def close(self) -> None:
        pass


class Rx:
    """One reading end."""

    def __init__(self, q: Any) -> None:
        self.queue = q

    def receive(self, timeout_s: float) -> np.ndarray | None:
        try:
            frame: np.ndarray = self.queue.get(timeout=timeout_s)
        except queue.Empty:
            return None
        return frame

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass


class Link:
    """One writer, some readers."""

    def __init__(self, context: BaseContext, size: int, readers: int) -> None:
        self.size = size
        self.queues = [context.Queue(maxsize=DEPTH) for _ in range(readers)]

    def tx(self) -> Tx:
        return Tx(self.queues, self.size)

    def rx(self, reader: int) -> Rx:
        return Rx(self.queues[reader])

    def close(self) -> None:
        for q in self.queues:
            q.cancel_join_thread()
            q.close()
