"""A peer: iceoryx2, slices of bytes in its shared memory, with an event service to wake the reader without polling."""

from __future__ import annotations

import ctypes
import os
from itertools import count
from multiprocessing.context import BaseContext
from time import monotonic
from typing import Any

import numpy as np

DEPTH = 4
_numbers = count()


class Services:
    """The services of a link, opened in this process."""

    def __init__(self, link: Link) -> None:
        import iceoryx2 as iox2

        iox2.set_log_level(iox2.LogLevel.Error)
        builder = iox2.NodeBuilder.new().signal_handling_mode(iox2.SignalHandlingMode.Disabled)
        self.node = builder.create(iox2.ServiceType.Ipc)
        frames = self.node.service_builder(iox2.ServiceName.new(link.name))
        self.frames: Any = (
            frames.publish_subscribe(iox2.Slice[ctypes.c_uint8])
            .payload_alignment(iox2.Alignment.new(64))
            .enable_safe_overflow(False)
            .subscriber_max_buffer_size(DEPTH)
            .subscriber_max_borrowed_samples(2)
            .history_size(0)
            .max_subscribers(8)
            .max_publishers(1)
            .open_or_create()
        )
        self.bell: Any = self.node.service_builder(iox2.ServiceName.new(f"{link.name}/bell")).event().open_or_create()
        self.iox2: Any = iox2


class Tx:
    """The writing end: waits where a reader's buffer is full."""

    def __init__(self, link: Link) -> None:
        self.size, self.services = link.size, Services(link)
        builder = self.services.frames.publisher_builder().initial_max_slice_len(link.size).max_loaned_samples(2)
        patience = self.services.iox2.BackpressureStrategy.RetryUntilDelivered
        self.publisher = builder.backpressure_strategy(patience).create()
        self.notifier = self.services.bell.notifier_builder().create()
        self.sample: Any = None

    def loan(self) -> np.ndarray:
        self.sample = self.publisher.loan_slice_uninit(self.size)
        return np.frombuffer(self.sample.payload().as_memory_view(), np.uint8)

    def publish(self, _: np.ndarray) -> None:
        sample, self.sample = self.sample, None
        sample.assume_init().send()
        self.notifier.notify()

    def close(self) -> None:
        self.publisher.delete()
        self.notifier.delete()


class Rx:
    """One reading end. A sample must live as long as any view of it: the view alone does not hold it."""

    def __init__(self, link: Link) -> None:
        self.services = Services(link)
        self.subscriber = self.services.frames.subscriber_builder().buffer_size(DEPTH).create()
        self.listener = self.services.bell.listener_builder().create()
        self.sample: Any = None

    def receive(self, timeout_s: float) -> np.ndarray | None:
        until = monotonic() + timeout_s
        while (sample := self.subscriber.receive()) is None:
            if (left := until - monotonic()) <= 0:
                return None
            self.listener.timed_wait(self.services.iox2.Duration.from_secs_f64(left))
        self.sample = sample
        return np.frombuffer(sample.payload().as_memory_view(), np.uint8)

    def release(self) -> None:
        self.sample.delete()
        self.sample = None

    def close(self) -> None:
        self.subscriber.delete()
        self.listener.delete()


class Link:
    """One writer, some readers; they find each other by the name."""

    def __init__(self, _: BaseContext, size: int, readers: int) -> None:
        self.name, self.size = f"bench-{os.getpid()}-{next(_numbers)}", size

    def tx(self) -> Tx:
        return Tx(self)

    def rx(self, _: int) -> Rx:
        return Rx(self)

    def close(self) -> None:
        pass
