"""Moving nodes between workers changes no result: inline is the reference that all placements must equal."""

from pathlib import Path
from typing import Any

import pytest

from tests.graph.helpers import PLACEMENTS, books_balance, lines, run, toy
from tests.transports import needs_iceoryx2

SAMPLES = pytest.param("samples", marks=needs_iceoryx2)


def chain(out: Path) -> dict[str, Any]:
    return {
        "src": toy("Count", n=50, worker="a"),
        "inc": toy("Add", inputs={"x": "src"}, worker="b"),
        "say": toy("Say", inputs={"x": "inc"}),
        "out": toy("WriteWord", path=str(out), inputs={"word": "say"}, worker="c"),
    }


def diamond(out: Path) -> dict[str, Any]:
    """Two branches of one source, of which one is silent now and then, joined again."""
    return {
        "src": toy("Count", n=50, worker="a"),
        "fast": toy("Add", k=0, inputs={"x": "src"}),
        "slow": toy("Add", k=100, mute=5, busy_ms=0.5, inputs={"x": {"source": "src", "every": 3}}, worker="b"),
        "join": toy("Sum", inputs={"a": "fast", "b": "slow"}),
        "out": toy("WriteWord", path=str(out), inputs={"word": "join"}, worker="c"),
    }


def needed(out: Path) -> dict[str, Any]:
    """The same, where the join cannot do without the silent branch."""
    nodes = diamond(out)
    nodes["join"] = toy("Both", inputs={"a": "fast", "b": "slow"})
    return nodes


def held(out: Path) -> dict[str, Any]:
    """Sample and hold: every capture goes with the last of the slower branch, unless that is too old."""
    nodes = diamond(out)
    hold = {"source": "slow", "policy": "hold", "max_age_ms": 40}
    nodes["join"] = toy("Sum", inputs={"a": "fast", "b": hold})
    return nodes


def merged(out: Path) -> dict[str, Any]:
    """Two branches into one port."""
    return {
        "src": toy("Count", n=50, worker="a"),
        "x": toy("Say", prefix="x", inputs={"x": "src"}, worker="b"),
        "odd": toy("Add", mute=2, busy_ms=0.3, inputs={"x": "src"}),
        "y": toy("Say", prefix="y", inputs={"x": "odd"}, worker="c"),
        "out": toy("WriteWord", path=str(out), inputs={"word": ["x", "y"]}),
    }


def remerged(out: Path) -> dict[str, Any]:
    """The same, and then joined and sampled with what they came from: each capture comes up to twice."""
    return {
        "src": toy("Count", n=50, worker="a"),
        "odd": toy("Add", k=0, mute=2, busy_ms=0.3, inputs={"x": "src"}, worker="b"),
        "all": toy("Add", k=1000, inputs={"x": ["odd", "src"]}, worker="c"),
        "join": toy("Sum", inputs={"a": "all", "b": {"source": "src", "every": 2}}, worker="b"),
        "held": toy("Sum", inputs={"a": "src", "b": {"source": "all", "policy": "hold"}}),
        "out": toy("WriteWord", path=str(out), inputs={"word": "join"}, worker="c"),
        "samples": toy("WriteWord", path=f"{out}.held", inputs={"word": "held"}, worker="a"),
    }


def aligned(out: Path) -> dict[str, Any]:
    """Two cameras of different rates, by nearest capture time."""
    return {
        "src": toy("Stereo", n=40, skew_ms=2, worker="a"),
        "left": toy("Add", k=0, busy_ms=0.3, inputs={"x": "src.left"}, worker="b"),
        "join": toy("Sum", align_ms=5, inputs={"a": "left", "b": "src.right"}),
        "out": toy("WriteWord", path=str(out), inputs={"word": "join"}, worker="c"),
    }


