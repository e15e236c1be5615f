"""Runs that are programs of their own: started again and again, and ended in one of three ways."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from threading import Event, Thread
from time import sleep

from graph.runtime import RUNNING

log = logging.getLogger(__name__)
START_S = 120.0  # until a start must show its first frame
STOP_S = 10.0  # until a stop must be over; a run allows itself 2
WELL = "0"  # how a run ended that did so with exit code 0


def ends(count: int, folder: str, *, each_s: float) -> Iterator[str]:
    """How `count` runs of this program's graph ended, one after the other; they write to `folder`.

    By turns one ends by itself, by SIGINT and by SIGTERM, `each_s` seconds after its first frame.
    """
    for i in range(count):
        end = _end(i, folder, each_s)
        log.info("start %d of %d: %s", i + 1, count, "exit code 0" if end == WELL else end)
        yield end


def _end(i: int, folder: str, each_s: float) -> str:
    """The exit code of one run, or what was wrong."""
    words = [w for w in sys.argv[1:] if w != "soak" and not w.startswith(("command", "out=", "metrics"))]
    command = [sys.executable, sys.argv[0], *words, "command=run", "metrics=none", f"out={folder}/{i}"]
    end = (None, signal.SIGINT, signal.SIGTERM)[i % 3]
    if end is None:
        command.append("command.frames=5")
    how = "by itself" if end is None else end.name
    run = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    listener = _Listener(run)
    if not listener.is_up.wait(START_S):
        _kill(run)
        return f"was not up after {START_S:g} s: {listener.last}"
    if end is not None:
        sleep(each_s)
        run.send_signal(end)
    try:
        code = run.wait(START_S if end is None else STOP_S)
    except subprocess.TimeoutExpired:
        _kill(run)
        return f"did not end in time ({how}): {listener.last}"
    listener.thread.join()
    return f"exit code {code} ({how}): {listener.last}" if code else WELL


def _kill(run: subprocess.Popen[str]) -> None:
    run.kill()
    run.wait()


class _Listener:
    """Reads what a run says, to its end."""

    def __init__(self, run: subprocess.Popen[str]) -> None:
        self._run = run
        self.last = ""
        self.is_up = Event()
        """Set when the graph runs, or has ended before it did."""
        self.thread = Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        assert self._run.stderr is not None
        with self._run.stderr as lines:
            for line in lines:
                self.last = line.strip() or self.last
                if RUNNING in line:
                    self.is_up.set()
        self.is_up.set()
