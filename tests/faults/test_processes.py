"""Process workers that die, hang, leak or lie: what is said, what goes on, and that nothing is left behind."""

import gc
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from graph import procfs, supervise
from graph.planner import make_plan
from graph.process import Process
from graph.runtime import Result, Runtime
from tests.graph.helpers import BUILDER, beside, drops, lines, toy, until
from tests.transports import TRANSPORTS, shared

ROOT = Path(__file__).parents[2]
CHAOS_S = float(os.environ.get("CAUCE_CHAOS_S", "10"))
PLACEMENT: dict[str, Any] = {w: {"kind": "process"} for w in ("a", "b", "c", "d")} | {"main": {"kind": "thread"}}
AGAIN = {"on_error": "restart", "backoff_s": 0.01, "max_restarts": 1000}


def by(transport: str) -> dict[str, Any]:
    """The processes, with a transport for what they send."""
    return {name: {"kind": "process", "transport": transport} for name in ("a", "b", "c", "d")}


def made(nodes: dict[str, Any], **workers: Any) -> Runtime:
    return Runtime(make_plan(nodes, PLACEMENT | workers, BUILDER), BUILDER)


def ran(nodes: dict[str, Any], **workers: Any) -> tuple[Result, Runtime]:
    runtime = made(nodes, **workers)
    return runtime.run(), runtime


def running(nodes: dict[str, Any], **workers: Any) -> AbstractContextManager[tuple[Runtime, list[Result]]]:
    """A graph that runs beside the test, which is over when the test is."""
    return beside(made(nodes, **workers))


def numbers(path: Path) -> list[int]:
    """What a sink wrote, whatever lines its restarts left between."""
    words = [line.split() for line in lines(path)] if path.exists() else []
    return [int(w[1]) for w in words if len(w) > 1]


def kill(runtime: Runtime, worker: str) -> None:
    pid = until(lambda: runtime.processes.by_name[worker].is_ready and runtime.processes.by_name[worker].pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: runtime.processes.by_name[worker].pid != pid)


def accounted_for(runtime: Runtime, deaths: int) -> None:
    """Books balance, and nothing is unaccounted for but one packet that each death caught between two counts."""
    for edge in runtime.read_edges():
        assert edge.balances, edge
        assert edge.waiting == 0, edge
        assert all(n >= -deaths for n in edge.dropped.values()), edge


def branches(tmp_path: Path, middle: dict[str, Any], **source: Any) -> dict[str, Any]:
    """One source, one branch with what is tested and one that must not mind."""
    return {
        "src": toy("Count", **{"n": 30, "worker": "a", **source}),
        "mid": {**middle, "inputs": {"x": "src"}, "worker": "b"},
        "out": toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "mid"}, worker="c"),
        "other": toy("WriteNumber", path=str(tmp_path / "other"), inputs={"word": "src"}),
    }


def test_a_worker_that_dies_ends_the_run_unless_its_nodes_say_otherwise(tmp_path):
    result, runtime = ran(branches(tmp_path, toy("Suicide", path=str(tmp_path), at=[7])))
    assert result.end == "failed"
    assert str(result.error) == ("nodes.mid: process failed: its process (placement.b) was killed by SIGKILL in a step")
    assert lines(tmp_path / "other")[-1] == "close"
    accounted_for(runtime, 1)


