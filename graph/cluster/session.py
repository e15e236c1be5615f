"""The Ray cluster of a run: joined or started when the first worker needs it, left when the run ends."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock, Thread, current_thread, main_thread
from time import monotonic, sleep
from typing import Any

from graph import procfs
from graph.cluster.pull import Shelf
from graph.errors import CauceError
from graph.futures import settled

NAMESPACE = "cauce"
REACH_S = 5.0
LEAVE_S = 0.4  # to end a cluster that was started here
RAYLET_S = 3.0  # for a raylet to end
LOOK_S = 0.01


class ClusterError(CauceError):
    """The cluster cannot be reached."""


class Session:
    """The connection to the cluster, shared by all workers of a run."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._joined: Future[None] | None = None
        self._is_given_up = False
        """Whether it was left before it was joined."""
        self._left = Event()
        self._shelves: dict[tuple[str, str], Shelf] = {}
        self._lock = Lock()

    def join(self, is_stopping: Callable[[], bool]) -> bool:
        """Connect, unless this program is connected already; without an address Ray starts on this machine.

        False: it is to stop, and has not waited for the end of that.

        Raises:
            ClusterError: There is no cluster at the address.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is to be reported to anybody
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray would otherwise warn of
        import ray

        if self._joined is None:
            if ray.is_initialized():
                return True
            self._joined = Future()
            Thread(target=self._be_connected, args=(self._joined,), name="cauce-ray", daemon=True).start()
        with _signals_kept():
            while not settled(self._joined, monotonic() + LOOK_S):
                if is_stopping():
                    return False
        self._joined.result()
        return True

    def _be_connected(self, joined: Future[None]) -> None:
        """Connect, and be there until the end: what Ray starts is killed when the thread ends that has started it.

        In the main thread, Ray would end the program at a SIGTERM while it connects, with an exit code of its own.
        """
        import ray

        try:
            self._connect()
        except BaseException as e:
            joined.set_exception(e)
            return
        joined.set_result(None)
        self._left.wait()
        if self._is_given_up:
            ray.shutdown()

    def _connect(self) -> None:
        import ray

        where = {} if self._address is None else {"address": self._address}
        logging.getLogger("ray").setLevel(logging.ERROR)
        try:
            _reach(self._address or os.environ.get("RAY_ADDRESS"))
            ray.init(**where, namespace=NAMESPACE, log_to_driver=False, include_dashboard=False, logging_level="error")
        except (OSError, ValueError, RuntimeError) as e:
            raise ClusterError(
                f"ray.address: no cluster answers at {self._address or os.environ.get('RAY_ADDRESS', '(local)')}: "
                f"{str(e).splitlines()[0]}; start one with `ray start --head`, or set ray.address=null for one of "
                "the run's own"
            ) from e

    def shelf(self, output: tuple[str, str]) -> Shelf:
        """Where the messages of one output lie that several actors read."""
        with self._lock:
            return self._shelves.setdefault(output, Shelf())

    @property
    def leaving_s(self) -> float:
        """How long it takes to leave."""
        return LEAVE_S if self._joined is not None and self._address is None else 0.0

    def leave(self) -> bool:
        """Disconnect, and with it end a cluster that was started here; whether that was possible.

        It is not while Ray still connects. What it starts here for that ends with this process, or when it is done.
        """
        self._shelves.clear()
        self._is_given_up = self._joined is not None and not self._joined.done()
        if self._joined is not None and not self._is_given_up:
            import ray

            if self._address is None:
                cluster = _started_here(str(Path(ray.__file__).parent))
                Thread(target=_hurry, args=(cluster,), name="cauce-ray-end", daemon=True).start()
            if self._joined.exception() is None:
                ray.shutdown()
        self._left.set()
        return not self._is_given_up


def _started_here(package: str) -> dict[int, str]:
    """What Ray has started for this program, out of its own package: what they run, by their numbers."""
    children = procfs.children(os.getpid())
    return {pid: words[0] for pid, words in children.items() if any(word.startswith(package) for word in words)}


def _hurry(cluster: Mapping[int, str]) -> None:
    """End what is left of a cluster when its raylet, which ends all workers, has ended.

    Ray ends one process after the other and gives each a second, which some of them take to save nothing.
    """
    raylets = [pid for pid, program in cluster.items() if program.endswith("/raylet")]
    deadline = monotonic() + RAYLET_S
    while not all(map(procfs.has_ended, raylets)):
        if monotonic() > deadline:
            return
        sleep(LOOK_S)
    for pid in cluster:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


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
    """Ray prints where the program is when a signal comes; who asked for it before gets it back, alone."""
    if current_thread() is not main_thread():
        yield
        return
    before: dict[int, Any] = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
