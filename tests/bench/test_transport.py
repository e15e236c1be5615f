"""bench/transport, step_cost.py and copies.py with few frames, and small ones: do they work? Nothing is timed here."""

import os
import re
import subprocess
import sys
from pathlib import Path
from time import monotonic_ns

import numpy as np
import pytest

from bench.transport import __main__ as script
from bench.transport.contender import Log, Run
from bench.transport.frames import Feed, Shutter, Taker, Use, fill, header, private
from bench.transport.ours import KIND, Ours

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
TINY = ["--quick", "--frame-bytes", "40000", "--frames", "8", "--seconds", "0.1"]


def run(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def rows(out: str, name: str) -> list[int]:
    """How many samples each row of a contender rests on."""
    return [int(n) for n in re.findall(rf"^ +{re.escape(name)} +(\d+) +[\d.]+ +[\d.]+ +[\d.]+ us$", out, re.MULTILINE)]


def test_every_frame_arrives_by_each_way_and_is_held_against_the_limits():
    out = run("-m", "bench.transport", *TINY, "--only", "hop,fanout,graph", "--without", "iceoryx2,dora-rs")
    for name in (f"ours ({KIND})", "ring"):
        assert rows(out, name) == [8, 8, 8, 8], out  # copy, in place, fan-out, graph
    assert rows(out, "mp.Queue") == [8]
    for limit in ("hop copy: ours / ring", "hop in place: ours / ring", "CPU of both sides", "fan-out: ours / ring",
                  "graph: median", "graph: frames a second"):  # fmt: skip
        assert f"  {limit}" in out
    assert "graph: part of the frames that arrived                 1.000, at least 1: within" in out


def test_the_rest_of_the_table_works():
    out = run(
        "-m",
        "bench.transport",
        *TINY,
        "--only",
        "saturated,message,slow,blocked,first",
        "--without",
        "iceoryx2,dora-rs",
    )
    assert len(re.findall(r"^ +ours \(\w+\) +[1-9]\d* frames a second", out, re.MULTILINE)) == 2, out
    assert "ring, producer" in out
    assert "first frame: the worst start" in out


def test_step_cost_shows_what_all_writes_of_a_step_take():
    out = run("bench/step_cost.py", "--quick")
    assert "shared memory: all that a step of a sink writes" in out
    assert "at most 1:" in out


def test_copies_shows_both_ways_for_each_size():
    out = run("bench/copies.py", "--quick")
    assert len(re.findall(r"^  (by itself|as we do): until it is read +4 ", out, re.MULTILINE)) == 6, out


def test_a_word_that_names_no_workload_is_refused(capsys):
    with pytest.raises(SystemExit):
        script.main(["--only", "hop,hops"])
    assert "there is no hops; expected some of hop, saturated" in capsys.readouterr().err


def test_a_frame_is_stamped_before_a_copy_and_after_pixels_in_place(tmp_path):
    own, buffer, taken_ns = private(9000), np.zeros(9000, np.uint8), []

    def take() -> np.ndarray:
        taken_ns.append(monotonic_ns())
        return buffer

    frame, copied_ns = fill(take, own, "copy", 7, 0)
    assert header(frame) == (7, copied_ns, 0)
    frame, written_ns = fill(take, own, "in place", 8, 1)
    assert header(frame) == (8, written_ns, 1)
    assert copied_ns <= taken_ns[0] <= taken_ns[1] <= written_ns
    assert (own[24:] == private(9000)[24:]).all()


def test_the_shutter_warms_up_and_then_counts(tmp_path):
    shutter = Shutter(Feed(size=100, n=3, fps=1000, warm=2), tmp_path)
    kinds = []
    while (due := shutter.wait()) is not None:
        kinds.append(due)
        shutter.made(1 + due[0])
    assert kinds == [(0, 1), (1, 1), (2, 0), (3, 0), (4, 0)]
    assert np.load(tmp_path / "producer.made.npy")[:, 0].tolist() == [1, 2, 3, 4, 5]


def test_warm_up_frames_are_not_counted(tmp_path):
    taker, frame = Taker(tmp_path, use=Use()), private(5000)
    for seq, kind in ((0, 1), (1, 0), (2, 0)):
        taker.take(fill(lambda: frame, frame, "in place", seq, kind)[0])
    assert [row[0] for row in taker.rows] == [1, 2]


def test_cpu_time_of_a_shared_process_is_counted_once():
    def log(cpu_ns: int, pid: int, sent: int = 0) -> Log:
        return Log(np.zeros((0, 4), np.int64), sent=sent, cpu_ns=cpu_ns, pid=pid, grown=0)

    none = np.zeros((0, 2), np.int64)
    assert Run(log(8_000_000, 1, 4), [log(4_000_000, 2)], none).cpu_ms == pytest.approx(3.0)
    assert Run(log(8_000_000, 1, 4), [log(7_000_000, 1)], none).cpu_ms == pytest.approx(2.0)


def test_a_lossless_hop_keeps_every_frame():
    found = Ours(KIND).hop(Feed(size=5000, seconds=0.05))
    assert found.trouble == ""
    assert found.producer.sent > 0
    assert np.diff(found.consumers[0].rows[:, 0]).tolist() == [1] * (found.producer.sent - 1)