@pytest.mark.parametrize("policy", ["restart", "skip"])
def test_a_worker_that_dies_is_started_again(policy, tmp_path, caplog):
    middle = toy("Suicide", path=str(tmp_path), at=[7], on_error=policy, backoff_s=0.01)
    nodes = branches(tmp_path, middle, realtime=True, n=150)  # for as long as a process takes to come back
    for name, port in (("mid", "x"), ("out", "word"), ("other", "word")):
        nodes[name]["inputs"] = {port: {"source": nodes[name]["inputs"][port], "policy": "block", "capacity": 50}}
    result, runtime = ran(nodes)
    assert result.end == "finished", result.error
    assert runtime.tally("mid").restarts == 1
    got, entered = numbers(tmp_path / "out"), numbers(tmp_path / "other")
    assert len(entered) == 150 - drops(runtime)["in_flight"]
    assert 0 < len(got) == len(entered) - drops(runtime)["lost"]
    assert got == sorted(set(entered) & set(got) - {7})
    assert got[-1] == entered[-1]
    assert lines(tmp_path / "out")[-2:] == ["finish", "close"]
    assert drops(runtime).keys() <= {"lost", "in_flight"}
    assert "nodes.mid: its process (placement.b) was killed by SIGKILL in a step; restart 1 in 0.01 s" in caplog.text
    accounted_for(runtime, 1)


def test_skip_goes_on_without_a_worker_that_dies_too_often(tmp_path, caplog):
    middle = toy("Suicide", path=str(tmp_path), at=list(range(900)), on_error="skip", max_restarts=2, backoff_s=0.01)
    out, other = tmp_path / "out", tmp_path / "other"
    with running(branches(tmp_path, middle, realtime=True, n=10**6)) as (runtime, results):
        until(lambda: out.exists() and lines(out) == ["finish"])  # its stream has ended, like any other
        seen = len(numbers(other))
        until(lambda: len(numbers(other)) > seen + 20)
    assert results[0].end == "stopped"
    assert "nodes.mid: its process (placement.b) was killed by SIGKILL in a step once too often" in caplog.text
    assert runtime.tally("mid").restarts == 2
    assert numbers(out) == []
    accounted_for(runtime, 3)


def test_restart_ends_the_run_when_a_worker_dies_too_often(tmp_path):
    middle = toy("Suicide", path=str(tmp_path), at=list(range(900)), on_error="restart", max_restarts=1, backoff_s=0.01)
    result, runtime = ran(branches(tmp_path, middle, realtime=True, n=900))
    assert str(result.error).startswith("nodes.mid: process failed: its process (placement.b) was killed by SIGKILL")
    assert runtime.tally("mid").restarts == 1
    accounted_for(runtime, 2)


def test_the_most_cautious_node_of_a_process_decides_how_often(tmp_path):
    middle = toy("Suicide", path=str(tmp_path), at=list(range(900)), **AGAIN)
    nodes = branches(tmp_path, middle, realtime=True, n=900)
    nodes["beside"] = toy("Add", inputs={"x": "src"}, worker="b", **{**AGAIN, "max_restarts": 1})
    result, runtime = ran(nodes)
    assert "its process (placement.b) was killed by SIGKILL" in str(result.error)
    assert runtime.tally("mid").restarts == 1


def every_role(tmp_path: Path) -> dict[str, Any]:
    """A source, a join with a branch that it needs and one that it does not, and sinks."""
    return {
        "src": toy("Snap", n=100_000, realtime=True, period_ms=4, worker="a", in_flight=4, **AGAIN),
        "need": toy("Pass", inputs={"x": "src"}, worker="b", **AGAIN),
        "may": toy("Pass", inputs={"x": "src"}, worker="c", **AGAIN),
        "join": toy("Choose", inputs={"a": "need", "b": "may"}, **AGAIN),
        "out": toy("Album", path=str(tmp_path / "out"), inputs={"word": "join"}, worker="d", **AGAIN),
        "other": toy("Album", path=str(tmp_path / "other"), inputs={"word": "src"}),
    }


