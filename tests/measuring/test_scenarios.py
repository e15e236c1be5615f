"""Scenarios with a clock that only the model and the waiting move."""

from typing import Any

import numpy as np
import pytest

from engines.base import EngineError
from graph.build import Builder, Recipe
from graph.errors import CauceError
from nodes.measuring.scenarios import Bench, Until
from nodes.measuring.stopwatch import StopwatchEngine
from nodes.measuring.subject import Subject
from nodes.messages import Frame
from tests.nodes.fakes import FakeEngine

MS = 1_000_000
SIZE = {"size_wh": [32, 32]}
DEPTH = {"_target_": "nodes.depth.Depth", "name": "d", "weights": "m.onnx", "kind": "metres", "max_m": 80, **SIZE}
FRAMES = [Frame(np.full((8, 8, 3), i, np.uint8)) for i in range(3)]


class Clock:
    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns

    def wait(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


class TimedEngine(FakeEngine):
    """Takes `ms` a call; `enqueue_ns` tells of it where `enqueue` is given."""

    clock: Clock
    ms: float = 10.0
    enqueue: int | None = None

    def load(self, spec: Any) -> Any:
        model = super().load(spec)
        answer = model.answer
        if self.enqueue is not None:
            model.enqueue_ns = self.enqueue

        def timed(x: Any) -> Any:
            self.clock.ns += round(self.ms * MS)
            return answer(x)

        model.answer = timed
        return model


class Ready:
    """A recipe whose engine is there already."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    def build(self) -> Any:
        return self.engine


class RecipeOf(Recipe):
    def part(self, name: str) -> Any:
        return self.config[name]


def feeding(ms: float = 10.0, *, enqueue: int | None = None, output: Any = None) -> tuple[Bench, Clock]:
    clock = Clock()
    engine = TimedEngine(np.ones((1, 4, 4), np.float32) if output is None else output)
    engine.clock, engine.ms, engine.enqueue = clock, ms, enqueue
    subject = Subject("depth", RecipeOf({**DEPTH, "engine": Ready(engine)}, Builder()), clock=clock)
    return Bench(subject, FRAMES, lambda share, words: None, wait=clock.wait), clock


def test_single_stream_tells_the_engine_from_what_is_around_it():
    bench, _ = feeding()
    found = bench.single_stream(Until(20, 0.0))
    assert {name: figures["median"] for name, figures in found["parts"].items()} == {
        "pre": 0, "engine": 10, "post": 0, "end_to_end": 10,
    }  # fmt: skip
    assert found["parts"]["engine"]["n"] == 20
    assert found["per_s"] == pytest.approx(100)
    assert found["warnings"] == []


def test_a_scenario_ends_by_count_and_seconds_whichever_is_later():
    bench, _ = feeding()
    assert bench.single_stream(Until(20, 1.0))["parts"]["engine"]["n"] == 100
    assert bench.single_stream(Until(200, 1.0))["parts"]["engine"]["n"] == 200
    assert bench.offline(Until(5, 0.2)) == {"n": 20, "seconds": pytest.approx(0.2), "per_s": pytest.approx(100)}


def test_a_model_that_tells_its_enqueue_time_is_found_to_be_bound_by_it():
    bench, _ = feeding(enqueue=9 * MS)
    found = bench.single_stream(Until(5, 0.0))
    assert found["parts"]["enqueue"]["median"] == 9
    assert found["warnings"][0].startswith("enqueue-bound")


def test_a_paced_camera_that_is_slower_than_the_model_drops_nothing():
    bench, _ = feeding(ms=10)
    found = bench.paced(Until(10, 0.0), 50)
    assert (found["drops"], found["captures"]) == (0, 10)
    assert (found["age"]["min"], found["age"]["max"]) == (pytest.approx(10), pytest.approx(10))
    assert found["per_s"] == pytest.approx(10 / 0.19)


def test_a_paced_camera_that_is_faster_gives_the_newest_frame_and_counts_the_others():
    # Frames at 0, 20, 40 ms...; the model takes 50: it begins with 0 (until 50), 40 (until 100), 100 (until 150), ...
    bench, _ = feeding(ms=50)
    found = bench.paced(Until(4, 0.0), 50)
    # Frames 0, 2, 5 and 7, at 0, 50, 100 and 150 ms; captured at 0, 40, 100 and 140.
    assert (found["captures"], found["drops"]) == (8, 4)
    assert found["age"]["min"] == pytest.approx(50)
    assert found["age"]["max"] == pytest.approx(60)
    assert found["age"]["mean"] == pytest.approx(55)


def test_batches_are_made_of_what_the_node_feeds():
    bench, _ = feeding()
    found = bench.batches([1, 3], Until(5, 0.0))
    assert [b["batch"] for b in found] == [1, 3]
    assert [b["per_s"] for b in found] == pytest.approx([100, 300])
    assert bench.subject.engine.engine.spec.inputs == {"": (3, 3, 32, 32)}
    fed = bench.inputs(3)
    assert [round(float(x.mean()) * 255) for x in fed] == [0, 1, 2]


def test_a_batch_that_does_not_load_is_told_and_the_others_are_measured():
    bench, _ = feeding()
    load = bench.subject.engine.engine.load

    def picky(spec: Any) -> Any:
        if spec.batch_sizes != (1,):
            raise EngineError("export the model with a free batch size")
        return load(spec)

    bench.subject.engine.engine.load = picky
    one, four = bench.batches([1, 4], Until(2, 0.0))
    assert one["per_s"]
    assert "free batch size" in four["error"]


def test_what_the_model_says_is_the_frameworks_error():
    bench, _ = feeding(output=np.full((1, 4, 4), np.nan, np.float32))
    with pytest.raises(CauceError, match=r"^d gives values that are not finite"):
        bench.warm_up(Until(1, 0.0))


def test_a_stopwatch_changes_nothing_but_knows_the_time_and_counts_what_is_not_finite():
    clock = Clock()
    inner = TimedEngine(np.array([[1, np.nan, np.inf]], np.float32))
    inner.clock = clock
    engine = StopwatchEngine(inner, clock=clock, looks=True)
    from engines.base import ModelSpec, Weights

    model = engine.load(ModelSpec("m", Weights("x"), {"": (1, 3, 2, 2)}))
    clock.ns = 5
    (y,) = model(np.zeros((1, 3, 2, 2), np.float32))
    assert y.shape == (1, 3)
    assert engine.model is not None
    call = engine.model.last
    assert (call.begun_ns, call.ended_ns, call.enqueue_ns, call.not_finite) == (5, 5 + 10 * MS, None, 2)
    model.close()
    assert inner.model.closed


def test_calls_beside_each_other_are_measured_where_the_model_takes_them():
    bench, clock = feeding()
    assert bench.beside(Until(3, 0)) is None
    open_calls, most = 0, 0

    def submit(image):
        nonlocal open_calls, most
        assert image.shape[0] == 1
        open_calls += 1
        most = max(most, open_calls)

        def result():
            nonlocal open_calls
            open_calls -= 1
            clock.wait(0.001)

        return result

    bench.subject.model.model.submit = submit
    found = bench.beside(Until(100, 0))
    assert (found["n"], open_calls) == (100, 0)
    assert most > 1
    assert found["per_s"] == pytest.approx(1000)
