"""A worker that is never at rest takes in all the same what comes from other processes."""

from pathlib import Path
from typing import Any

import pytest

from graph.runtime import Runtime
from tests.graph.helpers import BUILDER, beside, lines, plan, toy, until

KEPT: dict[str, Any] = {"source": "far", "policy": "block"}
CONSUMERS = {
    "a join": toy("Both", inputs={"a": KEPT, "b": {"source": "farther", "policy": "block"}}),
    "a join that keeps what comes late": toy("Sum", inputs={"a": KEPT, "b": "farther"}),
    "a merge with what never rests": toy("Say", inputs={"x": [KEPT, "camera"]}),
    "a batch": toy("AddTogether", batch={"max": 4, "window_ms": 1}, inputs={"x": KEPT}),
    "a node that wants every second": toy("Say", inputs={"x": {**KEPT, "every": 2}}),
    "a node that wants all": toy("Say", inputs={"x": KEPT}),
}


@pytest.mark.parametrize("consumer", CONSUMERS.values(), ids=[name.replace(" ", "_") for name in CONSUMERS])
def test_what_waits_for_a_worker_that_never_rests_is_taken_in(consumer: dict[str, Any], tmp_path: Path) -> None:
    """Beside the consumer a camera captures all the time, as one does whose driver waits within the call."""
    out, sink = tmp_path / "out", "WriteNumber" if consumer["_target_"].endswith("AddTogether") else "WriteWord"
    nodes = {
        "camera": toy("Count", n=10**6, realtime=True, period_ms=1, worker="a"),
        "far": toy("Count", n=10**6, realtime=True, period_ms=5, worker="b"),
        "farther": toy("Add", inputs={"x": "far"}, worker="c"),
        "consumer": consumer | {"worker": "a"},
        "out": toy(sink, path=str(out), inputs={"word": {"source": "consumer", "policy": "block"}}, worker="a"),
    }
    with beside(Runtime(plan("processes", **nodes), BUILDER)) as (_, results):
        until(lambda: out.exists() and sum(line.startswith("far#") for line in lines(out)) > 20)
        assert not results
