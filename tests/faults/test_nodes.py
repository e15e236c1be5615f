"""Nodes that raise, hang or lie: what is said, how the run ends, and that everything is closed all the same."""

import logging
import re
import threading
import time
from pathlib import Path

import pytest

from graph.node import Stamp
from graph.runtime import Runtime
from graph.worker import Worker
from tests.graph.helpers import BUILDER, books_balance, drops, lines, plan, run, toy
from tests.graph.toys import Number

PLACEMENT = pytest.mark.parametrize("placement", ["inline", "threads", "processes", "mixed"])
HERE = ("inline", "threads")


def graph(out: Path, middle: dict, **more: dict) -> dict:
    return {
        "src": toy("Count", n=20, worker="a"),
        "mid": {**middle, "inputs": {"x": "src"}, "worker": "b"},
        "out": toy("WriteNumber", path=str(out), inputs={"word": "mid"}, worker="c"),
        **more,
    }


@PLACEMENT
def test_a_node_that_raises_ends_the_run_with_its_name_and_the_capture(placement, tmp_path):
    result, runtime = run(placement, **graph(tmp_path / "out", toy("Fail", at=[7])))
    assert result.end == "failed"
    assert str(result.error) == "nodes.mid: process failed at src#7: ValueError: cannot digest 7"
    assert lines(tmp_path / "out")[-1] == "close"
    assert "finish" not in lines(tmp_path / "out")
    assert books_balance(runtime)


@PLACEMENT
def test_skip_counts_and_goes_on(placement, tmp_path, caplog):
    result, runtime = run(placement, **graph(tmp_path / "out", toy("Fail", at=[3, 7], on_error="skip")))
    assert result.end == "finished"
    assert [line.split()[1] for line in lines(tmp_path / "out")[:-2]] == [str(i) for i in range(20) if i not in (3, 7)]
    assert runtime.tally("mid").errors == 2
    assert "nodes.mid: process failed at src#3: ValueError: cannot digest 3; skipped" in caplog.text


@PLACEMENT
def test_restart_makes_the_node_anew_after_a_pause(placement, tmp_path, caplog):
    middle = toy("Fail", at=[3, 7], on_error="restart", backoff_s=0.01)
    result, runtime = run(placement, **graph(tmp_path / "out", middle))
    assert result.end == "finished"
    assert runtime.tally("mid").restarts == 2
    assert "restart 1 of 5 in 0.01 s" in caplog.text
    assert "restart 2 of 5 in 0.02 s" in caplog.text


@PLACEMENT
def test_too_many_restarts_end_the_run(placement, tmp_path):
    middle = toy("Fail", at=list(range(20)), on_error="restart", backoff_s=0.001, max_restarts=2)
    result, runtime = run(placement, **graph(tmp_path / "out", middle))
    assert str(result.error) == "nodes.mid: process failed at src#2: ValueError: cannot digest 2"
    assert runtime.tally("mid").restarts == 2


@PLACEMENT
def test_a_node_that_cannot_be_set_up_ends_the_run_before_it_began(placement, tmp_path):
    result, _ = run(placement, **graph(tmp_path / "out", toy("Fail", in_setup=True)))
    assert str(result.error) == "nodes.mid: setup failed: OSError: the device is gone"
    out = tmp_path / "out"
    assert not out.exists() or lines(out) == ["close"]  # a process of its own is set up at the same time


@PLACEMENT
def test_stamps_of_numpy_numbers_arrive_as_numbers(placement, tmp_path):
    nodes = graph(tmp_path / "out", toy("Fail", at=[]))
    nodes["src"] = {**nodes["src"], **toy("CountByNumpy", n=20)}
    expected, _ = run(placement, **graph(tmp_path / "expected", toy("Fail", at=[])))
    result, _ = run(placement, **nodes)
    assert (result.end, expected.end) == ("finished", "finished"), result.error
    assert lines(tmp_path / "out") == lines(tmp_path / "expected")


@PLACEMENT
def test_a_wrong_return_type_is_named(placement, tmp_path):
    result, _ = run(placement, **graph(tmp_path / "out", toy("Liar")))
    assert str(result.error) == ("nodes.mid: process failed at src#0: it returned str, but its signature says Number")


@PLACEMENT
def test_a_node_that_hangs_is_reported_with_its_stack_and_the_run_ends_in_time(placement, tmp_path, caplog, capfd):
    middle = toy("Hang", at=5, seconds=20, stall_after_s=0.2, on_stall="stop")
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        result, runtime = run(placement, **graph(tmp_path / "out", middle))
    assert time.monotonic() - started < (3 if placement in HERE else 12)  # processes take their time to start
    assert str(result.error).startswith("nodes.mid: process failed at src#5: it has not returned for 0.")
    if placement in HERE:
        assert "mid" in result.stuck
        assert "time.sleep(self.seconds)" in caplog.text
    else:
        assert re.search(r'toys.py", line \d+ in process', capfd.readouterr().err)
        assert "nodes.mid: did not stop in time" in caplog.text
    assert runtime.tally("mid").stalls == 1
    if placement == "threads":
        assert lines(tmp_path / "out")[-1] == "close"


