"""Changing the backend in a running process: what was closed leaves nothing behind."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.engines.switching import PACKAGES, peaks

ROOT = Path(__file__).parents[2]
BACKENDS = [name for name, package in PACKAGES.items() if find_spec(package)]
ROUNDS = 8

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads memory from /proc")


def switched(*words: str) -> list[dict[str, int]]:
    """What a process of its own held after each model."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.engines.switching", *words]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.timeout(600)
def test_switching_between_all_backends_leaves_memory_threads_and_files_as_they_were():
    held = switched(str(ROUNDS), *BACKENDS)
    before, after = peaks(held, len(BACKENDS))
    assert after < 1.05 * before, held
    first, last = held[len(BACKENDS)], held[-1]
    assert (last["threads"], last["files"]) == (first["threads"], first["files"]), held


@pytest.mark.timeout(300)
def test_models_that_nobody_closed_would_be_seen():
    held = switched("10", "onnx", "--keep")
    before, after = peaks(held, 1)
    assert after > 1.2 * before, held
