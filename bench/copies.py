"""What a frame for another process costs, copied as our workers copy it and as the C library does by itself.

    uv run python bench/copies.py

Two processes, slots in shared memory as in graph/transport, 30 frames a second. One copies a frame and wakes the other,
which reads all of it; then the same two things in one process, for what a node copies for itself. Whoever copies past
the cache should not make it dearer to read. In turns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from time import monotonic_ns

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import report
from graph.transport import copies, pages

SIZES = {"1408x1408x3": 1408 * 1408 * 3, "1080p": 1920 * 1080 * 3, "640x640x3": 640 * 640 * 3}
SLOTS, FPS = 8, 30.0
PARTS = ("copy", "until it is read", "copy and read in one process")


def slots(size: int) -> list[npt.NDArray[np.uint8]]:
    """Places for frames, mapped as a worker maps them."""
    step = -(-size // pages.HUGE) * pages.HUGE
    fd = os.memfd_create("bench-copies")
    os.ftruncate(fd, pages.file_bytes(SLOTS * step))
    memory = np.frombuffer(pages.mapped(fd, SLOTS * step, SLOTS * step, writes=True), np.uint8)
    return [memory[i * step : i * step + size] for i in range(SLOTS)]


def read(frame: npt.NDArray[np.uint8]) -> int:
    return int(frame[: frame.size // 8 * 8].view(np.uint64).sum())


def paced(n: int, step: Callable[[int], int]) -> list[int]:
    """What each of `n` steps says, called at the rate of a camera."""
    said, start_ns = [], monotonic_ns()
    for i in range(n):
        time.sleep(max(0.0, (start_ns + i / FPS * 1e9 - monotonic_ns()) / 1e9))
        said.append(step(i))
    return said


def measure(size: int, n: int) -> list[list[int]]:
    """Nanoseconds of each of `PARTS`."""
    frames, own = slots(size), np.arange(size, dtype=np.uint64).astype(np.uint8)
    (wake, woken), (tell, told) = (os.pipe()[::-1] for _ in range(2))
    if not os.fork():
        for i in range(n):
            os.read(woken, 1)
            read(frames[i % SLOTS])
            os.write(tell, b".")
        os._exit(0)
    whole: list[int] = []

    def hop(i: int) -> int:
        begin_ns = monotonic_ns()
        np.copyto(frames[i % SLOTS], own)
        copied_ns = monotonic_ns()
        os.write(wake, b".")
        os.read(told, 1)
        whole.append(monotonic_ns() - begin_ns)
        return copied_ns - begin_ns

    def alone(i: int) -> int:
        begin_ns = monotonic_ns()
        np.copyto(frames[i % SLOTS], own)
        read(frames[i % SLOTS])
        return monotonic_ns() - begin_ns

    fills = paced(n, hop)
    os.wait()
    return [fills, whole, paced(n, alone)]


def main() -> int:
    """Print what was measured; exit code 1 where a copy past the cache takes longer until it is read."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see whether it works, not how fast it is")
    parser.add_argument("--measure", nargs=2, type=int, help="size and count; used by this script itself")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return 0
    n, rounds = (4, 1) if options.quick else (60, 4)
    ways = {"by itself": dict(os.environ), "as we do": copies.environment(os.environ)}
    report.header("A frame for another process, copied", packages=("numpy",))
    slower = []
    for name, size in SIZES.items():
        samples: dict[str, list[list[int]]] = {way: [[] for _ in PARTS] for way in ways}
        for i in range(rounds):
            for way in sorted(ways, reverse=bool(i % 2)):
                command = [sys.executable, __file__, "--measure", str(size), str(n)]
                out = subprocess.run(command, env=ways[way], capture_output=True, text=True, check=True).stdout
                for part, ns in zip(samples[way], json.loads(out), strict=True):
                    part += ns
        print(f"{name}, {size / 1e6:.2f} MB")
        medians = {
            w: [report.row(f"  {w}: {p}", ns, unit="us") for p, ns in zip(PARTS, samples[w], strict=True)] for w in ways
        }
        part = medians["as we do"][1] / medians["by itself"][1]
        if not report.ratio("  until it is read: as we do / by itself", part, at_most=1.05):
            slower.append(name)
    return 1 if slower and not options.quick else 0


if __name__ == "__main__":
    sys.exit(main())
