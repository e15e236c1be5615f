"""The command line from outside: what people type, what they read, how the program ends."""

import functools
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import main
from graph.commands.run import stops_on_signals

ROOT = Path(__file__).parents[2]
CONF = ROOT / "tests" / "conf"
TOY = [f"hydra.searchpath=[file://{CONF}]", "graph=toy", "plugins=[tests]", "metrics=none"]


def command(*words: str) -> list[str]:
    return [sys.executable, str(ROOT / "main.py"), *words]


def cauce(*words: str, cwd: Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command(*words), cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout)


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_a_run_leaves_a_summary_and_says_where(tmp_path):
    done = cauce(*TOY, "out=result", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "result" / "summary.json").read_text())
    assert (summary["end"], summary["frames"], summary["lossless"]) == ("finished", 20, True)
    assert summary["age_s"]["p50"] > 0
    assert "finished: 20 frames" in done.stderr
    assert "result/summary.json" in done.stderr
    assert (tmp_path / "result" / "numbers.txt").read_text().splitlines()[0] == "src#0 1"


def test_plan_is_a_word_and_a_command(tmp_path):
    words = cauce("plan", *TOY, cwd=tmp_path)
    group = cauce(*TOY, "command=plan", cwd=tmp_path)
    assert words.returncode == 0, words.stderr
    assert words.stdout == group.stdout
    assert "3 nodes, 2 edges, lossless: every capture is processed" in words.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("form", "start"), [("mermaid", "flowchart LR"), ("svg", "<svg xmlns=")])
def test_plan_draws(form, start, tmp_path):
    done = cauce("plan", *TOY, f"command.form={form}", cwd=tmp_path)
    assert done.stdout.startswith(start)
    assert "middle" in done.stdout


def test_mistakes_are_listed_and_nothing_is_written(tmp_path):
    done = cauce(*TOY, "nodes.middle.inputs.x=scr", "source.n=null", "+nodes.sink.colour=red", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-3:] == [
        "error: the configuration has 2 mistakes:",
        "  nodes.sink.colour: WriteNumber has no such parameter; there is: busy_every, busy_ms, path",
        "  nodes.middle.inputs.x: there is no node 'scr'; did you mean 'src'?",
    ]
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_key_is_refused_with_the_nearest_right_word(tmp_path):
    done = cauce(*TOY, "nodes.middle.inputz=3", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        "error: the configuration has 1 mistake:",
        "  nodes.middle.inputz: there is no such key; did you mean 'inputs'?",
    ]


def test_an_unknown_option_is_refused_with_those_there_are(tmp_path):
    done = cauce(*TOY, "placement=threds", cwd=tmp_path)
    assert done.returncode == 1
    assert "Could not find 'placement/threds'" in done.stderr
    assert last_line(done.stderr).strip() == "threads"


def test_a_forbidden_target_is_refused(tmp_path):
    done = cauce(*TOY, "nodes.middle._target_=os.system", cwd=tmp_path)
    assert done.returncode == 1
    assert "'os.system' may not be instantiated" in done.stderr


def test_a_file_may_not_name_plugins(tmp_path):
    folder = tmp_path / "conf" / "graph"
    folder.mkdir(parents=True)
    (folder / "sly.yaml").write_text("# @package _global_\nplugins: [antigravity]\nnodes: {}\n")
    done = cauce(f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "graph=sly", cwd=tmp_path)
    assert done.returncode == 1
    assert last_line(done.stderr).strip().startswith("plugins: antigravity is named by a file")


def test_an_error_comes_last_with_exit_code_1(tmp_path):
    fail = ["nodes.middle._target_=tests.graph.toys.Fail", "+nodes.middle.at=[7]"]
    done = cauce(*TOY, *fail, "out=result", cwd=tmp_path)
    assert done.returncode == 1
    assert last_line(done.stderr) == "error: nodes.middle: process failed at src#7: ValueError: cannot digest 7"
    assert json.loads((tmp_path / "result" / "summary.json").read_text())["end"] == "failed"


def test_a_taken_metrics_port_is_said_before_anything_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cauce(*TOY[:-1], f"metrics.port={port}", cwd=tmp_path)
    assert done.returncode == 1
    assert f"error: metrics.port: cannot serve the metrics on 127.0.0.1:{port}" in last_line(done.stderr)
    assert "metrics.port=N (0: any that is free), or metrics=none" in last_line(done.stderr)


