"""A node that must not stay silent is asked when nothing comes, in live runs only, on every placement."""

import pytest

from tests.graph.helpers import lines, run, toy


@pytest.mark.parametrize("placement", ["threads", "processes", "inline"])
def test_a_node_is_asked_once_in_each_silence(placement, tmp_path):
    nodes = {
        "src": toy("Stutter", n=6, pause_at=[3], pause_s=0.8, worker="a"),
        "say": toy("Impatient", after_s=0.2, inputs={"x": "src"}, worker="b"),
        "out": toy("WriteWord", path=str(tmp_path / "out"), inputs={"word": {"source": "say", "capacity": 8}}),
    }
    result, _ = run(placement, **nodes)
    assert result.end == "finished", result.error
    said = [line.split()[1] for line in lines(tmp_path / "out")[:-2]]
    if placement == "inline":  # its only thread is at the source meanwhile
        assert said == ["0", "1", "2", "3", "4", "5"]
    else:
        assert said == ["0", "1", "2", "silence", "3", "4", "5"]


def test_a_lossless_run_knows_no_silence(tmp_path):
    nodes = {
        "src": toy("Stutter", n=4, pause_at=[2], pause_s=0.5, realtime=False, worker="a"),
        "say": toy("Impatient", after_s=0.1, inputs={"x": "src"}, worker="b"),
        "out": toy("WriteWord", path=str(tmp_path / "out"), inputs={"word": "say"}),
    }
    run("threads", **nodes)
    assert [line.split()[1] for line in lines(tmp_path / "out")[:-2]] == ["0", "1", "2", "3"]
