"""How long the program takes to end after Ctrl-C or SIGTERM, at any moment of its first seconds. Limit: 2 s.

    uv run python bench/stops.py
    uv run python bench/stops.py --repeats 300     # of 300 signals one may meet what another never does

Beside it a program that only imports NumPy and OpenCV and leaves when it is told to. In turns.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from time import monotonic_ns

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench import report

LIMIT_NS = 2e9
LONGEST_S = 8.0  # from the moment that a signal is handled to the signal: some of it in a graph that runs
LEAST = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
import numpy, cv2
time.sleep(60)
"""
TOY = (f"hydra.searchpath=[file://{ROOT / 'tests' / 'conf'}]", "graph=toy", "plugins=[tests]", "source.realtime=true")
HANGS = (
    str(ROOT / "main.py"), *TOY, "source.n=1000000", "nodes.middle._target_=tests.graph.toys.Hang",
    "metrics.port=0", "out=result",
)  # fmt: skip
PROGRAMS: dict[str, Sequence[str]] = {
    "the least program": ("-c", LEAST),
    "main.py": (str(ROOT / "main.py"), "metrics.port=0", "out=result"),
    "main.py placement=processes": (str(ROOT / "main.py"), "placement=processes", "metrics.port=0", "out=result"),
    "main.py, a node hangs": HANGS,
}
if find_spec("ray") is not None:  # each with a cluster of its own
    PROGRAMS |= {
        "main.py placement=ray": (str(ROOT / "main.py"), "placement=ray", "metrics.port=0", "out=result"),
        "main.py placement=ray, a node hangs": (*HANGS, "placement=ray"),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="signals for each program")
    parser.add_argument("--only", choices=[*PROGRAMS], help="one of the programs")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    return parser.parse_args()


def stopped(words: Sequence[str], number: int, after_s: float) -> tuple[int, str]:
    """Start a program and end it: nanoseconds to its end, and what was wrong with that, or ""."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, *words], cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        while not _handles(process.pid, signal.SIGTERM):
            time.sleep(0.001)
        time.sleep(after_s)
        begin_ns = monotonic_ns()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        taken_ns = monotonic_ns() - begin_ns
    if process.returncode:
        return taken_ns, f"exit code {process.returncode}: {errors}"
    return taken_ns, errors if "Traceback" in errors else ""


def _handles(pid: int, number: int) -> bool:
    """Whether the process has said what a signal means to it."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = int(next(line for line in status if line.startswith("SigCgt")).split()[1], 16)
    return bool(caught & 1 << (number - 1))


def main() -> int:
    given = arguments()
    report.header("From a signal to the end of the program")
    moments = random.Random(given.seed)
    programs = PROGRAMS if given.only is None else {given.only: PROGRAMS[given.only]}
    taken: dict[str, list[int]] = {name: [] for name in programs}
    problems = []
    for i in range(given.repeats):
        after_s, number = moments.uniform(0, LONGEST_S), (signal.SIGINT, signal.SIGTERM)[i % 2]
        for name, words in programs.items():
            taken_ns, problem = stopped(words, number, after_s)
            taken[name].append(taken_ns)
            if problem:
                problems.append(f"{name}, {number.name} after {after_s:.3f} s: {problem}")
    for name, samples in taken.items():
        report.row(name, samples)
    within = [report.limit(f"{name}, longest", max(samples), at_most=LIMIT_NS) for name, samples in taken.items()]
    print("\n".join(problems) or "all with exit code 0, none with a traceback")
    return 1 if problems or not all(within) else 0


if __name__ == "__main__":
    sys.exit(main())