def test_multirun_gives_each_job_a_folder_and_returns_what_sweeps_optimise(tmp_path):
    done = cauce("-m", *TOY, "source.n=3,5", "out=sweep", "command.metric=frames", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    frames = [json.loads((tmp_path / "sweep" / str(i) / "summary.json").read_text())["frames"] for i in (0, 1)]
    assert frames == [3, 5]


def endless(*words: str) -> list[str]:
    return command(*TOY, "source.n=1000000", "source.realtime=true", "out=result", *words)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after_s", [0.05, 0.3, 0.6, 1.0, 2.5])
def test_a_signal_at_any_moment_ends_it_in_two_seconds_with_exit_code_0(number, after_s, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(endless(), cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    wait_for_python(process.pid)
    time.sleep(after_s)
    process.send_signal(number)
    started = time.monotonic()
    _, errors = process.communicate(timeout=10)
    assert time.monotonic() - started < 2
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert not list(tmp_path.rglob("*.part"))


def test_a_signal_ends_it_even_when_a_node_hangs(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    hang = ["nodes.middle._target_=tests.graph.toys.Hang", "placement=inline"]
    process = subprocess.Popen(endless(*hang), cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    time.sleep(3)
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    _, errors = process.communicate(timeout=10)
    assert time.monotonic() - started < 2
    assert process.returncode == 0
    assert "time.sleep(self.seconds)" in errors


def wait_for_python(pid: int) -> None:
    """Until main.py has had the time to say what signals mean: its first statements, before any import of weight."""
    handled = 1 << (signal.SIGTERM - 1)
    while not caught_signals(pid) & handled:
        time.sleep(0.005)


def caught_signals(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("SigCgt")).split()[1], 16)


CALLBACK = """
import signal
import main

class Collected:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

signal.signal(signal.SIGTERM, main.Exit())
Collected()
print("it went on")
"""


def test_until_a_command_begins_a_signal_leaves_at_once_also_out_of_a_callback():
    """Seen in the import system's own: the exit was ignored, with a traceback, and the program went on."""
    done = subprocess.run([sys.executable, "-c", CALLBACK], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class Collected:
    """Is told to end while it is collected."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def collect_and_wait() -> None:
    Collected()
    time.sleep(30)


def test_an_exit_in_a_callback_is_asked_for_again_while_a_command_is_at_work(monkeypatch):
    handler = at_work()
    before = signal.signal(signal.SIGTERM, handler)
    monkeypatch.setattr(sys, "unraisablehook", handler.hears_of)
    try:
        with pytest.raises(SystemExit) as e:
            collect_and_wait()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert e.value.code == 0


def test_other_errors_in_callbacks_are_told(monkeypatch, capsys):
    class Faulty:
        def __del__(self) -> None:
            raise ValueError("of its own")

    monkeypatch.setattr(sys, "unraisablehook", at_work().hears_of)
    Faulty()
    assert "ValueError: of its own" in capsys.readouterr().err


def at_work() -> main.Exit:
    handler = main.Exit()
    handler.clears_up = True
    return handler


def test_a_signal_ends_it_with_exit_code_0_though_a_library_fails_over_it(monkeypatch):
    """Seen with OmegaConf: what it clears up in `finally` failed, and its error took the place of the exit."""
    monkeypatch.setattr(main, "_exit", at_work())

    def compose() -> None:
        try:
            main._exit(signal.SIGTERM, None)
        finally:
            raise AttributeError("half built")

    with pytest.raises(SystemExit) as e, main.told():
        compose()
    assert e.value.code == 0


@pytest.fixture
def swallowed(monkeypatch):
    """A signal has come before a run listened to any, and a library has gone on all the same."""
    handler = at_work()
    monkeypatch.setattr(main, "_exit", handler)
    with pytest.raises(SystemExit):
        handler(signal.SIGINT, None)
    before = signal.signal(signal.SIGINT, handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("swallowed")
def test_a_signal_that_a_library_swallowed_ends_it_before_the_command_begins():
    with pytest.raises(SystemExit) as e:
        main.execute(
            {"plugins": ["tests"], "command": {"_target_": "tests.faults.test_command_line.Never"}}, ["plugins="]
        )
    assert e.value.code == 0


class Never:
    """A command that must not be executed."""

    needs_graph = False

    def execute(self, _: object) -> None:
        raise AssertionError("it was")


@pytest.mark.usefixtures("swallowed")
def test_a_signal_that_a_library_swallowed_stops_the_run_that_begins():
    asked: list[bool] = []
    with stops_on_signals() as stops:
        stops(SimpleNamespace(stop=lambda: asked.append(True)))
        assert asked == [True]


def test_a_signal_that_comes_while_a_run_is_being_made_stops_it():
    asked: list[bool] = []
    with stops_on_signals() as stops:
        signal.raise_signal(signal.SIGTERM)
        stops(SimpleNamespace(stop=lambda: asked.append(True)))
    assert asked == [True]


def test_without_a_signal_the_same_error_is_one():
    with pytest.raises(AttributeError), main.told():
        raise AttributeError("half built")


@pytest.mark.parametrize("count", [20, 28, 36, 44, 52, 60, 68])
def test_a_run_for_which_there_are_too_few_descriptors_says_so(count, tmp_path):
    """Wherever the last one was needed: in the run, in a process, or for what is sent to one."""
    words = command("placement=processes", "metrics=none", "source.duration_s=1", "out=result")
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_NOFILE, (count, 2048))
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, preexec_fn=limit)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert last_line(done.stderr) == (
        f"error: a process may have {count} file descriptors open, and more are needed; "
        "run `ulimit -n 1024` before, or take placement=threads, which needs fewer"
    )
