"""Actors are an extra: who has it not is told at once, and nobody else notices."""

import pytest

from graph import placement
from graph.errors import ConfigError
from graph.placement import parse_placement
from graph.planner import make_plan
from tests.graph.helpers import BUILDER, toy

NODES = {"src": toy("Count"), "out": toy("WriteNumber", path="out", inputs={"word": "src"}, worker="a")}


def test_a_missing_package_is_told_by_the_name_of_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "find_spec", lambda _: None)
    with pytest.raises(ConfigError) as e:
        make_plan(NODES, {"main": {"kind": "inline"}, "a": {"kind": "ray"}}, BUILDER)
    assert "placement.a.kind: actors need the package ray: install the extra `ray`" in str(e.value)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"resources": 3}, "placement.a.resources: is 3; expected a mapping"),
        ({"resources": {"GPU": -1}}, "placement.a.resources.GPU: is -1; expected a number, 0 or more"),
        ({"resources": {"GPU": "two"}}, "placement.a.resources.GPU: is 'two'"),
        ({"address": "ray://somewhere:10001"}, "placement.a.address: is 'ray://somewhere:10001'; expected auto"),
        ({"start_s": None}, "placement.a.start_s: is null"),
        ({"shared_mb": 3}, "placement.a.shared_mb: a worker of the kind ray has no such setting"),
    ],
)
def test_a_wrong_setting_is_told_by_its_key(entry: dict, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "find_spec", lambda _: True)
    _, problems = parse_placement({"a": {"kind": "ray", **entry}})
    assert [p for p in problems if p.startswith(told)]


def test_a_run_has_one_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "find_spec", lambda _: True)
    _, problems = parse_placement({"a": {"kind": "ray"}, "b": {"kind": "ray", "address": "auto"}})
    assert any("a run has one address for all" in p for p in problems)
