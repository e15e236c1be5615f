"""A lossless graph whose limits are too small for what it combines ends with an error that names them."""

import pytest

from graph import standstill
from graph.errors import Standstill
from graph.tally import UP, Tally
from tests.graph.helpers import books_balance, lines, plan, run, toy


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(standstill, "STILL_S", 0.6)


@pytest.mark.parametrize("placement", ["inline", "threads", "processes"])
def test_a_door_that_lets_too_few_in_is_named(placement, tmp_path):
    """The right picture can be matched when the left one after it has come, which may not come in."""
    nodes = {
        "src": toy("Stereo", n=40, in_flight=1, worker="a"),
        "join": toy("Sum", inputs={"a": "src.right", "b": "src.left"}, worker="b"),
        "out": toy("WriteWord", path=str(tmp_path / "out"), inputs={"word": "join"}, worker="c"),
    }
    result, runtime = run(placement, **nodes)
    assert result.end == "failed"
    assert isinstance(result.error, Standstill)
    assert "nodes.src.in_flight lets no more than 1 captures in" in str(result.error)
    assert books_balance(runtime)
    nodes["src"]["in_flight"] = 3
    nodes["out"]["path"] = str(tmp_path / "more")
    assert run(placement, **nodes)[0].end == "finished"
    assert len(lines(tmp_path / "more")) > 20


def test_an_input_that_is_full_is_named(tmp_path):
    """`both` keeps left pictures until `few` comes, which comes when `left` has sent on more of them than fit in."""
    nodes = {
        "src": toy("Stereo", n=40),
        "left": toy("Add", k=0, inputs={"x": "src.left"}),
        "few": toy("Mix", inputs={"a": {"source": "src.right", "every": 3}, "b": "left"}),
        "both": toy("Both", inputs={"a": "few", "b": {"source": "left", "capacity": 2}}),
        "out": toy("WriteWord", path=str(tmp_path / "out"), inputs={"word": "both"}),
    }
    result, runtime = run(**nodes)
    assert isinstance(result.error, Standstill)
    assert "  nodes.both.inputs.b is full of what comes from left (capacity: 2)" in str(result.error).splitlines()
    assert books_balance(runtime)
    nodes["both"]["inputs"]["b"]["capacity"] = 6
    nodes["out"]["path"] = str(tmp_path / "more")
    assert run(**nodes)[0].end == "finished"
    assert len(lines(tmp_path / "more")) > 5


def test_a_node_that_takes_its_time_is_none(tmp_path):
    nodes = {
        "src": toy("Count", n=3),
        "slow": toy("Add", busy_ms=1500, inputs={"x": "src"}),
        "say": toy("Say", inputs={"x": "slow"}),
        "out": toy("WriteWord", path=str(tmp_path / "out"), inputs={"word": "say"}),
    }
    assert run("threads", **nodes)[0].end == "finished"


def test_room_that_comes_without_a_step_is_used(tmp_path):
    """Each capture of `src` is dropped when `silent` has told that there is nothing for it."""
    nodes = {
        "src": toy("Count", n=30, worker="a"),
        "silent": toy("Add", mute=1, inputs={"x": "src"}, worker="b"),
        "join": toy("Sum", inputs={"a": "silent", "b": "src"}, worker="a"),
        "out": toy("WriteWord", path=str(tmp_path / "out"), inputs={"word": "join"}, worker="a"),
    }
    result, runtime = run("processes", **nodes)
    assert result.end == "finished", result.error
    assert runtime.tally("src").steps == 30
    assert books_balance(runtime)


def test_a_program_that_was_stopped_itself_is_none(monkeypatch):
    """As by Ctrl-Z: when it goes on nothing has moved for long, but nobody could."""
    now = [0.0]
    monkeypatch.setattr(standstill, "monotonic", lambda: now[0])
    made = plan(src=toy("Count"), out=toy("WriteNumber", path="unused", inputs={"word": "src"}))
    tallies = {name: Tally() for name in made.nodes}
    for tally in tallies.values():
        tally.cells[UP] = 1
    detector = standstill.StandstillDetector(made, tallies, dict)
    for at in (0.2, 0.4, 100.0, 100.2):
        now[0] = at
        assert detector.look() is None
    monkeypatch.setattr(detector, "_error", lambda: Standstill([]))
    errors = []
    for at in (100.4, 100.6, 100.8):
        now[0] = at
        errors.append(detector.look())
    assert isinstance(errors[-1], Standstill)