def test_whoever_dies_the_rest_goes_on_and_all_comes_back(tmp_path):
    other, out = tmp_path / "other", tmp_path / "out"
    roles = {"a": "source", "b": "branch that a join needs", "c": "branch that it does not", "d": "sink"}
    with running(every_role(tmp_path)) as (runtime, results):
        until(lambda: len(numbers(out)) > 5)
        for worker in roles:
            seen, written = len(numbers(other)), len(numbers(out))
            time.sleep(random.uniform(0, 0.05))
            kill(runtime, worker)
            if worker != "a":
                until(lambda seen=seen: len(numbers(other)) > seen + 5)
            if worker == "c":
                assert not runtime.processes.by_name["c"].is_ready or len(numbers(out)) > written
            until(lambda written=written: len(numbers(out)) > written + 20)
            until(lambda worker=worker: runtime.processes.by_name[worker].is_ready)
    assert results[0].end == "stopped"
    assert [runtime.tally(n).restarts for n in ("src", "need", "may", "out", "join")] == [1, 1, 1, 1, 0]
    assert all(line.split()[2:] == ["True", "False"] for line in lines(out) if "#" in line)
    accounted_for(runtime, 4)


def test_a_consumer_that_comes_back_after_its_source_has_ended_is_told_so(tmp_path):
    """It dies at its last packet, when its producer has nothing more to say: nobody would ever wake it."""
    nodes = branches(tmp_path, toy("Suicide", path=str(tmp_path), at=[29], on_error="restart", backoff_s=0.3))
    result, _ = ran(nodes)
    assert result.end == "finished", result.error
    assert numbers(tmp_path / "out") == list(range(29))
    assert lines(tmp_path / "out")[-2:] == ["finish", "close"]


def test_a_consumer_that_comes_back_after_its_source_is_gone_is_told_so(tmp_path):
    nodes = branches(tmp_path, toy("Suicide", path=str(tmp_path), at=[29], on_error="restart", backoff_s=1))
    with running(nodes) as (runtime, results):
        source = runtime.processes.by_name["a"]
        until(lambda: source.over.done() and (tmp_path / "29").exists())
        os.kill(source.pid, signal.SIGKILL)
        until(lambda: results)
    assert results[0].end == "finished"
    assert lines(tmp_path / "out")[-2:] == ["finish", "close"]


def hanging(tmp_path: Path, **how: Any) -> dict[str, Any]:
    middle = toy("HangNative", path=str(tmp_path), at=3, stall_after_s=0.3, **how)
    return branches(tmp_path, middle, realtime=True, n=100_000)


def test_a_node_that_hangs_in_native_code_is_restarted(tmp_path, caplog, capfd):
    with running(hanging(tmp_path, on_stall="restart", backoff_s=0.01)) as (runtime, results):
        until(lambda: len(numbers(tmp_path / "out")) > 10)
    assert results[0].end == "stopped"
    assert (runtime.tally("mid").stalls, runtime.tally("mid").restarts) == (1, 1)
    assert "nodes.mid: process failed at src#3: it has not returned for 0." in caplog.text
    assert re.search(r"its process \(placement.b\) hung in mid and was killed in a step; restart 1", caplog.text)
    assert re.search(r'toys.py", line \d+ in process', capfd.readouterr().err)
    accounted_for(runtime, 1)


def test_a_node_that_hangs_too_often_ends_the_run(tmp_path):
    result, _ = ran(hanging(tmp_path, on_stall="restart", max_restarts=0))
    assert str(result.error) == (
        "nodes.mid: process failed: its process (placement.b) hung in mid and was killed in a step"
    )


def test_a_stop_waits_for_nobody_who_holds_the_interpreter(tmp_path):
    with running(hanging(tmp_path)) as (runtime, results):
        until(lambda: (tmp_path / "3").exists())
        started = time.monotonic()
        runtime.stop()
        until(lambda: results)
        assert time.monotonic() - started < 2
    assert results[0] == Result("stopped", None, ())
    accounted_for(runtime, 1)


def test_a_leak_is_ended_at_the_limit(tmp_path, caplog):
    nodes = branches(tmp_path, toy("Hoard", mb=20, on_error="restart", backoff_s=0.01), realtime=True, n=10**6)
    with running(nodes, b={"kind": "process", "memory_mb": 300}) as (runtime, _):
        until(lambda: runtime.tally("mid").restarts)
        seen = len(numbers(tmp_path / "out"))
        until(lambda: len(numbers(tmp_path / "out")) > seen)
    assert re.search(r"used \d+ MB, more than memory_mb=300, and was killed", caplog.text)


