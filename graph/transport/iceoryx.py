"""Samples of iceoryx2 in place of slots: its shared memory and its counts of readers; all else stays on our sockets.

One sample is one filling of a slot. It is published once, before any datagram names it by its number, and reaches every
reader; each takes samples off its queue up to the one that is named. A sample cannot be published twice, so an array
that is sent again is copied.

A reader's queue holds as many samples as may be in use, and each one in it is in use until that reader gives it back:
nothing overflows that a datagram still names. Safe overflow is on all the same, since iceoryx2's other way waits for a
dead reader for ever.

iceoryx2 names its memory. The run makes every service (`Made`), and its processes open them: one that a process was
killed in the middle of making could never be opened again, by nobody. What a killed process leaves is removed when the
run hears of the death, and what a killed run leaves at the next start (`sweep`).
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from itertools import count
from typing import Any

from graph.transport.ring import RingSpec

REMEDY = "install the extra: uv sync --extra iceoryx2 (no wheel for Linux on ARM)"
FOLDER = "/dev/shm"
PREFIX = "cauce_"  # of all names in /dev/shm, so that a sweep touches nothing of other programs
SPARE = 8  # samples that a reader may hold beyond those in use: their note is quicker than their end
PAGE = 4096
GONE = ("DoesNotExist", "IsMarkedForDestruction")  # how iceoryx2 says so

_serial = count()


def _library() -> Any:
    import iceoryx2

    iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
    return iceoryx2


def _config(iox: Any) -> Any:
    """Its own names and folder for each user: nobody stands in another's way.

    Only the run itself sweeps: a process that is killed while it removes what another left would leave both.
    """
    config = iox.config.default()
    config.global_cfg.prefix = iox.FileName.new(PREFIX)
    config.global_cfg.root_path = iox.Path.new(f"{tempfile.gettempdir()}/cauce-iceoryx2-{os.getuid()}")
    config.global_cfg.node.cleanup_dead_nodes_on_creation = False
    config.global_cfg.node.cleanup_dead_nodes_on_destruction = False
    return config


def sweep() -> int:
    """Remove what dead processes of this user have left, and tell of how many."""
    iox = _library()
    dead = [
        state[0] for state in iox.Node.list(iox.ServiceType.Ipc, _config(iox)) if isinstance(state, iox.NodeState.Dead)
    ]
    swept = 0
    for node in dead:
        try:
            node.try_remove_stale_resources()
            swept += 1
        except iox.NodeCleanupFailure:  # somebody else is at it, or was and is dead: files without memory are left
            pass
    return swept


class Gone(Exception):
    """The run has given a service up, as its producer is dead."""


class Service:
    """One end of a publish-subscribe service."""

    def __init__(self, name: str, spec: RingSpec, *, is_new: bool = False) -> None:
        self.iox = iox = _library()
        builder = iox.NodeBuilder.new().config(_config(iox)).signal_handling_mode(iox.SignalHandlingMode.Disabled)
        self.node = builder.create(iox.ServiceType.Ipc)
        readers = 2 * spec.readers + 2  # those that died may still be counted; and the writer reads as well
        service = (
            self.node.service_builder(iox.ServiceName.new(name))
            .publish_subscribe(iox.Slice[ctypes.c_uint8])
            .user_header(ctypes.c_uint64)
            .enable_safe_overflow(True)
            .history_size(0)
            .subscriber_max_buffer_size(spec.slots + 1)
            .subscriber_max_borrowed_samples(spec.slots + SPARE)
            .max_publishers(1)
            .max_subscribers(readers)
            .max_nodes(readers + 3)  # the run's as well, and two to spare
        )
        try:
            self.ports: Any = service.create() if is_new else service.open()
        except iox.PublishSubscribeOpenError as e:
            if str(e) in GONE:
                raise Gone(name) from e
            raise

    def subscriber(self) -> Any:
        """A queue of the samples that are published from now on."""
        return self.ports.subscriber_builder().create()


class Made(str):
    """The name of a service that this process has made; no other output, run or restart has it."""

    __slots__ = ("_service",)

    _service: Service | None

    @classmethod
    def new(cls, spec: RingSpec) -> Made:
        """Make a service."""
        made = cls(f"cauce/{os.getpid()}/{os.urandom(4).hex()}/{next(_serial)}")
        made._service = Service(made, spec, is_new=True)
        return made

    def close(self) -> None:
        """Give it up: it goes with the last that has opened it."""
        self._service = None


def buffer(address: int, size: int, owner: object) -> memoryview:
    """Bytes of a sample, which know their owner: the library's own views let it be written over while they are read."""
    found: Any = (ctypes.c_uint8 * size).from_address(address)
    found.owner = owner
    return memoryview(found)


def number_of(sample: Any) -> int:
    """The number that a sample was given by its writer."""
    return ctypes.c_uint64.from_address(sample.user_header_ptr).value