def batched(out: Path, batch: dict[str, Any] | None = None) -> dict[str, Any]:
    """Two cameras of one device and one of another, some of it thinned, through one node that takes several at once."""
    batch = {"max": 4, "window_ms": 1} if batch is None else batch
    return {
        "src": toy("Stereo", n=40, skew_ms=2, worker="a"),
        "other": toy("Count", n=40, worker="c"),
        "inc": toy(
            "AddTogether",
            mute=7,
            batch=batch or None,
            inputs={"x": [{"source": "src.left", "every": 2}, "src.right", "other"]},
            worker="b",
        ),
        "own": toy("AddTogether", mute=3, batch=batch or None, inputs={"x": "src.left"}, worker="c"),
        "join": toy("Sum", inputs={"a": "src.left", "b": "own"}),
        "all": toy("WriteNumber", path=str(out), inputs={"word": "inc"}, worker="c"),
        "joined": toy("WriteWord", path=f"{out}.joined", inputs={"word": "join"}),
    }


def sampled(out: Path) -> dict[str, Any]:
    """One camera at a time may be under way, and one output of it, which is often silent, is sampled."""
    return {
        "src": toy("Stereo", n=40, in_flight=1, worker="a"),
        "inc": toy("Add", inputs={"x": "src.right"}, worker="b"),
        "join": toy("Sum", inputs={"a": "src.left", "b": {"source": "inc", "policy": "hold"}}),
        "out": toy("WriteWord", path=str(out), inputs={"word": "join"}, worker="c"),
    }


def lopsided(out: Path) -> dict[str, Any]:
    """One input of a join says nothing for long while the other has much to say and little room for it."""
    narrow = {"policy": "block", "capacity": 2}
    return {
        "src": toy("Count", n=60, worker="a"),
        "quiet": toy("Add", mute=20, k=-19, inputs={"x": "mod"}, worker="b"),
        "mod": toy("Add", k=19, inputs={"x": "src"}),
        "never": toy("Add", mute=1, inputs={"x": "src"}, worker="b"),
        "slow": toy("Add", k=100, busy_ms=0.5, inputs={"x": {"source": "src", **narrow}}, worker="c"),
        "most": toy("Both", inputs={"a": {"source": "quiet", **narrow}, "b": {"source": "slow", **narrow}}),
        "all": toy("Sum", inputs={"a": {"source": "slow", **narrow}, "b": {"source": "never", **narrow}}),
        "none": toy("Sum", inputs={"a": {"source": "never", **narrow}, "b": {"source": "slow", **narrow}}),
        "out": toy("WriteWord", path=str(out), inputs={"word": "most"}, worker="a"),
        "write": toy("WriteWord", path=f"{out}.all", inputs={"word": "all"}, worker="b"),
        "nobody": toy("WriteWord", path=f"{out}.none", inputs={"word": "none"}, worker="b"),
    }


def pictures(out: Path) -> dict[str, Any]:
    """Arrays, made in place and elsewhere, to several consumers, of which one wants few and one samples."""
    return {
        "src": toy("Snap", n=40, worker="a"),
        "other": toy("Snap", n=40, in_place=False, worker="b"),
        "x": toy("Pass", inputs={"x": "src"}, worker="b"),
        "few": toy("Pass", busy_ms=0.5, inputs={"x": {"source": "src", "every": 3}}, worker="c"),
        "held": toy("Pick", inputs={"a": "x", "b": {"source": "few", "policy": "hold"}}),
        "all": toy("Pass", inputs={"x": ["src", "other"]}, worker="c"),
        "out": toy("Title", inputs={"x": "held"}, worker="a"),
        "write": toy("WriteWord", path=str(out), inputs={"word": "out"}, worker="c"),
        "titles": toy("Title", inputs={"x": "all"}, worker="b"),
        "write_all": toy("WriteWord", path=f"{out}.all", inputs={"word": "titles"}),
    }