@pytest.mark.parametrize(
    ("how", "start_s", "cause"),
    [
        ("hangs", 1.5, "was not ready within start_s=1.5 and was killed"),
        ("dies", 60, "ended with exit code 3"),
    ],
)
def test_a_setup_that_does_not_come_back_ends_the_run(how, start_s, cause, tmp_path):
    nodes = branches(tmp_path, toy("StubbornSetup", path=str(tmp_path), how=how))
    result, _ = ran(nodes, b={"kind": "process", "start_s": start_s})
    assert str(result.error) == f"nodes.mid: process failed: its process (placement.b) {cause}"
    assert not (tmp_path / "out").exists() or numbers(tmp_path / "out") == []


def test_a_setup_that_dies_is_tried_again(tmp_path):
    nodes = branches(tmp_path, toy("StubbornSetup", path=str(tmp_path), how="dies", times=2, **AGAIN))
    result, runtime = ran(nodes)
    assert result.end == "finished", result.error
    assert runtime.tally("mid").restarts == 2
    assert numbers(tmp_path / "out") == list(range(30))


def test_a_setup_that_fails_after_a_death_counts_as_one_more(tmp_path, caplog):
    """What a dead process held may take a moment to come back."""
    nodes = branches(tmp_path, toy("StubbornSetup", path=str(tmp_path), how="fails", times=3, **AGAIN))
    nodes["src"] |= {"realtime": True, "n": 10**6}
    (tmp_path / "setup0").touch()
    (tmp_path / "setup1").touch()
    (tmp_path / "setup2").touch()
    with running(nodes) as (runtime, _):
        until(lambda: numbers(tmp_path / "out"))
        (tmp_path / "setup2").unlink()
        kill(runtime, "b")
        seen = len(numbers(tmp_path / "out"))
        until(lambda: runtime.tally("mid").restarts == 2)
        until(lambda: len(numbers(tmp_path / "out")) > seen)
    assert "could not be set up again (nodes.mid: setup failed: OSError: the device is gone)" in caplog.text


def test_a_message_that_cannot_be_sent_is_told_with_its_node(tmp_path):
    nodes = {"src": toy("OddSource", cannot_be="sent", worker="a"), "out": toy("OddSink", inputs={"x": "src"})}
    result, runtime = ran(nodes)
    assert re.match(
        r"nodes.src: process failed: Unsendable: its Odd cannot go to another process \(src->out.x\): .*lambda",
        str(result.error),
    )
    assert drops(runtime)["error"] == 1


def test_a_message_that_cannot_be_made_again_is_told_with_its_consumer(tmp_path):
    nodes = {
        "src": toy("OddSource", cannot_be="received"),
        "out": toy("OddSink", inputs={"x": {"source": "src", "policy": "block"}}, worker="a"),
    }
    result, _ = ran(nodes)
    assert str(result.error) == (
        "nodes.out: receive failed: src->out.x: ValueError: invalid literal for int() with base 10: 'odd'; "
        "the class of a message must be importable in every process"
    )


