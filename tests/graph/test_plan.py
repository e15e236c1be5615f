"""Every mistake of a graph is reported at once, each by its config key, with the nearest right word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.build import Builder
from graph.errors import ConfigError
from graph.node import Captured, Node
from graph.planner import make_plan
from tests.graph.helpers import BUILDER, PLACEMENTS, plan, toy
from tests.graph.toys import Number

SRC = toy("Count")
WORKERS = PLACEMENTS["inline"]


def problems(nodes, placement=WORKERS, builder=BUILDER):
    with pytest.raises(ConfigError) as e:
        make_plan(nodes, placement, builder)
    return e.value.problems


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            {"src": SRC, "add": toy("Add", inputs={"x": "scr"})},
            "nodes.add.inputs.x: there is no node 'scr'; did you mean 'src'?",
        ),
        (
            {"src": SRC, "say": toy("Say", inputs={"x": "src"}), "add": toy("Add", inputs={"x": "say"})},
            "nodes.add.inputs.x: expects Number, but 'say' emits Word",
        ),
        ({"src": SRC, "add": toy("Add")}, "nodes.add.inputs.x: expects Number, but nothing is connected"),
        (
            {"src": SRC, "add": toy("Add", inputs={"y": "src", "x": "src"})},
            "nodes.add.inputs.y: tests.graph.toys.Add has no such input; there is: x",
        ),
        (
            {"src": toy("Count", m=3)},
            "nodes.src.m: Count has no such parameter; there is: gap_at, n, period_ms, realtime",
        ),
        (
            {"src": toy("Count", worker="mian")},
            "nodes.src.worker: there is no worker 'mian' in placement; did you mean 'main'?",
        ),
        (
            {"src": toy("Cuont")},
            "nodes.src._target_: there is no 'Cuont' in 'tests.graph.toys'; did you mean 'Count'?",
        ),
        ({"src": {"_target_": "tests.graph.toyz.Count"}}, "nodes.src._target_: there is no module 'tests.graph.toyz'"),
        (
            {"src": toy("Stereo"), "add": toy("Add", inputs={"x": "src"})},
            "nodes.add.inputs.x: there is no output 'src'; expected src.left, src.right",
        ),
        (
            {"src": SRC, "w": toy("Write", inputs={"word": "src"})},
            "nodes.w.path: is missing; Write cannot do without it",
        ),
        ({"src": {"n": 3}}, "nodes.src._target_: is missing; expected the path of a class, such as nodes.view.View"),
        (
            {"src": SRC, "add": toy("Add", inputs={"x": {"source": "src", "policy": "newest"}})},
            "nodes.add.inputs.x.policy: is 'newest'; there is: block, hold, latest",
        ),
        (
            {"src": SRC, "add": toy("Add", inputs={"x": {"source": "src", "evry": 3}})},
            "nodes.add.inputs.x.evry: an edge has no such setting; did you mean 'every'?",
        ),
        (
            {"src": SRC, "add": toy("Add", inputs={"x": {"source": "src", "every": 0}})},
            "nodes.add.inputs.x.every: is 0; expected a whole number, 1 or more",
        ),
        ({"src": toy("Count", on_error="ignore")}, "nodes.src.on_error: is 'ignore'; there is: restart, skip, stop"),
        (
            {"src": toy("Count", on_error="skip")},
            "nodes.src.on_error: a source has nothing to skip; expected 'stop' or 'restart'",
        ),
        (
            {"src": SRC, "add": toy("Add", in_flight=2, inputs={"x": "src"})},
            "nodes.add.in_flight: only a source has one, and tests.graph.toys.Add has inputs",
        ),
        (
            {"src": SRC, "add": toy("Add", inputs={"x": {"source": "src", "policy": "hold"}})},
            "nodes.add.inputs: all inputs hold, so nothing would ever trigger it; make one `latest` or `block`",
        ),
        (
            {"off": {"_target_": None}, "add": toy("Add", inputs={"x": "off"})},
            "nodes.add.inputs.x: expects Number, but only off would feed it, which is switched off",
        ),
    ],
)
def test_a_mistake_is_named_by_its_config_key(nodes, message):
    assert message in problems(nodes)


def test_a_cycle_is_shown_as_a_chain():
    nodes = {"a": toy("Add", inputs={"x": "b"}), "b": toy("Add", inputs={"x": "a"})}
    (cycle,) = problems(nodes)
    assert cycle in ("nodes: there is a cycle: a -> b -> a", "nodes: there is a cycle: b -> a -> b")


def test_seven_mistakes_are_reported_at_once():
    nodes = {
        "src": toy("Count", m=1, worker="nowhere"),
        "add": toy("Add", inputs={"x": "scr"}),
        "say": toy("Say", inputs={"x": {"source": "src", "every": -1}}),
        "bad": {"_target_": "os.system", "command": "ls"},
        "sum": toy("Both", inputs={"a": "src"}),
        "w": toy("WriteWord", path="x", inputs={"word": "src"}),
    }
    found = problems(nodes)
    assert len(found) == 7
    assert [p.partition(":")[0] for p in sorted(found)] == [
        "nodes.add.inputs.x",
        "nodes.bad._target_",
        "nodes.say.inputs.x.every",
        "nodes.src.m",
        "nodes.src.worker",
        "nodes.sum.inputs.b",
        "nodes.w.inputs.word",
    ]


@pytest.mark.parametrize(
    "target",
    ["os.system", "builtins.open", "subprocess.Popen", "multiprocessing.Process", "graph.runtime.Runtime", "open"],
)
def test_a_graph_from_elsewhere_can_instantiate_nothing_but_nodes_and_engines(target):
    (problem,) = problems({"x": {"_target_": target}}, builder=Builder())
    assert problem.startswith(f"nodes.x._target_: '{target}' may not be instantiated: only nodes.*, engines.*")
    assert "on the command line" in problem


def test_what_a_module_of_nodes_has_imported_is_not_a_target():
    (problem,) = problems({"x": {"_target_": "tests.graph.toys.time"}})
    assert "there is no 'time' in 'tests.graph.toys'" in problem


def test_a_function_is_no_target_even_in_an_allowed_package():
    nodes = {"src": toy("Count", n={"_target_": "tests.graph.helpers.lines", "path": "/etc/passwd"})}
    assert problems(nodes) == ("nodes.src.n._target_: 'tests.graph.helpers.lines' is no class",)


def test_a_forbidden_target_deep_inside_is_found():
    nodes = {"src": toy("Count", n={"_target_": "os.getcwd"})}
    (problem,) = problems(nodes)
    assert problem.startswith("nodes.src.n._target_: 'os.getcwd' may not be instantiated")


def test_unknown_kinds_of_workers_are_refused():
    found = problems({"src": SRC}, placement={"main": {"kind": "tread"}})
    assert "placement.main.kind: is 'tread'; did you mean 'thread'?" in found


@given(st.permutations(["src", "add", "say", "out"]))
def test_the_order_does_not_depend_on_the_order_of_the_file(names):
    nodes = {
        "src": SRC,
        "add": toy("Add", inputs={"x": "src"}),
        "say": toy("Say", inputs={"x": "add"}),
        "out": toy("WriteWord", path="x", inputs={"word": "say"}),
    }
    assert list(plan(**{n: nodes[n] for n in names}).nodes) == ["src", "add", "say", "out"]


def test_an_entry_wins_over_what_it_uses():
    p = plan(src={"use": {**toy("Count"), "n": 3, "worker": "a"}, "n": 7, "in_flight": 2})
    assert p.nodes["src"].spec.params == {"n": 7}
    assert p.nodes["src"].worker.name == "a"
    assert p.nodes["src"].spec.in_flight == 2


def test_a_node_that_is_switched_off_leaves_its_consumers_without_it():
    p = plan(src=SRC, depth={"use": {"_target_": None}}, join=toy("Sum", inputs={"a": "src", "b": "depth"}))
    assert list(p.nodes) == ["src", "join"]
    assert [e.name for e in p.edges] == ["src->join.a"]


class Wide(Node):
    """Emits what it says in its parameters."""

    def __init__(self, width: int | None) -> None:
        self.width = width

    def process(self) -> Captured[Number]: ...

    @classmethod
    def emits(cls, params, inputs):
        return {"": {"size_wh": [params["width"], 480], "upright": True}} if params["width"] else {}


class Narrow(Node):
    """Takes only 640 x 480 or 320 x 480."""

    def process(self, x: Number) -> None: ...

    @classmethod
    def expects(cls, params):
        return {"x": {"size_wh": frozenset({(640, 480), (320, 480)}), "upright": True}}


@pytest.mark.parametrize(("width", "fits"), [(640, True), (320, True), (None, True), (1408, False)])
def test_contracts_are_compared_before_anything_runs(width, fits):
    here = "tests.graph.test_plan."
    nodes = {
        "cam": {"_target_": f"{here}Wide", "width": width},
        "net": {"_target_": f"{here}Narrow", "inputs": {"x": "cam"}},
    }
    if fits:
        assert list(plan(**nodes).nodes) == ["cam", "net"]
    else:
        assert problems(nodes) == (
            "nodes.net.inputs.x: expects size_wh = 320x480 or 640x480, but gets 1408x480 from 'cam'",
        )