GRAPHS = {
    g.__name__: g
    for g in (chain, diamond, needed, held, merged, remerged, aligned, batched, sampled, lopsided, pictures)
}


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("placement", [*(p for p in PLACEMENTS if p != "inline"), SAMPLES])
def test_a_lossless_run_gives_the_same_on_every_placement(graph: str, placement: str, tmp_path: Path) -> None:
    written = {}
    for where in ("inline", placement):
        out = tmp_path / where
        result, runtime = run(where, **GRAPHS[graph](out))
        assert result.end == "finished", result.error
        assert books_balance(runtime)
        more = [line for path in sorted(tmp_path.glob(f"{where}.*")) for line in lines(path)]
        written[where] = [*more, *lines(out)]
    assert written["inline"][-2:] == ["finish", "close"]
    assert len(written["inline"]) > 10
    assert written[placement] == written["inline"]


def test_a_join_combines_the_same_capture_and_goes_on_without_what_is_silent(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("inline", **diamond(out))
    got = [line.split()[1] for line in lines(out)[:-2]]
    # `slow` sees 0, 3, 6, ... and is silent for multiples of 5
    assert got == [f"{i}+{i + 100}" if i % 3 == 0 and i % 5 else f"{i}+-" for i in range(50)]


def test_a_join_drops_what_it_cannot_do_without(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("inline", **needed(out))
    assert [line.split()[1] for line in lines(out)[:-2]] == [
        f"{i}&{i + 100}" for i in range(50) if i % 3 == 0 and i % 5
    ]


def test_hold_keeps_the_last_until_it_is_too_old(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("inline", **held(out))
    got = [line.split()[1] for line in lines(out)[:-2]]
    # Captures are 10 ms apart: 3 holds till 7 (40 ms), 15 and 30 and 45 are silent.
    assert got[:9] == ["0+-", "1+-", "2+-", "3+103", "4+103", "5+103", "6+106", "7+106", "8+106"]
    assert got[12:18] == ["12+112", "13+112", "14+112", "15+112", "16+112", "17+-"]


def test_inputs_of_different_sources_meet_by_nearest_capture_time(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("inline", **aligned(out))
    got = [line.split()[1] for line in lines(out)[:-2]]
    assert got[:4] == ["0+100", "1+-", "2+102", "3+-"]


@pytest.mark.parametrize("batch", [{"max": 1}, {"max": 2}, {"max": 4, "window_ms": 2}, {"max": 64, "window_ms": 2}])
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_batch_changes_nothing_but_the_number_of_calls(placement: str, batch: dict[str, Any], tmp_path: Path) -> None:
    written = {}
    for name, where, setting in (("alone", "inline", {}), ("together", placement, batch)):
        out = tmp_path / name
        result, runtime = run(where, **batched(out, setting))
        assert result.end == "finished", result.error
        assert books_balance(runtime)
        written[name] = lines(out), lines(tmp_path / f"{name}.joined")
    assert len(written["alone"][0]) > 60
    assert any("+-" not in line for line in written["alone"][1])
    assert written["together"] == written["alone"]


ENDINGS = {
    "the other source is longer": {
        "a": toy("Count", n=10, worker="a"),
        "b": toy("Count", n=200, worker="b"),
        "join": toy("Sum", align_ms=5, inputs={"a": "a", "b": "b"}),
    },
    "captures of another source come on the same edge": {
        "a": toy("Count", n=10, worker="a"),
        "b": toy("Count", n=120, period_ms=1, worker="b"),
        "both": toy("Add", k=0, inputs={"x": ["a", "b"]}, worker="c"),
        "join": toy("Sum", inputs={"a": "a", "b": "both"}),
    },
}


@pytest.mark.parametrize("nodes", ENDINGS.values(), ids=[name.replace(" ", "_") for name in ENDINGS])
@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.timeout(30)
def test_a_join_keeps_nobody_waiting_for_what_it_can_never_use(placement: str, nodes: Any, tmp_path: Path) -> None:
    out = {"out": toy("WriteWord", path=str(tmp_path / "out"), inputs={"word": "join"}, worker="c")}
    result, runtime = run(placement, **nodes, **out)
    assert result.end == "finished", result.error
    assert books_balance(runtime)
    assert [line.split()[1] for line in lines(tmp_path / "out")[:-2]] == [f"{i}+{i}" for i in range(10)]
