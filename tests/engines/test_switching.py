"""Changing the backend in a running process: what was closed leaves nothing behind."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}
LOADS, SETTLING = 20, 2

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads memory from /proc")


def switched(*backends: str, rounds: int) -> list[dict[str, int]]:
    """What a process held after each model that it closed, the rounds in which libraries settle left out."""
    words = [sys.executable, "-m", "tests.engines.switching", str(SETTLING + rounds), *backends]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return lines[(SETTLING - 1) * len(backends) :]


@pytest.mark.timeout(600)
def test_switching_between_all_backends_leaves_memory_threads_and_files_as_they_were():
    backends = [name for name, package in PACKAGES.items() if find_spec(package)]
    held = switched(*backends, rounds=-(-LOADS // len(backends)))
    before, after = held[: len(backends)], held[-len(backends) :]
    for first, last in zip(before, after, strict=True):
        assert last["pss_kb"] < 1.05 * first["pss_kb"], held
        assert (last["threads"], last["files"]) == (first["threads"], first["files"]), held
