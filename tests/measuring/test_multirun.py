"""A sweep over backends in one process: each is loaded, measured and left, and nothing of it stays."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.engines.switching import PACKAGES, peaks
from tests.faults.test_command_line import cauce

SMALL = ["depth=none", "command.frames=noise", "command.size_px=352", "command.count=2", "command.batches=[]"]
ENDS = ["command.single_stream={count: 5, seconds: 0}", "command.warm_up={count: 1, seconds: 0}"]
WORDS = [*SMALL, *ENDS, "command.offline=null", "command.paced=null", "out=s"]
ROUNDS = 7


@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads memory from /proc")
def test_the_jobs_of_a_sweep_over_backends_leave_nothing_behind(tmp_path):
    backends = [name for name, package in PACKAGES.items() if find_spec(package)]
    rounds = ",".join(str(n) for n in range(1, ROUNDS + 1))
    callback = "+hydra.callbacks.held._target_=tests.measuring.held.Held"
    words = [f"backend.warm_up={rounds}", f"backend={','.join(backends)}", callback]
    done = cauce("-m", "bench", *WORDS, *words, cwd=tmp_path, timeout=580)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "s" / "comparison.json").read_text())["rows"]
    assert [(row["backend"], row["error"]) for row in rows] == [(name, None) for name in ROUNDS * backends]
    lines = [line for line in done.stdout.splitlines() if line.startswith("held ")]
    held = [json.loads(line.removeprefix("held ")) for line in lines]
    assert len(held) == len(rows)
    before, after = peaks(held, len(backends))
    # Allocators keep some more or less of the many small objects of each job; one network a job would double it.
    assert after < 1.25 * before, held
    first, last = held[len(backends)], held[-1]
    assert (last["threads"], last["files"]) == (first["threads"], first["files"]), held
