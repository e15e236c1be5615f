"""A peer: our transport at its least, slots in shared memory and a socket for each reader, and nothing around it.

No policy, no count, no message class, no thread: what ours takes longer is the framework, and what this takes longer
than the ring is the socket, which a restarted process can be given and a semaphore cannot.
"""

from __future__ import annotations

import select
import socket
import struct
from multiprocessing.context import BaseContext
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from bench.transport.frames import PAGE_BYTES
from bench.transport.ring import DEPTH, Slots

SLOT = struct.Struct("<q")


class Tx:
    """The writing end: it alone knows which slots are read."""

    def __init__(self, name: str, size: int, ends: list[socket.socket]) -> None:
        self.slots = Slots(name, size)
        self.ends, self.readers = ends, [0] * DEPTH
        self.slot = 0

    def loan(self) -> np.ndarray:
        """A slot that nobody reads any more."""
        while 0 not in self.readers:
            for end in select.select(self.ends, [], [])[0]:
                self._take_back(end)
        self.slot = self.readers.index(0)
        return self.slots.arrays[self.slot]

    def _take_back(self, end: socket.socket) -> None:
        for (slot,) in SLOT.iter_unpack(end.recv(SLOT.size)):
            self.readers[slot] -= 1

    def publish(self, _: np.ndarray) -> None:
        self.readers[self.slot] = len(self.ends)
        for end in self.ends:
            end.send(SLOT.pack(self.slot))

    def close(self) -> None:
        self.slots.close()


class Rx:
    """One reading end."""

    def __init__(self, name: str, size: int, end: socket.socket) -> None:
        self.slots = Slots(name, size)
        self.end, self.told = end, b""

    def receive(self, timeout_s: float) -> np.ndarray | None:
        self.end.settimeout(timeout_s)
        try:
            self.told = self.end.recv(SLOT.size)
        except TimeoutError:
            return None
        return self.slots.arrays[SLOT.unpack(self.told)[0]]

    def release(self) -> None:
        self.end.send(self.told)

    def close(self) -> None:
        self.slots.close()


class Link:
    """One writer, some readers; made by the parent, and given to its children when they start."""

    def __init__(self, context: BaseContext, size: int, readers: int) -> None:
        step = -(-size // PAGE_BYTES) * PAGE_BYTES
        self._memory: SharedMemory | None = SharedMemory(create=True, size=DEPTH * step)
        self.name, self.size = self._memory.name, size
        self.pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(readers)]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_memory": None}

    def tx(self) -> Tx:
        return Tx(self.name, self.size, [ours for ours, _ in self.pairs])

    def rx(self, reader: int) -> Rx:
        return Rx(self.name, self.size, self.pairs[reader][1])

    def close(self) -> None:
        for pair in self.pairs:
            for end in pair:
                end.close()
        if self._memory is not None:
            self._memory.close()
            self._memory.unlink()
