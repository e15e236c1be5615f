"""`command=soak` finds what grows, what is left behind, and what does not end as it should."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from graph.commands.soak import Sample, Soak, grown
from graph.errors import ConfigError

ROOT = Path(__file__).parents[2]
STEADY = Sample(0.0, 0, 100.0, 50, 12, 3, 2)


def samples(count: int = 50, **per_sample: float) -> list[Sample]:
    """Samples 2 s apart, whose figures grow by as much each time."""
    return [
        replace(
            STEADY,
            at_s=2.0 * i,
            frames=20 * i,
            **{key: getattr(STEADY, key) + type(getattr(STEADY, key))(i * step) for key, step in per_sample.items()},
        )
        for i in range(count)
    ]


def test_what_stays_as_it_is_is_no_problem():
    assert grown(samples(), growth_mb=8) == []


def test_what_grows_only_while_it_warms_up_is_no_problem():
    warm = [replace(s, memory_mb=40.0, handles=20) if s.at_s < 18 else s for s in samples()]
    assert grown(warm, growth_mb=8) == []


def test_memory_that_grows_is_told_by_the_frame():
    (problem,) = grown(samples(memory_mb=1.0), growth_mb=8)
    assert problem.startswith("memory grew by 2")
    assert "kB a frame" in problem


@pytest.mark.parametrize("what", ["handles", "threads", "processes", "shared"])
def test_a_handle_here_and_there_that_never_comes_back_is_found(what):
    (problem,) = grown(samples(**{what: 0.1}), growth_mb=8)
    assert problem.startswith(f"{what}: ")


def test_a_graph_that_stands_still_does_not_hold_out():
    stands = [replace(s, frames=min(s.frames, 300)) for s in samples()]
    assert grown(stands, growth_mb=8) == ["no frame entered in the second half of the time, after 300"]


def test_mistakes_are_told_before_anything_runs():
    with pytest.raises(ConfigError, match=r"command\.minutes: is -1; expected a number, 0 or more"):
        Soak(minutes=-1)._check()


def soak(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "main.py"), *(f"hydra.searchpath=[file://{ROOT}/tests/conf]", "graph=toy")]
    command += ["plugins=[tests]", "command=soak", "source.n=1000000", "source.realtime=true", "metrics=none", *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)


def test_a_graph_on_processes_holds_out_and_ends_in_three_ways(tmp_path):
    words = ["placement=processes", "command.minutes=0.15", "command.starts=3", "command.each_s=0.2", "out=result"]
    done = soak(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "result" / "soak.json").read_text())
    assert found["ends"] == ["0", "0", "0"]
    assert found["problems"] == []
    assert found["samples"][-1]["processes"] == 3
    assert found["samples"][-1]["frames"] > 50
    assert "start 2 of 3: exit code 0" in done.stderr
    assert "3 starts and stops, all with exit code 0, nothing left behind" in done.stderr


def test_a_graph_that_ends_before_its_time_has_shown_nothing(tmp_path):
    done = soak(tmp_path, "source.n=60", "command.minutes=5")
    assert done.returncode == 1
    assert "error: the graph ended by itself after" in done.stderr
    assert "and command.minutes=5 is longer; give its source more" in done.stderr


def test_a_leak_ends_it_with_exit_code_1(tmp_path):
    leak = ["nodes.middle._target_=tests.graph.toys.Leaky", "+nodes.middle.kb=500", "command.growth_mb=20"]
    done = soak(tmp_path, *leak, "command.minutes=0.2", "out=result")
    assert done.returncode == 1
    assert "error: the graph does not hold out:\n  memory grew by" in done.stderr
