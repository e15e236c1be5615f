"""What happens when a process is killed: to the producer, to the consumer that comes back, and to shared memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.transport.contender import NO_USE, Run, folder, read, until
from bench.transport.frames import Feed
from bench.transport.ours import Ours, hop_nodes
from bench.transport.peers import Peer
from bench.transport.table import Table
from bench.transport.workloads import MS

ROOT = Path(__file__).parents[2]
SHARED_MEMORY = Path("/dev/shm")
FPS = 50.0
AFTER_S, WATCHED_S = 1.5, 4.0


def killed(table: Table) -> None:
    """The consumer is killed by SIGKILL: how long the producer stands still, and when frames arrive again."""
    print("\nthe consumer is killed by SIGKILL, at 50 frames a second")
    feed = Feed(table.scale.frame_bytes, fps=FPS, n=int(FPS * (AFTER_S + WATCHED_S)))
    for peer in (p for p in table.peers if isinstance(p, Peer) and p.name != "mp.Queue"):
        before = set(_segments())
        run = peer.killed(replace(feed, n=int(FPS * 2 * AFTER_S)), after_s=AFTER_S, watch_s=AFTER_S)
        sent, left = len(run.made_ns) - feed.warm, len(set(_segments()) - before)
        what = "goes on" if sent > FPS * 1.9 * AFTER_S else f"stands still after {sent} frames"
        print(f"    {peer.name:<40}{what}; both killed: {left} files left in /dev/shm")
    if table.ours.kind != "process":
        print(f"    {table.ours.name}: no process to kill: skipped")
        return
    for _ in range(table.scale.repeats):
        _killed(table, feed)


def _killed(table: Table, feed: Feed) -> None:
    run, killed_ns = kill_consumer(table.ours, feed)
    counted = run.made_ns[feed.warm :, 0]
    pauses = np.diff(counted) - 1e9 / FPS
    print(f"    {table.ours.name}: {len(counted)} of {feed.n} frames sent {run.trouble}")
    table.limit("killed: the producer's longest stall", float(max(pauses)), 100 * MS, "ms")
    back = [log for log in run.consumers if log.up_ns > killed_ns and len(log.rows)]
    if not back:
        table.missed.append("killed: no consumer came back")
        print("  killed: no consumer came back")
        return
    up_ns, first_ns = back[0].up_ns, int(back[0].rows[0, 3])
    print(f"    it was up again {(up_ns - killed_ns) / MS:.0f} ms after it was killed, took {len(back[0].rows)} frames")
    table.limit("killed: up again to first frame", first_ns - up_ns, 500 * MS, "ms")


def kill_consumer(ours: Ours, feed: Feed) -> tuple[Run, int]:
    """A hop of ours whose consumer is killed once, and when that was."""
    with folder() as path:
        nodes = hop_nodes(path, feed, readers=1, use=NO_USE, policy="latest", on_error="restart", backoff_s=0.1)
        when: list[int] = []

        def kill(_: object) -> None:
            pid = path / "consumer0.pid"
            until(pid.is_file)
            time.sleep(AFTER_S)
            os.kill(int(pid.read_text()), signal.SIGKILL)
            when.append(time.monotonic_ns())

        result, _ = ours.run(path, nodes, kill)
        return read(path, "" if result.end == "finished" else f"{result.end}: {result.error}"), when[0]


def swept(table: Table) -> None:
    """All processes of a graph are killed at once: what is left in shared memory, and after the next start."""
    print("\nall processes of a graph are killed by SIGKILL")
    if table.ours.kind != "process":
        print(f"    {table.ours.name}: no processes to kill: skipped")
        return
    before = set(_segments())
    with folder() as path:
        code = f"from bench.transport import faults; faults.run_for_ever({str(path)!r}, {table.ours.kind!r})"
        graph = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, start_new_session=True)
        until((path / "consumer0.pid").is_file)
        time.sleep(1.0)
        during = set(_segments()) - before
        pids = [graph.pid, *_descendants(graph.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        graph.wait()
    time.sleep(0.5)
    left = set(_segments()) - before
    print(f"    {len(pids)} processes; {len(during)} files in /dev/shm before, {len(left)} after")
    table.ours.hop(Feed(table.scale.frame_bytes, fps=FPS, n=5))
    table.ratio("files in /dev/shm after the next start", len(set(_segments()) - before), at_most=0)


def run_for_ever(path: str, kind: str) -> None:
    """A hop that is there to be killed."""
    feed = Feed(fps=FPS, n=1_000_000)
    Ours(kind).run(Path(path), hop_nodes(Path(path), feed, readers=1, use=NO_USE, policy="latest"))


def _segments() -> list[str]:
    return os.listdir(SHARED_MEMORY)


def _descendants(pid: int) -> Iterator[int]:
    """Processes that this one started, and those that they did."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield int(child)
            yield from _descendants(int(child))
