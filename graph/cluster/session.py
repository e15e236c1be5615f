"""The Ray cluster of a run: joined or started when the first worker needs it, left when the run ends."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock, current_thread, main_thread
from typing import Any

from graph.cluster.pull import Shelf
from graph.errors import CauceError

NAMESPACE = "cauce"
REACH_S = 5.0


class ClusterError(CauceError):
    """The cluster cannot be reached."""


class Session:
    """The connection to the cluster, shared by all workers of a run."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._is_ours = False
        self._shelves: dict[tuple[str, str], Shelf] = {}
        self._lock = Lock()

    def join(self) -> None:
        """Connect, unless this program is connected already; without an address Ray starts on this machine.

        Raises:
            ClusterError: There is no cluster at the address.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is to be reported to anybody
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray would otherwise warn of
        import ray

        if ray.is_initialized():
            return
        where = {} if self._address is None else {"address": self._address}
        with _signals_kept():
            try:
                _reach(self._address or os.environ.get("RAY_ADDRESS"))
                ray.init(
                    **where, namespace=NAMESPACE, log_to_driver=False, include_dashboard=False, logging_level="error"
                )
            except (OSError, ValueError, RuntimeError) as e:
                raise ClusterError(
                    f"ray.address: no cluster answers at {self._address or os.environ.get('RAY_ADDRESS', '(local)')}: "
                    f"{str(e).splitlines()[0]}; start one with `ray start --head`, or set ray.address=null for one of "
                    "the run's own"
                ) from e
        self._is_ours = True

    def shelf(self, output: tuple[str, str]) -> Shelf:
        """Where the messages of one output lie that several actors read."""
        with self._lock:
            return self._shelves.setdefault(output, Shelf())

    def leave(self) -> None:
        """Disconnect, and with it end a cluster that was started here."""
        self._shelves.clear()
        if self._is_ours:
            import ray

            ray.shutdown()
            self._is_ours = False


def _reach(address: str | None) -> None:
    """Raise OSError where nobody listens; Ray itself would try for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=REACH_S).close()


def offered(wanted: Mapping[str, float]) -> str:
    """What the machines of the cluster have of what a worker wants, for people."""
    import ray

    nodes = [n for n in ray.nodes() if n["Alive"]]
    each = (", ".join(f"{k} {n['Resources'].get(k, 0):g}" for k in wanted) for n in nodes)
    return "; ".join(f"{n['NodeManagerAddress']}: {has}" for n, has in zip(nodes, each, strict=True))


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; who asked for it before gets it back."""
    if current_thread() is not main_thread():
        yield
        return
    before: dict[int, Any] = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
