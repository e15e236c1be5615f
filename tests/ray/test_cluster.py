"""Actors on a cluster: the same packets as inline, the same books, and no end with the end of a machine."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("ray", reason="the extra `ray` is not installed")

from graph import procfs
from graph.build import Builder
from graph.cluster import worker
from graph.cluster.line import Line
from graph.each import expanded
from graph.errors import WorkerDied
from graph.planner import make_plan
from graph.runtime import Result, Runtime
from tests.contract.test_placements import GRAPHS
from tests.contract.test_random_graphs import graph as random_graph
from tests.graph.helpers import PLACEMENTS, books_balance, drops, lines, run, toy
from tests.graph.test_each import fleet

pytestmark = pytest.mark.timeout(180)
BUILDER = Builder(["tests"])
WORKERS = ("main", "a", "b", "c")


def actor(cluster: Any, **more: Any) -> dict[str, Any]:
    return {"kind": "ray", "address": cluster.address, "start_s": 60, "resources": {"CPU": 0.1}, **more}


def placements(cluster: Any) -> dict[str, dict[str, Any]]:
    ray, process, inline = actor(cluster), {"kind": "process"}, {"kind": "inline"}
    return {
        "all": dict.fromkeys(WORKERS, ray),
        "some": {"main": inline, "a": ray, "b": inline, "c": ray},
        "with processes": {"main": ray, "a": process, "b": ray, "c": process},
        "with threads": {"main": inline, "a": ray, "b": {"kind": "thread", "process": "a"}, "c": ray},
    }


def ray_toy(name: str, **entry: Any) -> dict[str, Any]:
    return {"_target_": f"tests.ray.toys.{name}", **entry}


def start(placement: dict[str, Any], **nodes: Any) -> tuple[Runtime, Thread, list[Result]]:
    runtime = Runtime(make_plan(nodes, placement, BUILDER), BUILDER)
    results: list[Result] = []
    thread = Thread(target=lambda: results.append(runtime.run()))
    thread.start()
    return runtime, thread, results


def wait_for(what: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def pids(path: Path) -> list[tuple[str, int]]:
    """Machine and process of each start of a node that writes them down."""
    if not path.exists():
        return []
    return [(line.split()[0], int(line.split()[1])) for line in lines(path)]


EACH = [(g, w) for g in GRAPHS for w in ("all", "with processes")]


@pytest.mark.parametrize(("graph", "where"), [*EACH, ("diamond", "some"), ("diamond", "with threads")])
def test_a_lossless_run_gives_the_same_as_inline(cluster, graph: str, where: str, tmp_path: Path) -> None:
    run("inline", **GRAPHS[graph](tmp_path / "inline"))
    runtime, thread, results = start(placements(cluster)[where], **GRAPHS[graph](tmp_path / "ray"))
    thread.join()
    assert results[0].end == "finished", results[0].error
    assert lines(tmp_path / "ray") == lines(tmp_path / "inline")
    assert len(lines(tmp_path / "ray")) > 10
    assert books_balance(runtime)


@pytest.mark.parametrize("seed", range(100, 106))
def test_any_lossless_graph_gives_the_same_as_inline(cluster, seed: int, tmp_path: Path) -> None:
    chance, kinds = random.Random(seed), (actor(cluster), actor(cluster), {"kind": "process"}, {"kind": "inline"})
    placed = {w: chance.choice(kinds) for w in WORKERS}
    written = []
    for where, workers in (("inline", PLACEMENTS["inline"]), ("placed", placed)):
        folder = tmp_path / where
        folder.mkdir()
        runtime, thread, results = start(workers, **random_graph(random.Random(seed), folder))
        thread.join()
        assert results[0].end == "finished", results[0].error
        assert books_balance(runtime)
        written.append({path.name: sorted(lines(path)) for path in sorted(folder.iterdir())})
    assert written[1] == written[0]


@pytest.mark.parametrize("where", ["all", "some", "with processes"])
def test_arrays_arrive_whole_and_read_only_and_captures_end(cluster, where: str, tmp_path: Path) -> None:
    runtime, thread, results = start(
        placements(cluster)[where],
        src=ray_toy("Film", n=40, period_ms=10, worker="a", in_flight=2),
        dev=ray_toy("Develop", inputs={"picture": "src"}, worker="b"),
        one=ray_toy("Look", inputs={"picture": "dev"}, worker="c", is_far=True),
        two=ray_toy("Look", inputs={"picture": "dev"}, worker="main"),
        out=toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": ["one", "two"]}, worker="a"),
    )
    thread.join()
    assert results[0].end == "finished", results[0].error
    assert books_balance(runtime)
    seen = [line.split()[1] for line in lines(tmp_path / "out")[:-2]]
    assert len(seen) >= 4
    assert runtime.tally("src").at_door > 0  # no capture entered while two were under way
    assert len(seen) <= 2 * (40 - runtime.tally("src").at_door)
    assert sum(drops(runtime).values()) == drops(runtime)["in_flight"] + drops(runtime)["overwritten"]


@pytest.mark.parametrize("models", [1, 2])
def test_wearers_share_what_runs_in_actors(cluster, models: int, tmp_path: Path) -> None:
    workers = placements(cluster)["some"] | {"a": {"kind": "thread"}, "b": actor(cluster), "c": {"kind": "thread"}}
    made = expanded({"nodes": fleet(tmp_path / "out", models=models), "placement": workers})
    runtime, thread, results = start(made["placement"], **made["nodes"])
    thread.join()
    assert results[0].end == "finished", results[0].error
    for i in (1, 2, 3):
        assert lines(tmp_path / f"out_{i}")[:-2] == [f"src_{i}#{n} {n}+{n + 1}" for n in range(20)]
    assert not any(sum(e.dropped.values()) for e in runtime.read_edges())


def test_newest_wins_before_an_actor_that_is_slow(cluster, tmp_path: Path) -> None:
    runtime, thread, results = start(
        placements(cluster)["all"] | {"main": {"kind": "inline"}},
        src=ray_toy("Film", n=100, period_ms=5),
        look=ray_toy("Look", inputs={"picture": "src"}, worker="a"),
        out=toy("WriteNumber", path=str(tmp_path / "out"), busy_ms=60, inputs={"word": "look"}, worker="b"),
    )
    thread.join()
    assert results[0].end == "finished", results[0].error
    assert books_balance(runtime)
    seen = [int(line.split()[1]) for line in lines(tmp_path / "out")[:-2]]
    assert seen == sorted(seen)
    assert drops(runtime)["overwritten"] > 10
    assert 5 <= len(seen) < 90


@pytest.mark.parametrize("victim", ["src", "dev", "look"])
def test_an_actor_that_is_killed_is_started_again(cluster, victim: str, tmp_path: Path) -> None:
    again = {"on_error": "restart", "backoff_s": 0.1}
    told = {name: tmp_path / name for name in ("src", "dev", "look")}
    runtime, thread, results = start(
        placements(cluster)["all"] | {"main": {"kind": "inline"}},
        src=ray_toy("Film", n=400, period_ms=10, worker="a", path=str(told["src"]), **again),
        dev=ray_toy("Develop", inputs={"picture": "src"}, worker="b", path=str(told["dev"]), **again),
        look=ray_toy("Look", inputs={"picture": "dev"}, worker="c", path=str(told["look"]), **again),
        out=toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "look"}),
    )
    wait_for(lambda: runtime.tally("out").steps > 5)
    before = runtime.tally("out").steps
    os.kill(pids(told[victim])[0][1], signal.SIGKILL)
    wait_for(lambda: len(pids(told[victim])) == 2)
    wait_for(lambda: runtime.tally("out").steps > before + 20)
    runtime.stop()
    thread.join()
    assert results[0].end == "stopped", results[0].error
    assert runtime.tally(victim).restarts == 1
    numbers = [int(line.split()[0].partition("#")[2]) for line in lines(tmp_path / "out") if "#" in line]
    assert numbers == sorted(set(numbers))  # also where a new source does not know how far the dead one had come
    assert books_balance(runtime)
    assert all(e.waiting >= 0 and min(e.dropped.values()) >= 0 for e in runtime.read_edges())
    wait_for(lambda: all(procfs.has_ended(pid) for path in told.values() for _, pid in pids(path)))


def test_a_graph_outlives_a_machine(breakable, tmp_path: Path) -> None:
    machine = actor(breakable, resources={"CPU": 0.1, "place": 0.1})
    told = tmp_path / "look"
    runtime, thread, results = start(
        {"main": {"kind": "inline"}, "a": machine},
        src=ray_toy("Film", n=2000, period_ms=10),
        look=ray_toy("Look", inputs={"picture": "src"}, path=str(told), worker="a", on_error="restart", backoff_s=0.2),
        out=toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "look"}),
    )
    wait_for(lambda: runtime.tally("out").steps > 10)
    [(lost, _)] = pids(told)
    breakable.remove_node(next(n for n in breakable.worker_nodes if n.node_id == lost), allow_graceful=False)
    wait_for(lambda: len(pids(told)) == 2)
    before = runtime.tally("out").steps
    wait_for(lambda: runtime.tally("out").steps > before + 20)
    runtime.stop()
    thread.join()
    assert results[0].end == "stopped", results[0].error
    assert pids(told)[1][0] != lost
    assert runtime.tally("look").restarts == 1
    assert books_balance(runtime)
    assert drops(runtime)["lost"] > 0
    assert all(e.waiting >= 0 for e in runtime.read_edges())


def test_the_run_ends_with_an_actor_whose_policy_is_to_stop(cluster, tmp_path: Path) -> None:
    told = tmp_path / "look"
    _, thread, results = start(
        {"main": {"kind": "inline"}, "a": actor(cluster)},
        src=ray_toy("Film", n=2000, period_ms=10),
        look=ray_toy("Look", inputs={"picture": "src"}, path=str(told), worker="a"),
        out=toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "look"}),
    )
    wait_for(lambda: (tmp_path / "out").exists() and len(lines(tmp_path / "out")) > 3)
    os.kill(pids(told)[0][1], signal.SIGKILL)
    thread.join()
    assert results[0].end == "failed"
    assert isinstance(results[0].error, WorkerDied)
    assert "look" in str(results[0].error)
    assert "placement.a" in str(results[0].error)


def test_an_actor_that_hangs_is_started_again(cluster, tmp_path: Path, caplog) -> None:
    hangs = {"on_stall": "restart", "stall_after_s": 0.5, "on_error": "restart", "backoff_s": 0.1, "max_restarts": 1}
    runtime, thread, _ = start(
        {"main": {"kind": "inline"}, "a": actor(cluster)},
        src=toy("Count", n=2000, realtime=True),
        hang=ray_toy("Hang", inputs={"x": "src"}, worker="a", **hangs),
        out=toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "hang"}),
    )
    wait_for(lambda: runtime.tally("hang").restarts == 1)
    wait_for(lambda: runtime.tally("out").steps > 2)
    runtime.stop()
    thread.join()
    assert runtime.tally("hang").stalls >= 1
    assert "in process" in caplog.text  # its stack
    assert books_balance(runtime)


def test_an_actor_that_keeps_the_interpreter_is_found_and_started_again(cluster, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(worker, "SILENT_S", 3.0)
    runtime, thread, _ = start(
        {"main": {"kind": "inline"}, "a": actor(cluster)},
        src=toy("Count", n=5000, realtime=True),
        hang=toy("HangNative", path=str(tmp_path), at=5, inputs={"x": "src"}, worker="a", on_error="restart"),
        out=toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "hang"}),
    )
    wait_for(lambda: runtime.tally("hang").restarts == 1)
    before = runtime.tally("out").steps
    wait_for(lambda: runtime.tally("out").steps > before + 5)
    runtime.stop()
    thread.join()
    assert books_balance(runtime)


def test_an_actor_that_takes_too_much_memory_is_started_again(cluster, tmp_path: Path, caplog) -> None:
    runtime, thread, _ = start(
        {"main": {"kind": "inline"}, "a": actor(cluster, memory_mb=600)},
        src=toy("Count", n=5000, realtime=True),
        hoard=toy("Hoard", mb=20, inputs={"x": {"source": "src", "every": 4}}, worker="a", on_error="restart"),
        out=toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "hoard"}),
    )
    wait_for(lambda: runtime.tally("hoard").restarts == 1)
    runtime.stop()
    thread.join()
    assert "more than memory_mb=600" in caplog.text
    assert books_balance(runtime)


@pytest.mark.parametrize("ahead_s", [-1000, 1000])
def test_a_clock_that_is_ahead_changes_nothing(cluster, ahead_s: int, tmp_path: Path, monkeypatch) -> None:
    """The actors are told that their clocks are ahead, and so see capture times accordingly; here nobody notices."""
    monkeypatch.setattr(Line, "_clock_ahead_ns", lambda _: ahead_s * 10**9)
    where = placements(cluster)["all"] | {"main": {"kind": "inline"}}
    run("inline", **GRAPHS["held"](tmp_path / "inline"))
    _, thread, results = start(where, **GRAPHS["held"](tmp_path / "ray"))
    thread.join()
    assert results[0].end == "finished", results[0].error
    assert lines(tmp_path / "ray") == lines(tmp_path / "inline")
    runtime, thread, results = start(
        where,
        src=ray_toy("Film", n=30, period_ms=10),
        look=ray_toy("Look", inputs={"picture": "src"}, worker="a"),
        age=ray_toy("Age", inputs={"x": "look"}, worker="b"),
        out=toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "age"}),
    )
    thread.join()
    assert results[0].end == "finished", results[0].error
    assert all(0 < age < 30e9 for age in runtime.tally("out").ages_ns)
    ages_s = [int(line.split()[1]) for line in lines(tmp_path / "out")[:-2]]
    assert ages_s  # this machine has one clock: the actors see all captures as far off as they were told
    assert all(-ahead_s - 1 <= age <= -ahead_s + 30 for age in ages_s)


def test_resources_that_no_machine_has_are_told_in_time(cluster, tmp_path: Path) -> None:
    _, thread, results = start(
        {"main": {"kind": "inline"}, "a": actor(cluster, resources={"GPU": 2, "place": 1}, start_s=2)},
        src=toy("Count"),
        inc=toy("Add", inputs={"x": "src"}, worker="a"),
        out=toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "inc"}),
    )
    thread.join()
    assert results[0].end == "failed"
    text = str(results[0].error)
    assert "placement.a.resources" in text
    assert "it wants CPU 1, GPU 2, place 1" in text
    assert "GPU 0, place 1" in text  # what there is


def test_a_node_that_cannot_be_set_up_says_so(cluster, tmp_path: Path) -> None:
    _, thread, results = start(
        {"main": {"kind": "inline"}, "a": actor(cluster)},
        src=toy("Count"),
        inc=toy("Fail", in_setup=True, inputs={"x": "src"}, worker="a"),
        out=toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "inc"}),
    )
    thread.join()
    assert results[0].end == "failed"
    assert "nodes.inc: setup failed" in str(results[0].error)


def test_a_cluster_that_does_not_answer_is_told(tmp_path: Path) -> None:
    placement = {"main": {"kind": "inline"}, "a": {"kind": "ray", "address": "127.0.0.1:1"}}
    nodes = {
        "src": toy("Count"),
        "out": toy("WriteNumber", path=str(tmp_path / "o"), inputs={"word": "src"}, worker="a"),
    }
    result = Runtime(make_plan(nodes, placement, BUILDER), BUILDER).run()
    assert result.end == "failed"
    assert "ray.address" in str(result.error)


def test_a_cluster_of_the_run_s_own_is_gone_after_it(tmp_path: Path) -> None:
    import ray

    def shared() -> set[str]:
        return {name for name in os.listdir("/dev/shm") if "plasma" in name or "ray" in name}

    told, before = tmp_path / "look", shared()
    placement = {"main": {"kind": "inline"}, "a": {"kind": "ray", "resources": {"CPU": 0.1}}}
    nodes = {
        "src": ray_toy("Film", n=20, period_ms=5),
        "look": ray_toy("Look", inputs={"picture": "src"}, path=str(told), worker="a"),
        "out": toy("WriteNumber", path=str(tmp_path / "out"), inputs={"word": "look"}),
    }
    handler = signal.getsignal(signal.SIGTERM)
    result = Runtime(make_plan(nodes, placement, BUILDER), BUILDER).run()
    assert result.end == "finished", result.error
    assert signal.getsignal(signal.SIGTERM) is handler
    assert not ray.is_initialized()
    [(_, pid)] = pids(told)
    wait_for(lambda: procfs.has_ended(pid))
    assert shared() <= before
