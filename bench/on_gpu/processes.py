"""Two processes on one GPU against one, and whether a process that leaves its models open ends cleanly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import monotonic

from bench.on_gpu.run import NotRun, Run

WORKER = Path(__file__).with_name("worker.py")
EXITS = 3
TROUBLES = ("Traceback", "Error", "terminate", "Aborted")
"""A process that says such a thing did not end cleanly, whatever its exit code."""


def section(run: Run) -> None:
    """Detector and depth, each in a process: calls a second alone, and beside each other."""
    alone = {which: rates(run, [which])[which] for which in ("detector", "depth")}
    run.require_time()
    beside = rates(run, ["detector", "depth"])
    share = sum(beside[which] / alone[which] for which in alone)
    run.row("calls a second", **{f"{which}_alone": n for which, n in alone.items()},
            **{f"{which}_beside": n for which, n in beside.items()}, overlap=share)  # fmt: skip


def exits(run: Run) -> None:
    """The exit code of processes that end with a model open, and what they say on the way."""
    for n in range(EXITS if run.cuda else 1):
        run.require_time(4)
        worker = _start(run, "side", seconds=0.1)
        _go([worker])
        _, said = _finish(worker, run)
        is_clean = worker.returncode == 0 and not any(word in said for word in TROUBLES)
        run.check(f"a process ends cleanly, {n + 1}", is_clean, code=worker.returncode,
                  said=said[-300:] or None)  # fmt: skip


def rates(run: Run, which: list[str]) -> dict[str, float]:
    """Calls a second of each network, all of them at once, each in a process of its own."""
    workers = {name: _start(run, name, seconds=min(4 * run.minutes / 8, 4)) for name in which}
    _go(list(workers.values()))
    found = {}
    for name, worker in workers.items():
        answer, said = _finish(worker, run)
        if worker.returncode:
            raise RuntimeError(f"the process of {name} ended with {worker.returncode}: {said[-500:]}")
        found[name] = float(json.loads(answer)["rate"])
    return found


def _start(run: Run, which: str, *, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), which, run.device, str(seconds), "small" if run.small else "full"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def _go(workers: list[subprocess.Popen[str]]) -> None:
    """Wait until all are loaded, and let them begin together; one that has ended is found by who asks it."""
    for worker in workers:
        assert worker.stdout
        worker.stdout.readline()
    for worker in workers:
        assert worker.stdin
        try:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        except BrokenPipeError:
            pass


def _finish(worker: subprocess.Popen[str], run: Run) -> tuple[str, str]:
    begin = monotonic()
    try:
        return worker.communicate(timeout=max(run.left(), 20))
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.communicate()
        raise NotRun(f"a process was not done after {monotonic() - begin:.0f} s") from None
