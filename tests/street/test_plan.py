"""The default graph as it is planned: nothing is loaded, nothing is drawn."""

import pytest

from graph import load
from graph.errors import ConfigError


def test_the_default_graph_has_its_nodes_and_wires():
    plan = load("demo", []).plan
    assert set(plan.nodes) == {
        "street", "detector", "depth", "track", "fuse", "narrate", "speak", "view", "record", "score"
    }  # fmt: skip
    wires = {edge.name for node in plan.nodes.values() for edge in node.edges}
    assert {
        "detector->track.detections",
        "track->fuse.tracks",
        "street.truth->score.truth",
        "narrate->score.utterance",
        "street.rgb->view.image",
    } <= wires


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("score", "nodes.score._target_=null"),
        ("view", "nodes.view._target_=null"),
        ("record", "nodes.record._target_=null"),
        ("speak", "speech=none"),
    ],
)
def test_each_sink_can_be_switched_off(name, word):
    assert name not in load("demo", [word]).plan.nodes


def test_without_tracks_the_graph_still_tells_of_detections():
    plan = load("demo", ["nodes.track._target_=null", "~nodes.fuse.inputs.tracks"]).plan
    assert "track" not in plan.nodes
    assert "fuse" in plan.nodes


def test_a_source_that_knows_no_truth_is_a_mistake_with_its_key():
    with pytest.raises(ConfigError, match=r"nodes\.score\.inputs\.truth"):
        load("demo", ["source=webcam"])
