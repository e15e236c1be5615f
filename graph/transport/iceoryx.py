"""Samples of iceoryx2 in place of slots: its shared memory and its counts of readers; all else stays on our sockets.

One sample is one filling of a slot. It is published once, before any datagram names it by its number, and reaches every
reader; each takes samples off its queue up to the one that is named. A sample cannot be published twice, so an array
that is sent again is copied.

A reader's queue holds as many samples as may be in use, and each one in it is in use until that reader gives it back:
nothing overflows that a datagram still names. Safe overflow is on all the same, since iceoryx2's other way waits for a
dead reader for ever.

iceoryx2 names its memory. What a killed process leaves is removed when the run hears of the death, and what a killed
run leaves at the next start (`sweep`).
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

_serial = count()


def new_name() -> str:
    """A service name that no other output, run or restart has."""
    return f"cauce/{os.getpid()}/{os.urandom(4).hex()}/{next(_serial)}"


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


class Service:
    """A publish-subscribe service, opened by one end; whoever comes first makes it."""

    def __init__(self, name: str, spec: RingSpec) -> None:
        self.iox = iox = _library()
        builder = iox.NodeBuilder.new().config(_config(iox)).signal_handling_mode(iox.SignalHandlingMode.Disabled)
        self.node = builder.create(iox.ServiceType.Ipc)
        readers = 2 * spec.readers + 2  # those that died may still be counted; and the writer reads as well
        self.ports: Any = (
            self.node.service_builder(iox.ServiceName.new(name))
            .publish_subscribe(iox.Slice[ctypes.c_uint8])
            .user_header(ctypes.c_uint64)
            .enable_safe_overflow(True)
            .history_size(0)
            .subscriber_max_buffer_size(spec.slots + 1)
            .subscriber_max_borrowed_samples(spec.slots + SPARE)
            .max_publishers(1)
            .max_subscribers(readers)
            .max_nodes(readers + 2)
            .open_or_create()
        )

    def subscriber(self) -> Any:
        """A queue of the samples that are published from now on."""
        return self.ports.subscriber_builder().create()


def buffer(address: int, size: int, owner: object) -> memoryview:
    """Bytes of a sample, which know their owner: the library's own views let it be written over while they are read."""
    found: Any = (ctypes.c_uint8 * size).from_address(address)
    found.owner = owner
    return memoryview(found)


def number_of(sample: Any) -> int:
    """The number that a sample was given by its writer."""
    return ctypes.c_uint64.from_address(sample.user_header_ptr).value