def test_a_message_larger_than_its_contract_is_told_with_what_to_do(tmp_path):
    nodes = {
        "src": toy("Overgrown", worker="a"),
        "out": toy("Album", path=str(tmp_path / "out"), inputs={"word": "src"}),
    }
    result, _ = ran(nodes)
    assert re.fullmatch(
        r"nodes.src: process failed: TooBig: its Picture does not fit the memory planned for src->out.word: "
        r"1048576 bytes do not fit into a slot of \d+ bytes; "
        r"correct what `emits` of the node says of it, or `size_bytes` of Picture",
        str(result.error),
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_who_keeps_all_pictures_loses_the_next_and_his_death_frees_them(transport, tmp_path):
    nodes = {
        "src": toy("Snap", n=100_000, realtime=True, period_ms=4, worker="a", **AGAIN),
        "keep": toy("Keep", path=str(tmp_path / "keep"), inputs={"word": "src"}, worker="b", **AGAIN),
    }
    before = shared()
    with running(nodes, **by(transport)) as (runtime, _):
        for _ in range(2):
            full = drops(runtime)["full"]
            until(lambda full=full: drops(runtime)["full"] > full + 5)
            seen = len(numbers_of(tmp_path / "keep"))
            kill(runtime, "b")
            until(lambda seen=seen: len(numbers_of(tmp_path / "keep")) >= seen + 3)
    assert runtime.tally("src").steps > 20
    assert "False" not in (tmp_path / "keep").read_text()
    assert shared() <= before
    accounted_for(runtime, 2)


def numbers_of(path: Path) -> list[str]:
    return [line for line in lines(path) if "#" in line] if path.exists() else []


SCRIPT = """
import signal, sys
from graph.planner import make_plan
from graph.runtime import Runtime
from tests.faults.test_processes import PLACEMENT, every_role
from tests.graph.helpers import BUILDER
from pathlib import Path

runtime = Runtime(make_plan(every_role(Path(sys.argv[1])), PLACEMENT, BUILDER), BUILDER)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: runtime.stop())
sys.exit(0 if runtime.run().error is None else 1)
"""


@contextmanager
def program(tmp_path: Path, *, until_it_runs: bool = True) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A program of its own that runs a process graph, in a process group of its own, and its children."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    popen = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=ROOT,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        until(lambda: len(list(procfs.children(popen.pid))) == 4 or popen.poll() is not None)
        if until_it_runs:
            until(lambda: len(numbers(tmp_path / "out")) > 3 or popen.poll() is not None)
        assert popen.poll() is None, popen.communicate()
        yield popen, list(procfs.children(popen.pid))
    finally:
        if popen.poll() is None:
            os.killpg(popen.pid, signal.SIGKILL)
        popen.communicate()


@pytest.mark.parametrize(
    ("whom", "moment"), [("the parent", "at once"), ("the parent", "later"), ("its group", "later")]
)
def test_children_die_with_their_parent_and_leave_nothing(whom, moment, tmp_path):
    before = shared()
    with program(tmp_path, until_it_runs=moment == "later") as (popen, children):
        (os.kill if whom == "the parent" else os.killpg)(popen.pid, signal.SIGKILL)
        popen.wait()
        until(lambda: all(map(procfs.has_ended, children)), seconds=5)
    assert len(children) == 4
    assert shared() <= before


@pytest.mark.parametrize(
    ("number", "to_all", "moment"),
    [
        (signal.SIGINT, True, "at once"),
        (signal.SIGINT, True, "later"),
        (signal.SIGTERM, True, "at once"),
        (signal.SIGTERM, False, "later"),
    ],
)
def test_a_signal_ends_it_in_two_seconds_with_exit_code_0(number, to_all, moment, tmp_path):
    with program(tmp_path, until_it_runs=moment == "later") as (popen, children):
        started = time.monotonic()
        (os.killpg if to_all else os.kill)(popen.pid, number)
        _, errors = popen.communicate(timeout=20)
        assert time.monotonic() - started < 2
        until(lambda: all(map(procfs.has_ended, children)), seconds=5)
    assert popen.returncode == 0, errors
    assert "Traceback" not in errors
    assert "KeyboardInterrupt" not in errors


def test_a_worker_that_dies_is_the_last_line_and_exit_code_1(tmp_path):
    words = [
        *(f"hydra.searchpath=[file://{ROOT / 'tests' / 'conf'}]", "graph=toy", "plugins=[tests]", "metrics=none"),
        *("nodes.middle._target_=tests.graph.toys.Suicide", f"+nodes.middle.path={tmp_path}", "+nodes.middle.at=[7]"),
        *("+placement.far.kind=process", "+nodes.middle.worker=far"),
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *words],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.strip().splitlines()[-1] == (
        "error: nodes.middle: process failed: its process (placement.far) was killed by SIGKILL in a step"
    )


def test_an_exception_from_outside_leaves_no_process(tmp_path):
    before = list(procfs.children(os.getpid()))  # other tests may have started helpers of multiprocessing, which stay
    runtime = made(branches(tmp_path, toy("Add"), realtime=True, n=10**6))

    def interrupt() -> None:
        if numbers(tmp_path / "out"):
            raise KeyboardInterrupt

    runtime._on_tick = interrupt
    with pytest.raises(KeyboardInterrupt):
        runtime.run()
    assert not [p for p in runtime.processes.by_name.values() if p.pid]
    assert list(procfs.children(os.getpid())) == before


def held() -> tuple[int, int]:
    gc.collect()  # runs refer to themselves, and their memory to its descriptor
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def test_runs_leave_no_descriptor_and_no_thread(tmp_path):
    nodes = {
        "src": toy("Snap", n=3, worker="a"),
        "out": toy("Album", path=str(tmp_path / "out"), inputs={"word": "src"}),
    }
    ran(nodes)
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("cauce-")])
    before, children = held(), list(procfs.children(os.getpid()))
    for _ in range(20):
        assert ran(nodes)[0].end == "finished"
    until(lambda: held() == before)
    assert list(procfs.children(os.getpid())) == children


