"""How a plan is divided among processes, how much memory that takes, and what is wrong with a placement."""

from typing import Any

import pytest

from graph import partition
from graph.errors import ConfigError
from graph.mailbox import HOLD_WINDOW
from graph.partition import SLACK, UNKNOWN_BYTES
from graph.plan import Plan
from graph.planner import JOIN_WINDOW, make_plan
from graph.transport.ring import RingSpec
from tests.graph.helpers import BUILDER, toy
from tests.graph.toys import SIDE

PAGE = 4096
PICTURE_BYTES = -(-(SIDE * SIDE * 8 + SLACK) // PAGE) * PAGE
PROCESSES: dict[str, Any] = {w: {"kind": "process"} for w in ("a", "b", "c")} | {"main": {"kind": "inline"}}


def planned(nodes: dict[str, Any], **workers: Any) -> Plan:
    return make_plan(nodes, PROCESSES | workers, BUILDER)


def mistakes(nodes: dict[str, Any], **workers: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        planned(nodes, **workers)
    return list(caught.value.problems)


def pictures(*, snap: Any = (), **edges: Any) -> dict[str, Any]:
    """A source of pictures in `a`, and one sink in `b` for each edge."""
    sinks = {
        name: toy("Album", path="unused", inputs={"word": {"source": "src", **edge}}, worker="b")
        for name, edge in edges.items()
    }
    return {"src": toy("Snap", realtime=True, worker="a", **dict(snap)), **sinks}


def ring_of(plan: Plan) -> RingSpec:
    (spec,) = partition.ring_specs(plan).values()
    return spec


def test_a_part_is_what_runs_in_one_process_and_the_first_is_this_one():
    nodes = {
        "src": toy("Count", worker="a"),
        "near": toy("Add", inputs={"x": "src"}, worker="beside"),
        "far": toy("Add", inputs={"x": "near"}, worker="b"),
        "out": toy("WriteNumber", path="unused", inputs={"word": "far"}),
    }
    parts = partition.parts(planned(nodes, beside={"kind": "thread", "process": "a"}))
    assert [(name, list(p.nodes)) for name, p in parts.items()] == [
        ("", ["out"]),
        ("a", ["src", "near"]),
        ("b", ["far"]),
    ]
    assert [[e.name for e in p.leaving] for p in parts.values()] == [[], ["near->far.x"], ["far->out.word"]]
    assert [[e.name for e in p.arriving] for p in parts.values()] == [["far->out.word"], [], ["near->far.x"]]
    assert [list(p.rings) for p in parts.values()] == [[], [("near", "")], [("far", "")]]


def test_in_one_process_nothing_is_shared():
    plan = planned(pictures(out={}), a={"kind": "thread"}, b={"kind": "thread"})
    assert partition.ring_specs(plan) == {}
    assert list(partition.parts(plan)) == [""]


def test_slots_are_as_large_as_the_contract_says():
    assert ring_of(planned(pictures(out={}))).slot_bytes == PICTURE_BYTES


def test_what_no_contract_tells_the_size_of_gets_room_that_costs_nothing_until_it_is_used():
    spec = ring_of(
        planned({"src": toy("Count", worker="a"), "out": toy("WriteNumber", path="x", inputs={"word": "src"})})
    )
    assert spec.slot_bytes == UNKNOWN_BYTES
    assert spec.touched == 0


@pytest.mark.parametrize(
    ("edges", "slots"),
    [
        ({"one": {}}, 2 + 1 + 2),
        ({"one": {"capacity": 5}}, 2 + 5 + 2),
        ({"one": {"policy": "block"}}, 2 + 4 + 2),
        ({"one": {}, "two": {"capacity": 3}}, 2 + 1 + 3 + 4),
        ({"one": {"every": 3}}, 2 + 1 + 2),
    ],
)
def test_slots_are_enough_for_full_mailboxes_and_what_is_at_work(edges, slots):
    assert ring_of(planned(pictures(**edges))).slots == slots


def test_what_is_held_counts_with_all_that_may_be_kept():
    nodes = {
        "src": toy("Count", worker="a", realtime=True),
        "slow": toy("Add", inputs={"x": "src"}, worker="b"),
        "sum": toy("Sum", inputs={"a": "src", "b": {"source": "slow", "policy": "hold"}}, worker="c"),
        "out": toy("WriteWord", path="unused", inputs={"word": "sum"}, worker="c"),
    }
    assert partition.ring_specs(planned(nodes))["slow", ""].slots == 2 + HOLD_WINDOW + 2


def test_what_stays_in_the_process_keeps_slots_too():
    """What a source was lent lies in a slot also for the consumer beside it."""
    nodes = {
        "src": toy("Snap", worker="a"),
        "near": toy("Pass", inputs={"x": {"source": "src", "capacity": 9}}, worker="a"),
        "far": toy("Pass", inputs={"x": {"source": "src", "capacity": 5}}, worker="b"),
        "album": toy("Album", path="unused", inputs={"word": "near"}, worker="a"),
        "other": toy("Album", path="unused", inputs={"word": "far"}, worker="b"),
    }
    spec = partition.ring_specs(planned(nodes))["src", ""]
    assert (spec.slots, spec.readers) == (2 + 9 + 5 + 2 * 2, 1)


def joined(in_flight: int | None) -> dict[str, Any]:
    return {
        "src": toy("Count", worker="a", realtime=True, in_flight=in_flight),
        "left": toy("Add", inputs={"x": "src"}, worker="b"),
        "right": toy("Add", inputs={"x": "src"}, worker="b"),
        "sum": toy("Sum", inputs={"a": "left", "b": "right"}, worker="c"),
        "out": toy("WriteWord", path="unused", inputs={"word": "sum"}, worker="c"),
    }


@pytest.mark.parametrize(("in_flight", "slots"), [(None, 2 + JOIN_WINDOW + 2), (3, 2 + 3 + 2), (100, 2 + 64 + 2)])
def test_in_flight_bounds_the_slots_at_any_distance_from_the_source(in_flight, slots):
    assert partition.ring_specs(planned(joined(in_flight)))["left", ""].slots == slots


def test_too_little_shared_memory_is_a_mistake_that_says_what_is_needed():
    need = 2 + 1 + 2
    allowed = {"kind": "process", "shared_mb": 1}
    assert mistakes(pictures(out={}), a=allowed) == [
        f"placement.a.shared_mb: is 1, but its outputs may need {need * PICTURE_BYTES / 1e6:.0f} MB "
        f"(src {need} slots of {PICTURE_BYTES / 1e6:.1f} MB); allow as much, lower `capacity` of the edges "
        "or `in_flight` of the source, or have the messages tell their size"
    ]
    planned(pictures(out={}), a={"kind": "process", "shared_mb": need * PICTURE_BYTES / 1e6})


def test_the_limit_of_a_process_holds_for_nodes_in_its_other_threads():
    nodes = pictures(out={})
    nodes["src"]["worker"] = "beside"
    workers = {"a": {"kind": "process", "shared_mb": 1}, "beside": {"kind": "thread", "process": "a"}}
    (mistake,) = mistakes(nodes, **workers)
    assert mistake.startswith("placement.a.shared_mb: is 1, but its outputs may need 3 MB")


def test_all_mistakes_of_a_placement_are_told_at_once():
    nodes = pictures(out={}, snap={"on_stall": "restart"})
    nodes["src"]["worker"] = "beside"
    assert mistakes(
        nodes,
        a={"kind": "process", "memory_mb": 0, "start_s": None, "shared_mb": "much", "stream": 1},
        beside={"kind": "thread", "process": "c"},
        lost={"kind": "thread", "process": "cc"},
        vague={"kind": "proces"},
        thread={"kind": "thread", "memory_mb": 5},
        main={"kind": "inline", "process": "a"},
        no={"kind": "thread", "process": 7},
    ) == [
        "placement.a.memory_mb: is 0; expected a number above 0",
        "placement.a.start_s: is null; expected a number of seconds above 0",
        "placement.a.shared_mb: is 'much'; expected a number above 0",
        "placement.a.stream: a worker of the kind process has no such setting; "
        "there is: kind, memory_mb, start_s, shared_mb, transport",
        "placement.main.process: a worker of the kind inline has no such setting; there is: kind",
        "placement.vague.kind: is 'proces'; did you mean 'process'?",
        "placement.thread.memory_mb: a worker of the kind thread has no such setting; there is: kind, process, context",
        "placement.no.process: is 7; expected the name of a process worker",
        "placement.lost.process: there is no process worker 'cc'; did you mean 'c'?",
    ]


def test_a_thread_may_not_name_another_thread_as_its_process():
    assert mistakes(pictures(out={}), t={"kind": "thread"}, u={"kind": "thread", "process": "t"}) == [
        "placement.u.process: there is no process worker 't'; there is: a, b, c"
    ]


@pytest.mark.parametrize("kind", ["thread", "inline"])
def test_what_has_no_process_of_its_own_cannot_be_restarted_when_it_hangs(kind):
    nodes = pictures(out={"policy": "block"})
    nodes["out"]["on_stall"] = "restart"
    assert mistakes(nodes, b={"kind": kind}) == [
        "nodes.out.on_stall: is 'restart', but nothing can end a thread that hangs, only a process; "
        "expected placement.b.kind=process, or on_stall 'warn' or 'stop'"
    ]
    planned(nodes)
    planned(nodes, b={"kind": "thread", "process": "a"})
