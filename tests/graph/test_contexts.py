"""What a worker works in: entered in its thread before its nodes, left after them."""

import sys
from threading import current_thread

import pytest

from graph.errors import ConfigError
from graph.planner import make_plan
from graph.runtime import Runtime
from tests.graph.helpers import BUILDER, toy

HERE: list[str] = []


class Room:
    """Notes who is in it."""

    def __init__(self, name: str = "room", *, fails: str = "") -> None:
        self.name, self.fails = name, fails

    @classmethod
    def check(cls, params):
        if params.get("name") == "":
            yield "name: is empty; give one"

    def __enter__(self):
        if self.fails == "enter":
            raise OSError("the door is locked")
        HERE.append(f"{self.name} entered by {current_thread().name}")

    def __exit__(self, *_):
        HERE.append(f"{self.name} left by {current_thread().name}")
        if self.fails == "exit":
            raise OSError("the door is stuck")


@pytest.fixture(autouse=True)
def _nobody():
    HERE.clear()


def placement(**room):
    return {
        "main": {"kind": "inline"},
        "a": {"kind": "thread", "context": {"_target_": "tests.graph.test_contexts.Room", **room}},
    }


def nodes(out):
    return {
        "src": toy("Count", n=3),
        "inc": toy("Add", inputs={"x": "src"}, worker="a"),
        "say": toy("Say", inputs={"x": "inc"}, worker="a"),
        "out": toy("WriteWord", path=str(out), inputs={"word": "say"}),
    }


def test_a_worker_enters_once_in_its_own_thread_and_leaves_at_the_end(tmp_path):
    result = Runtime(make_plan(nodes(tmp_path / "out"), placement(), BUILDER), BUILDER).run()
    assert result.error is None
    assert HERE == ["room entered by cauce-a", "room left by cauce-a"]


def test_a_worker_that_cannot_start_is_named_with_why_and_what_to_do(tmp_path):
    result = Runtime(make_plan(nodes(tmp_path / "out"), placement(fails="enter"), BUILDER), BUILDER).run()
    assert result.end == "failed"
    assert str(result.error) == (
        "placement.a: the worker cannot start: OSError: the door is locked; or take placement=threads"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="process workers need Linux")
def test_a_thread_of_another_process_says_the_same(tmp_path):
    workers = placement(fails="enter")
    workers["far"] = {"kind": "process"}
    workers["a"]["process"] = "far"
    result = Runtime(make_plan(nodes(tmp_path / "out"), workers, BUILDER), BUILDER).run()
    assert str(result.error) == (
        "placement.a: the worker cannot start: OSError: the door is locked; or take placement=threads"
    )


def test_what_goes_wrong_on_leaving_is_logged_and_the_run_ends_as_it_did(tmp_path, caplog):
    result = Runtime(make_plan(nodes(tmp_path / "out"), placement(fails="exit"), BUILDER), BUILDER).run()
    assert result.end == "finished"
    assert "placement.a: what the worker works in could not be left" in caplog.text


def problems(**workers):
    with pytest.raises(ConfigError) as e:
        make_plan({"src": toy("Count", worker="a")}, workers, BUILDER)
    return [p for p in e.value.problems if p.startswith("placement")]


def test_mistakes_in_what_a_worker_works_in_are_found_before_it_starts():
    assert problems(a=placement(name="", colour="red")["a"]) == [
        "placement.a.context.colour: Room has no such parameter; there is: fails, name",
        "placement.a.context.name: is empty; give one",
    ]
    assert problems(a={"kind": "thread", "context": "room"}) == [
        "placement.a.context: is 'room'; expected a mapping with a _target_"
    ]


def test_a_cuda_worker_is_checked_without_a_gpu():
    make_plan({"src": toy("Count", worker="a")}, {"a": {"kind": "cuda", "priority": "low"}}, BUILDER)
    assert problems(a={"kind": "cuda", "device": "gpu", "priority": "hihg", "stream": 1}) == [
        "placement.a.stream: a worker of the kind cuda has no such setting; there is: kind, process, device, priority",
        "placement.a.device: is 'gpu'; expected cuda:0, cuda:1, ...",
        "placement.a.priority: is 'hihg'; expected high, normal, low",
    ]
    assert problems(a={"kind": "inline", "device": "cuda:0"}) == [
        "placement.a.device: a worker of the kind inline has no such setting; there is: kind"
    ]


def test_without_a_driver_a_cuda_worker_says_what_is_missing_and_what_to_do(tmp_path, monkeypatch):
    import engines.device.streams as streams
    from engines.base import EngineError

    def absent(number):
        raise EngineError("CUDA cannot be used: there is no libcuda; install the NVIDIA driver")

    monkeypatch.setattr(streams, "open_device", absent)
    workers = {"main": {"kind": "inline"}, "a": {"kind": "cuda"}}
    result = Runtime(make_plan(nodes(tmp_path / "out"), workers, BUILDER), BUILDER).run()
    assert str(result.error) == (
        "placement.a: the worker cannot start: CUDA cannot be used: there is no libcuda; "
        "install the NVIDIA driver; or take placement=threads"
    )
