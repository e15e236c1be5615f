"""Runs the peers: what each of their processes does, over any link that has a writing end and reading ends."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from typing import Any

import numpy as np

from bench.transport import bare, iox, queues, ring
from bench.transport.contender import NO_USE, Run, folder, read, until
from bench.transport.frames import (
    DATA,
    END,
    MESSAGE_BYTES,
    RESULT_BYTES,
    Feed,
    Shutter,
    Taker,
    Use,
    fill,
    header,
    private,
    stamp,
    touch,
)

READY_S = 30.0
SILENCE_S = 8.0


def produce(link: Any, feed: Feed, path: Path, ready: Semaphore, others: int, settle_s: float) -> None:
    tx, own, shutter = link.tx(), private(feed.size), Shutter(feed, path)
    for _ in range(others):
        if not ready.acquire(timeout=READY_S):
            raise TimeoutError(f"only some of {others} processes were up within {READY_S:g} s")
    time.sleep(settle_s)
    while (due := shutter.wait()) is not None:
        buffer, t0_ns = fill(tx.loan, own, feed.variant, *due)
        shutter.made(t0_ns)
        tx.publish(buffer)
    shutter.save()
    buffer, _ = fill(tx.loan, own, feed.variant, shutter.seq, END)
    tx.publish(buffer)
    del buffer
    time.sleep(0.3)  # for the readers to take the last
    tx.close()


def consume(link: Any, reader: int, use: Use, path: Path, ready: Semaphore) -> None:
    rx, taker = link.rx(reader), Taker(path, f"consumer{reader}", use)
    ready.release()
    timeout_s = READY_S + use.pause_s
    while (frame := rx.receive(timeout_s)) is not None:
        kind = taker.take(frame)
        del frame
        rx.release()
        timeout_s = SILENCE_S + use.pause_s
        if kind == END:
            break
    taker.save()
    rx.close()


def work(link: Any, reader: int, to: Any, size: int, work_s: float, ready: Semaphore) -> None:
    rx, tx, own = link.rx(reader), to.tx(), private(size)
    ready.release()
    kind = DATA
    while kind != END and (frame := rx.receive(READY_S)) is not None:
        seq, t0_ns, kind = header(frame)
        touch(frame)
        del frame
        rx.release()
        if kind == DATA:
            time.sleep(work_s)
        stamp(own, seq, t0_ns, kind)
        buffer = tx.loan()
        np.copyto(buffer, own)
        tx.publish(buffer)
        del buffer
    time.sleep(0.3)
    rx.close()
    tx.close()


def join(links: list[Any], to: Any, ready: Semaphore) -> None:
    """All links deliver all frames in order, so the next of each belong together."""
    rxs, tx = [link.rx(0) for link in links], to.tx()
    ready.release()
    kind = DATA
    while kind != END:
        heads = []
        for rx in rxs:
            if (frame := rx.receive(READY_S)) is None:
                return
            heads.append(header(frame))
            touch(frame)
            del frame
            rx.release()
        if len(set(heads)) > 1:
            raise ValueError(f"the join got frames {heads}")
        kind = heads[0][2]
        buffer = tx.loan()
        stamp(buffer, *heads[0])
        tx.publish(buffer)
        del buffer
    time.sleep(0.3)
    for end in (*rxs, tx):
        end.close()


class Peer:
    """A peer that is made of links."""

    def __init__(self, name: str, make: Callable[..., Any], settle_s: float = 0.05) -> None:
        self.name = name
        self._make, self._settle_s = make, settle_s
        self._context: SpawnContext = multiprocessing.get_context("spawn")

    def hop(self, feed: Feed, *, readers: int = 1, use: Use = NO_USE, newest: bool = False) -> Run:
        """See `Contender.hop`; these peers keep what the consumer has no time for, so `newest` changes nothing."""
        with folder() as path, self._processes() as (start, ready):
            link = self._make(self._context, feed.size, readers)
            consumers = [start(consume, link, i, use, path, ready) for i in range(readers)]
            producer = start(produce, link, feed, path, ready, readers, self._settle_s)
            trouble = _await([producer, *consumers], _patience_s(feed, use))
            link.close()
            return read(path, trouble)

    def killed(self, feed: Feed, *, after_s: float, watch_s: float) -> Run:
        """A hop whose consumer is killed; the producer is watched for `watch_s`."""
        with folder() as path, self._processes() as (start, ready):
            link = self._make(self._context, feed.size, 1)
            consumer = start(consume, link, 0, NO_USE, path, ready)
            producer = start(produce, link, feed, path, ready, 1, self._settle_s)
            until(lambda: len(read(path).made_ns) > 0)
            time.sleep(after_s)
            consumer.kill()
            consumer.join()
            producer.join(watch_s + 1.0)
            link.close()
            return read(path)

    def graph(self, feed: Feed, *, work_s: float) -> Run:
        """See `Contender.graph`."""
        with folder() as path, self._processes() as (start, ready):
            source, last = self._make(self._context, feed.size, 3), self._make(self._context, MESSAGE_BYTES, 1)
            middle = [self._make(self._context, RESULT_BYTES, 1) for _ in range(3)]
            processes = [start(consume, last, 0, NO_USE, path, ready), start(join, middle, last, ready)]
            processes += [start(work, source, i, to, RESULT_BYTES, work_s, ready) for i, to in enumerate(middle)]
            processes.append(start(produce, source, feed, path, ready, 5, self._settle_s))
            trouble = _await(processes, _patience_s(feed, NO_USE))
            for link in (source, *middle, last):
                link.close()
            return read(path, trouble)

    @contextmanager
    def _processes(self) -> Iterator[tuple[Callable[..., SpawnProcess], Semaphore]]:
        """What starts a process, and a semaphore that each releases when it is up; at the end none is left."""
        started: list[SpawnProcess] = []

        def start(role: Callable[..., None], *args: Any) -> SpawnProcess:
            process = self._context.Process(target=role, args=args, daemon=True)
            process.start()
            started.append(process)
            return process

        try:
            yield start, self._context.Semaphore(0)
        finally:
            for process in started:
                if process.is_alive():
                    process.kill()
                process.join()


def _patience_s(feed: Feed, use: Use) -> float:
    return 45.0 + 3 * (feed.n / feed.fps if feed.fps else feed.seconds) + 2 * use.pause_s + feed.n * use.work_s


def _await(processes: list[SpawnProcess], timeout_s: float) -> str:
    """Wait for the processes; what went wrong."""
    until = time.monotonic() + timeout_s
    for process in processes:
        process.join(max(0.1, until - time.monotonic()))
    wrong = [p.exitcode for p in processes if p.exitcode]
    stuck = sum(p.is_alive() for p in processes)
    said = [f"{stuck} processes did not end" if stuck else "", f"exit codes {wrong}" if wrong else ""]
    return ", ".join(s for s in said if s)


def installed() -> list[Peer]:
    """The peers that can run here; prints which cannot."""
    peers = [Peer("ring", ring.Link), Peer("bare socket", bare.Link), Peer("mp.Queue", queues.Link)]
    if find_spec("iceoryx2"):
        peers.append(Peer("iceoryx2", iox.Link, settle_s=0.3))
    else:
        print("iceoryx2: not installed: skipped")
    return peers
