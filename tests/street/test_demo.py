"""The default graph against the truth: the street as it comes, the networks as they are shipped, every frame."""

import json

import pytest

from graph import load

WALKS = {
    "demo": ["source.scene=demo"],
    "another street": ["source.scene=null", "source.seed=300101", "source.crowd=0.5"],
    "night": ["source.scene=null", "source.seed=300102", "source.crowd=0.5", "source.night=0.8"],
}


@pytest.fixture(scope="module", params=WALKS, ids=list(WALKS))
def walk(request, tmp_path_factory):
    """The score of one walk of 40 seconds, seen 7.5 times a second."""
    out = tmp_path_factory.mktemp("walk")
    words = ["source.realtime=false", "source.fps=7.5", "source.duration_s=40", "placement=inline", "metrics=none",
             "nodes.view._target_=null", "speech=none", f"out={out}"]  # fmt: skip
    summary = load("demo", [*WALKS[request.param], *words]).run(status=False)
    assert summary["frames"] == 300
    score = json.loads((out / "score.json").read_text())
    print(request.param, score)
    return score


@pytest.mark.timeout(600)
def test_bearings_are_within_a_degree(walk):
    assert walk["bearing_error_deg"]["n"] > 300
    assert walk["bearing_error_deg"]["median"] < 0.5
    assert walk["bearing_error_deg"]["within_1"] > 0.7  # the rest are boxes that the edge of the picture cuts


@pytest.mark.timeout(600)
def test_distances_nearer_than_8_m_are_within_15_percent(walk):
    assert walk["distance_error"]["n"] > 150
    assert walk["distance_error"]["median"] < 0.15
    assert walk["distance_error"]["within_15_percent"] > 0.5


@pytest.mark.timeout(600)
def test_nothing_is_told_of_what_is_not_there(walk):
    assert walk["words"] >= 5
    assert walk["false_words"] == []
    assert walk["false_hazards_per_minute"] < 0.02 * walk["hazards"] / walk["seconds"] * 60


@pytest.mark.timeout(600)
def test_what_is_reached_was_spoken_of_before(walk):
    assert walk["found"] > 0.6
    assert walk["lead_s"]["n"] >= 2
    assert walk["lead_s"]["least"] > 1.0
    assert len(walk["unsaid"]) <= walk["lead_s"]["n"]  # by night, two of four are missed