def test_a_node_that_takes_long_is_only_reported_unless_asked_otherwise(tmp_path, caplog):
    middle = toy("Hang", at=5, seconds=0.6, stall_after_s=0.2)
    result, runtime = run("threads", **graph(tmp_path / "out", middle))
    assert result.end == "finished"
    assert runtime.tally("mid").stalls == 1
    assert caplog.text.count("it has not returned for") == 1


@PLACEMENT
@pytest.mark.parametrize("when", ["setup", "process"])
def test_a_stop_comes_back_in_time_even_from_a_node_that_hangs(placement, when, tmp_path):
    middle = toy("Hang", at=2, seconds=20, in_setup=when == "setup")
    runtime = Runtime(plan(placement, **graph(tmp_path / "out", middle)), BUILDER)
    threading.Timer(0.3, runtime.stop).start()
    started = time.monotonic()
    result = runtime.run()
    assert time.monotonic() - started < 0.3 + 2
    assert result.end == "stopped"
    assert (result.stuck != ()) == (placement in HERE)  # other processes are gone, whatever they hung in


def test_after_a_run_no_thread_is_left(tmp_path):
    before = set(threading.enumerate())
    run("threads", **graph(tmp_path / "out", toy("Add")))
    assert not [t for t in threading.enumerate() if t not in before]


def test_what_comes_while_all_is_being_closed_is_not_kept(tmp_path, monkeypatch):
    runtime = Runtime(plan("threads", **graph(tmp_path / "out", toy("Add"))), BUILDER)
    box = next(box for edge, box in runtime.processes.here.assembly.mailboxes.items() if edge.target == "mid")
    end = Worker.end

    def ended(worker):
        box.offer(Stamp("src", 20, 0), Number(20), 0, None)
        end(worker)

    monkeypatch.setattr(Worker, "end", ended)
    assert runtime.run().end == "finished"
    assert not box.packets
    assert box.dropped["stopped"] == 3
    assert books_balance(runtime)


def test_a_slow_sink_delays_no_other(tmp_path):
    nodes = {
        "src": toy("Count", n=60, realtime=True, period_ms=5, worker="a"),
        "say": toy("Say", inputs={"x": "src"}, worker="b"),
        "slow": toy("WriteWord", path=str(tmp_path / "slow"), busy_ms=100, inputs={"word": "say"}, worker="c"),
        "quick": toy("WriteWord", path=str(tmp_path / "quick"), inputs={"word": "say"}),
    }
    result, runtime = run("threads", **nodes)
    assert result.end == "finished"
    lost = {e.name: e.dropped["overwritten"] for e in runtime.read_edges() if "->" in e.name}
    assert lost["say->slow.word"] > 40
    assert lost["say->quick.word"] < 10  # a busy machine may be late once or twice, ten times is the other sink's doing
    assert books_balance(runtime)


def test_in_flight_turns_captures_away_at_the_door(tmp_path):
    nodes = {
        "src": toy("Count", n=40, realtime=True, period_ms=4, worker="a", in_flight=1),
        "add": toy("Add", busy_ms=10, inputs={"x": "src"}, worker="b"),
        "out": toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "add"}, worker="c"),
    }
    result, runtime = run("threads", **nodes)
    assert result.end == "finished"
    written = len(lines(tmp_path / "out")) - 2
    assert drops(runtime) == {"in_flight": 40 - written}
    assert 5 < written < 40


def test_captures_that_the_device_lost_are_counted(tmp_path):
    nodes = {
        "src": toy("Count", n=10, gap_at=4),
        "out": toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "src"}),
    }
    _, runtime = run("inline", **nodes)
    assert drops(runtime) == {"source_gap": 1}


def test_packets_that_are_too_old_are_dropped_as_stale(tmp_path):
    nodes = {
        "src": toy("Count", n=8, realtime=True, period_ms=2, worker="a"),
        "slow": toy("Add", busy_ms=30, inputs={"x": {"source": "src", "policy": "block", "capacity": 8}}, worker="b"),
        "out": toy("WriteNumber", path=str(tmp_path / "o"), inputs={"word": {"source": "slow", "max_age_ms": 100}}),
    }
    _, runtime = run("threads", **nodes)
    assert 2 <= drops(runtime)["stale"] <= 6
    assert books_balance(runtime)


def test_frames_ends_the_run_after_so_many_captures(tmp_path):
    result, _ = run("threads", frames=7, **graph(tmp_path / "out", toy("Add")))
    assert result.end == "finished"
    assert len(lines(tmp_path / "out")) == 7 + 2


@pytest.mark.parametrize("placement", ["inline", "threads", "processes"])
def test_a_join_shuts_no_door_over_captures_that_its_anchor_says_nothing_of(placement, tmp_path):
    """The other branch brings them all the same, and each keeps the only ticket as long as it waits."""
    nodes = {
        "src": toy("Count", n=60, realtime=True, period_ms=5, worker="a", in_flight=1),
        "need": toy("Add", k=0, mute=3, inputs={"x": "src"}, worker="b"),
        "may": toy("Add", k=100, busy_ms=2, inputs={"x": "src"}, worker="c"),
        "join": toy("Both", inputs={"a": "need", "b": "may"}),
        "out": toy("WriteWord", path=str(tmp_path / "out"), inputs={"word": "join"}),
    }
    result, runtime = run(placement, **nodes)
    assert result.end == "finished"
    assert len(lines(tmp_path / "out")) > 5 + 2
    assert drops(runtime)["unmatched"] > 5
    assert books_balance(runtime)