def under_load(tmp_path: Path) -> dict[str, Any]:
    return {
        "src": toy("Snap", n=10**6, realtime=True, period_ms=5, worker="a", in_flight=3, **AGAIN),
        "p": toy("Pass", inputs={"x": "src"}, worker="b", **AGAIN),
        "q": toy("Pass", busy_ms=3, inputs={"x": {"source": "src", "every": 2}}, worker="c", **AGAIN),
        "r": toy("Pass", inputs={"x": "q"}, **AGAIN),
        "joined": toy("Pick", inputs={"a": kept("p"), "b": kept("q")}, worker="d", **AGAIN),
        "out": toy("Album", path=str(tmp_path / "out"), inputs={"word": "p"}, worker="d", **AGAIN),
        "out2": toy("Album", path=str(tmp_path / "out2"), inputs={"word": "r"}, worker="c", **AGAIN),
        "out3": toy("Album", path=str(tmp_path / "out3"), inputs={"word": "joined"}, **AGAIN),
    }


def kept(source: str) -> dict[str, Any]:
    return {"source": source, "policy": "block"}


def killed_at_random(processes: list[Process], seconds: float) -> int:
    dice, kills, end = random.Random(5), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(dice.uniform(0.05, 0.6))
        process = dice.choice(processes)
        if pid := process.pid:
            try:
                os.kill(pid, signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                pass
    return kills


@pytest.mark.timeout(120 + 2 * CHAOS_S)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_chaos_leaves_a_graph_that_works_and_books_that_balance(transport, tmp_path, monkeypatch):
    monkeypatch.setattr(supervise, "LONGEST_BACKOFF_S", 0.2)  # so that all are up, and killed, the whole time
    before = shared()
    with running(under_load(tmp_path), **by(transport)) as (runtime, results):
        until(lambda: len(numbers(tmp_path / "out")) > 3)
        processes = list(runtime.processes.by_name.values())
        kills = killed_at_random(processes, CHAOS_S)
        until(lambda: all(p.is_ready for p in processes))
        assert not results, results
        for name in ("out", "out2", "out3"):
            seen = len(numbers(tmp_path / name))
            until(lambda name=name, seen=seen: len(numbers(tmp_path / name)) > seen + 20)
    assert results[0].end == "stopped"
    assert kills > 1
    for name in ("out", "out2", "out3"):
        assert {line.split(maxsplit=2)[2] for line in lines(tmp_path / name) if "#" in line} == {"True False"}
    assert sum(n.tally.errors for n in runtime.read_nodes()) == 0  # what Pass says of pictures that are torn
    accounted_for(runtime, kills)
    assert drops(runtime)["stopped"] <= kills + 8
    assert shared() <= before
