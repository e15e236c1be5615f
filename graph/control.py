"""The wire between a run and one of its processes: commands down, events up, and descriptors beside them."""

from __future__ import annotations

import errno
import os
import pickle
import socket
import struct
from collections.abc import Sequence
from threading import Lock
from typing import Any

_LENGTH = struct.Struct("<I")
MOST_FDS = 64


class Closed(Exception):
    """The other side is gone."""


class Control:
    """One end. It carries what this program itself has pickled, over a socket without an address, and nothing else."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._lock = Lock()
        self._fds: list[int] = []

    @property
    def fd(self) -> int:
        """The socket's descriptor."""
        return self._socket.fileno()

    def send(self, kind: str, *values: Any, fds: Sequence[int] = ()) -> None:
        """Send one command or event; the other side gets its own copies of `fds`. Closed when it is gone."""
        body = pickle.dumps((kind, values, len(fds)), 5)
        try:
            with self._lock:
                socket.send_fds(self._socket, [_LENGTH.pack(len(body))], list(fds))
                self._socket.sendall(body)
        except OSError as e:
            raise Closed from e

    def receive(self) -> tuple[str, tuple[Any, ...], list[int]]:
        """The next command or event, with the descriptors that came with it.

        Raises:
            Closed: There will be none.
            OSError: No descriptor is left for those that came.
        """
        try:
            head, fds, _, _ = socket.recv_fds(self._socket, _LENGTH.size, MOST_FDS)
            self._fds += fds
            while len(head) < _LENGTH.size:
                head += self._some(_LENGTH.size - len(head))
            (length,) = _LENGTH.unpack(head)
            body = bytearray()
            while len(body) < length:
                body += self._some(length - len(body))
        except OSError as e:
            raise Closed from e
        kind, values, count = pickle.loads(body)
        if len(self._fds) < count:
            raise OSError(errno.EMFILE, "no descriptor is left for those that came with a message")
        own, self._fds = self._fds[:count], self._fds[count:]
        return kind, values, own

    def _some(self, count: int) -> bytes:
        got = self._socket.recv(count)
        if not got:
            raise Closed
        return got

    def close(self) -> None:
        """End the connection, and with it whatever waits in `receive`."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()
        for fd in self._fds:
            os.close(fd)
