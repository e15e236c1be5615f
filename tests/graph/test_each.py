"""Repeated nodes are written out as somebody would write them by hand; results go back to whom they belong."""

from pathlib import Path
from typing import Any

import pytest

from graph.each import expanded
from graph.errors import ConfigError
from graph.planner import make_plan
from graph.runtime import Runtime
from tests.graph.helpers import BUILDER, PLACEMENTS, books_balance, lines, run, toy

PLACEMENT = {w: {"kind": "thread"} for w in ("main", "a", "b", "c")}


def config(**nodes: Any) -> dict[str, Any]:
    return expanded({"nodes": nodes, "placement": PLACEMENT, "out": "runs/x"})


def fleet(out: Path, *, wearers: int = 3, models: Any = None) -> dict[str, Any]:
    """Each has a source of his own and a writer; one node, or as many as `models`, serves all."""
    shared = {} if models is None else {"each": models}
    return {
        "src": toy("Count", n=20, each=wearers, worker="a"),
        "inc": toy("AddTogether", batch={"max": 4, "window_ms": 1}, inputs={"x": "src"}, worker="b", **shared),
        "join": toy("Sum", each=wearers, inputs={"a": "src", "b": "inc"}),
        "out": toy("WriteWord", path=f"{out}_{{each}}", each=wearers, inputs={"word": "join"}, worker="c"),
        "own": toy("WriteNumber", path=f"{out}_own_{{each}}", each=wearers, inputs={"word": "inc"}, worker="c"),
    }


def test_a_repeated_node_is_there_so_often_with_workers_and_files_of_its_own() -> None:
    made = config(
        src=toy("Count", n="{each}", each=2, worker="a"),
        out=toy("WriteNumber", path="runs/x/words", each=2, inputs={"word": {"source": "src", "every": 2}}),
    )
    assert list(made["nodes"]) == ["src_1", "src_2", "out_1", "out_2"]
    assert made["nodes"]["src_2"] == toy("Count", n=2, worker="a_2")
    assert made["nodes"]["out_2"]["path"] == "runs/x/2/words"
    assert made["nodes"]["out_2"]["inputs"] == {"word": [{"source": "src_2", "every": 2}]}
    assert made["placement"]["a_2"] == {"kind": "thread"}


def test_a_node_that_is_there_once_serves_all_and_each_takes_his_own() -> None:
    made = config(
        src=toy("Count", each=2), inc=toy("Add", inputs={"x": "src"}), out=toy("Say", each=2, inputs={"x": "inc"})
    )
    assert made["nodes"]["inc"]["inputs"] == {"x": ["src_1", "src_2"]}
    assert made["nodes"]["out_1"]["inputs"] == {"x": [{"only": ["src_1", "out_1"], "source": "inc"}]}


def test_several_that_serve_take_turns() -> None:
    made = config(
        src=toy("Count", each=3),
        inc=toy("Add", each=2, inputs={"x": "src"}),
        out=toy("Say", each=3, inputs={"x": "inc"}),
    )
    assert made["nodes"]["inc_1"]["inputs"] == {"x": ["src_1", "src_3"]}
    assert made["nodes"]["inc_2"]["inputs"] == {"x": ["src_2"]}
    sources = [made["nodes"][f"out_{i}"]["inputs"]["x"][0]["source"] for i in (1, 2, 3)]
    assert sources == ["inc_1", "inc_2", "inc_1"]


def test_what_is_not_repeated_stays_as_it_is() -> None:
    nodes = {"src": toy("Count"), "out": toy("WriteNumber", path="{each}", inputs={"word": "src"})}
    assert config(**nodes) == {"nodes": nodes, "placement": PLACEMENT, "out": "runs/x"}


@pytest.mark.parametrize("each", [0, -1, True, "two", 1.5])
def test_a_number_that_is_none_is_told_by_its_key(each: Any) -> None:
    with pytest.raises(ConfigError, match=r"nodes\.src\.each: is .* expected a whole number"):
        config(src=toy("Count", each=each))


@pytest.mark.parametrize("models", [None, 1, 2, 3])
@pytest.mark.parametrize("where", PLACEMENTS)
def test_everybody_has_what_was_made_of_his_own_captures(where: str, models: Any, tmp_path: Path) -> None:
    made = expanded({"nodes": fleet(tmp_path / "out", models=models), "placement": PLACEMENTS[where]})
    runtime = Runtime(make_plan(made["nodes"], made["placement"], BUILDER), BUILDER)
    result = runtime.run()
    assert result.end == "finished", result.error
    assert books_balance(runtime)
    for i in (1, 2, 3):
        assert lines(tmp_path / f"out_{i}")[:-2] == [f"src_{i}#{n} {n}+{n + 1}" for n in range(20)]
        assert lines(tmp_path / f"out_own_{i}")[:-2] == [f"src_{i}#{n} {n + 1}" for n in range(20)]
    assert not any(sum(e.dropped.values()) for e in runtime.read_edges())


def test_an_edge_that_takes_only_some_says_what_it_knows(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as e:
        run(src=toy("Count"), inc=toy("Add", inputs={"x": {"source": "src", "only": "cam"}}))
    assert "nodes.inc.inputs.x.only: nothing of cam comes by 'src'; there is: src" in str(e.value)
    with pytest.raises(ConfigError, match="expected the name of a source, or a list of names"):
        run(src=toy("Count"), inc=toy("Add", inputs={"x": {"source": "src", "only": 3}}))
