"""A peer: the ring that one writes by hand, slots in shared memory and two semaphores for each reader.

The least that Python can do: no other state is shared, and each side knows by counting which slot is next. It does not
notice that a reader has died.
"""

from __future__ import annotations

from multiprocessing.context import BaseContext
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from bench.transport.frames import PAGE_BYTES

DEPTH = 4


class Slots:
    """The slots of a link, mapped into this process."""

    def __init__(self, name: str, size: int) -> None:
        self.memory = SharedMemory(name)
        step = -(-size // PAGE_BYTES) * PAGE_BYTES
        self.arrays = [np.frombuffer(self.memory.buf, np.uint8, size, i * step) for i in range(DEPTH)]
        self.next = 0

    def current(self) -> np.ndarray:
        return self.arrays[self.next % DEPTH]

    def close(self) -> None:
        """Unmap; whoever holds a slot's array keeps the memory mapped until the process ends."""
        self.arrays = []
        try:
            self.memory.close()
        except BufferError:
            pass


class Tx:
    """The writing end."""

    def __init__(self, link: Link) -> None:
        self.link, self.slots = link, Slots(link.name, link.size)

    def loan(self) -> np.ndarray:
        """The next slot, as soon as all readers have given it back."""
        for free in self.link.free:
            free.acquire()
        return self.slots.current()

    def publish(self, _: np.ndarray) -> None:
        self.slots.next += 1
        for filled in self.link.filled:
            filled.release()

    def close(self) -> None:
        self.slots.close()


class Rx:
    """One reading end."""

    def __init__(self, link: Link, reader: int) -> None:
        self.slots = Slots(link.name, link.size)
        self.filled, self.free = link.filled[reader], link.free[reader]

    def receive(self, timeout_s: float) -> np.ndarray | None:
        return self.slots.current() if self.filled.acquire(timeout=timeout_s) else None

    def release(self) -> None:
        self.slots.next += 1
        self.free.release()

    def close(self) -> None:
        self.slots.close()


class Link:
    """One writer, some readers; made by the parent, and given to its children when they start."""

    def __init__(self, context: BaseContext, size: int, readers: int) -> None:
        step = -(-size // PAGE_BYTES) * PAGE_BYTES
        self._memory: SharedMemory | None = SharedMemory(create=True, size=DEPTH * step)
        self.name, self.size = self._memory.name, size
        self.filled = [context.Semaphore(0) for _ in range(readers)]
        self.free = [context.Semaphore(DEPTH) for _ in range(readers)]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_memory": None}

    def tx(self) -> Tx:
        return Tx(self)

    def rx(self, reader: int) -> Rx:
        return Rx(self, reader)

    def close(self) -> None:
        if self._memory is not None:
            self._memory.close()
            self._memory.unlink()
