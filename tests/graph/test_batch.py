"""Several messages in one call: how many, how long the first one waits, and what comes out of it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic_ns
from typing import Any

import pytest

from graph.batch import BatchStep
from graph.errors import ConfigError
from graph.mailbox import Mailbox
from graph.metrics import Exporter
from graph.node import Stamp
from graph.runtime import Runtime
from tests.graph.helpers import BUILDER, books_balance, lines, plan, run, toy
from tests.graph.toys import Number

LONG_NS = 60 * 10**9


def graph(out: Path, *, edge: dict[str, Any] | None = None, window_ms: float = 60_000, **node: Any) -> dict[str, Any]:
    """Two live cameras into one node that takes up to three messages at once."""
    inputs = {"x": [{"source": source, "capacity": 2, **(edge or {})} for source in ("left", "right")]}
    return {
        "left": toy("Count", realtime=True, worker="a"),
        "right": toy("Count", realtime=True, worker="b"),
        "inc": toy(
            "AddTogether", batch={"max": 3, "window_ms": window_ms}, inputs=inputs, sizes=f"{out}.sizes", **node
        ),
        "out": toy("WriteNumber", path=str(out), inputs={"word": "inc"}),
    }


class Bench:
    """The step of node `inc` and its mailboxes, advanced by hand: nothing runs by itself."""

    def __init__(self, out: Path, **settings: Any) -> None:
        runtime = Runtime(plan("threads", **graph(out, **settings)), BUILDER)
        self.runtime, self.out = runtime, out
        step = runtime.steps["inc"]
        assert isinstance(step, BatchStep)
        self.step = step
        runtime.steps["out"].setup()
        step.setup()
        self.site = runtime._here
        self.boxes = {edge.source: box for edge, box in self.site.assembly.mailboxes.items() if edge.target == "inc"}

    def give(self, source: str, n: int | None, *, seq: int = 0, sent_ns: int | None = None, age_ns: int = 0) -> None:
        now_ns = monotonic_ns()
        message = None if n is None else Number(n)
        stamp = Stamp(source, seq, now_ns - age_ns)
        self.boxes[source].offer(stamp, message, now_ns if sent_ns is None else sent_ns, None)

    def came(self) -> list[tuple[str, int, int | None]]:
        """Origin, number and message of what has left the node: its consumer is in the same thread."""
        return [tuple(line.replace("#", " ").split()) for line in lines(self.out)]  # type: ignore[misc]

    def sizes(self) -> list[str]:
        return lines(Path(f"{self.out}.sizes")) if Path(f"{self.out}.sizes").exists() else []


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def bench(**settings: Any) -> Bench:
        made.append(Bench(tmp_path / "out", **settings))
        return made[-1]

    yield bench
    for bench_ in made:
        for step in bench_.runtime.steps.values():
            step.close()


@pytest.fixture
def bench(make: Callable[..., Bench]) -> Bench:
    return make()


def test_the_first_waits_for_others_until_the_window_ends(bench: Bench) -> None:
    now_ns = monotonic_ns()
    bench.give("left", 1, sent_ns=now_ns)
    assert not bench.step.advance()
    assert bench.step.due_ns == now_ns + LONG_NS
    bench.give("right", 2, sent_ns=now_ns + 5)
    assert not bench.step.advance()
    assert bench.step.due_ns == now_ns + LONG_NS
    assert bench.sizes() == []


def test_after_the_window_whatever_is_there_goes_together_each_with_its_own_stamp(bench: Bench) -> None:
    bench.give("left", 1, seq=7, sent_ns=monotonic_ns() - LONG_NS)
    bench.give("right", 2, seq=9)
    assert bench.step.advance()
    assert bench.sizes() == ["2"]
    assert bench.came() == [("left", "7", "2"), ("right", "9", "3")]
    assert not bench.step.advance()
    assert bench.step.due_ns == 0


def test_a_full_batch_does_not_wait(bench: Bench) -> None:
    for i, source in enumerate(("left", "right", "left", "right")):
        bench.give(source, i, seq=i)
    assert bench.step.advance()
    assert bench.sizes() == ["3"]
    assert not bench.step.advance()  # the one that is left over begins a window of its own
    assert bench.step.due_ns > 0


def test_nothing_waits_where_no_more_could_come(bench: Bench) -> None:
    bench.boxes["right"].close()
    bench.give("left", 1)
    assert not bench.step.advance()
    bench.give("left", 2, seq=1)
    assert bench.step.advance()  # its mailbox holds two, and the other is closed
    assert bench.sizes() == ["2"]


def test_a_message_that_was_overwritten_has_begun_the_window_all_the_same(bench: Bench) -> None:
    """Or a camera that is faster than the window would never be served."""
    now_ns = monotonic_ns()
    bench.give("left", 0, sent_ns=now_ns)
    assert not bench.step.advance()
    for i in range(1, 6):
        bench.boxes["left"].take()
        bench.give("left", i, seq=i, sent_ns=now_ns + i * 10**6)
        assert not bench.step.advance()
        assert bench.step.due_ns == now_ns + LONG_NS


def test_a_source_that_pauses_holds_nobody_back(make: Callable[..., Bench]) -> None:
    bench = make(window_ms=0)
    for i in range(4):
        bench.give("left", i, seq=i)
        assert bench.step.advance()
    assert bench.sizes() == ["1"] * 4


def test_what_is_too_old_is_dropped_and_does_not_take_a_place(make: Callable[..., Bench]) -> None:
    bench = make(edge={"max_age_ms": 1000})
    bench.give("left", 1, age_ns=LONG_NS, sent_ns=monotonic_ns() - LONG_NS)
    bench.give("right", 2)
    assert bench.step.advance()
    assert bench.sizes() == ["1"]
    assert bench.boxes["left"].dropped["stale"] == 1


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ("count", "process_batch returned 1; expected a sequence of 2, a result for each message"),
        ("type", "it returned str, but its signature says Number"),
    ],
)
def test_a_wrong_result_fails_the_whole_batch_before_any_of_it_is_sent(
    lie: str, message: str, make: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    bench = make(lie=lie, on_error="skip")
    bench.give("left", 1, sent_ns=monotonic_ns() - LONG_NS)
    bench.give("right", 2)
    assert bench.step.advance()
    assert bench.step.tally.errors == 1
    assert bench.came() == []
    assert message in caplog.text


def test_an_error_is_followed_for_all_of_the_batch(tmp_path: Path) -> None:
    """A join behind it hears that there will be nothing, of each, and goes on."""
    out = tmp_path / "out"
    nodes = {
        "src": toy("Count", n=12, worker="a"),
        "inc": toy("AddTogether", k=100, fail=5, on_error="skip", batch={"max": 2, "window_ms": 1000},
                   inputs={"x": "src"}, worker="b"),
        "join": toy("Sum", inputs={"a": "src", "b": "inc"}),
        "out": toy("WriteWord", path=str(out), inputs={"word": "join"}),
    }  # fmt: skip
    result, runtime = run("threads", **nodes)
    assert result.end == "finished", result.error
    assert runtime.steps["inc"].tally.errors == 1
    assert books_balance(runtime)
    got = [line.split()[1] for line in lines(out)[:-2]]
    assert [g for g in got if g.endswith("-")] in (["4+-", "5+-"], ["5+-", "6+-"], ["5+-"])
    assert len(got) == 12


def test_a_sink_takes_several_with_their_stamps(tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch = {"max": 4, "window_ms": 5}
    nodes = {"src": toy("Count", n=9), "out": toy("WriteTogether", path=str(out), batch=batch, inputs={"x": "src"})}
    result, runtime = run("inline", **nodes)
    assert result.end == "finished", result.error
    assert lines(out) == [f"src#{i} {i}" for i in range(9)]
    assert len(runtime.steps["out"].tally.ages_ns) == 9
    assert runtime.steps["out"].facts == {"figures": {"batches": "1 of 1, 2 of 4"}}
    assert not [m for m in Exporter(runtime).collect() if "figures" in m.name]


def test_the_worker_waits_for_the_window_and_not_longer(bench: Bench) -> None:
    worker = bench.site.assembly.homes["inc"]
    assert worker._patience_s() is None
    bench.step.due_ns = monotonic_ns() - 5
    assert 0 < (worker._patience_s() or 0) < 1e-5  # 0 would say that all is over
    bench.step.due_ns = monotonic_ns() + LONG_NS
    assert 59 < (worker._patience_s() or 0) <= 60
    bench.step.wake_at_ns = 1  # a node that rests after an error is looked after more often
    assert (worker._patience_s() or 0) < 1


def problems(**nodes: Any) -> Sequence[str]:
    with pytest.raises(ConfigError) as e:
        plan("inline", **nodes)
    return list(e.value.problems)


@pytest.mark.parametrize(
    ("batch", "wrong"),
    [
        (4, "nodes.inc.batch: is 4; expected a mapping, such as {max: 4, window_ms: 3}"),
        ({}, "nodes.inc.batch.max: is missing; expected how many messages one step may take, such as 4"),
        ({"max": 0}, "nodes.inc.batch.max: is 0; expected a whole number, 1 or more"),
        ({"max": 2, "window_ms": -1}, "nodes.inc.batch.window_ms: is -1; expected a number, 0 or more"),
        ({"max": 2, "windw_ms": 1},
         "nodes.inc.batch.windw_ms: a batch has no such setting; did you mean 'window_ms'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_batch_is_told(batch: Any, wrong: str) -> None:
    assert problems(src=toy("Count"), inc=toy("AddTogether", batch=batch, inputs={"x": "src"})) == [wrong]


def test_only_a_node_with_one_input_and_a_method_for_it_is_batched() -> None:
    batch = {"max": 2}
    told = problems(
        src=toy("Count", batch=batch),
        inc=toy("Add", batch=batch, inputs={"x": "src"}),
        join=toy("Sum", batch=batch, inputs={"a": "src", "b": "inc"}),
        kept=toy("AddTogether", batch=batch, inputs={"x": ["src", {"source": "inc", "policy": "hold"}]}),
    )
    assert told == [
        "nodes.src.batch: Count is a source, which takes nothing that could be put together; remove it",
        "nodes.inc.batch: Add has no process_batch method; remove it, or write one that takes a sequence for each "
        "parameter",
        "nodes.join.batch: Sum has several inputs (a, b); only a node with one can be batched: remove it",
        "nodes.kept.batch: an input that holds has no place in a batch; make it `latest`",
    ]


def test_a_batch_port_has_room_for_a_batch() -> None:
    nodes = {"src": toy("Count"), "inc": toy("AddTogether", batch={"max": 9}, inputs={"x": "src"})}
    (edge,) = plan("inline", **nodes).edges
    assert (edge.policy, edge.capacity) == ("block", 9)
    assert isinstance(Runtime(plan("inline", **nodes), BUILDER)._here.assembly.mailboxes[edge], Mailbox)
