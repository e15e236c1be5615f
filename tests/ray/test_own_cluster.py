"""A cluster that a run has started for itself: it ends with the run, also when an actor hangs in native code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra `ray` is not installed")

from graph import procfs
from tests.graph.helpers import until

ROOT = Path(__file__).parents[2]
TOY = [f"hydra.searchpath=[file://{ROOT / 'tests' / 'conf'}]", "graph=toy", "plugins=[tests]", "metrics=none"]
ENDLESS = ["source.n=1000000", "source.realtime=true", "placement=ray", "out=result"]

pytestmark = pytest.mark.timeout(180)


def descendants(pid: int) -> Iterator[int]:
    for child in procfs.children(pid):
        yield child
        yield from descendants(child)


def runs_ray(pid: int) -> bool:
    return any("gcs_server" in words[0] for words in procfs.children(pid).values())


@pytest.mark.parametrize("moment", ["joining", "running", "hanging"])
def test_nothing_of_it_is_left_after_a_signal(moment, tmp_path):
    middle = ["nodes.middle._target_=tests.graph.toys.HangNative", f"+nodes.middle.path={tmp_path}"]
    hangs = [*middle, "+nodes.middle.at=3"] if moment == "hanging" else []
    words = [sys.executable, str(ROOT / "main.py"), *TOY, *ENDLESS, *hangs]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(words, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    signs: dict[str, Callable[[], bool]] = {
        "joining": lambda: runs_ray(process.pid),
        "running": (tmp_path / "result" / "numbers.txt").exists,
        "hanging": (tmp_path / "3").exists,
    }
    until(lambda: signs[moment]() or process.poll() is not None, 120)
    started = list(descendants(process.pid))
    assert started, process.communicate()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    until(lambda: all(map(procfs.has_ended, started)), 10)
