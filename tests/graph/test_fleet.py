"""graph=fleet: what is found in a wearer's frames comes back to that wearer, though all share the models."""

import json

import pytest

from graph import load

WORDS = ["placement=threads", "metrics=none", "source.size_px=224", "source.realtime=false", "speech=console"]


@pytest.mark.timeout(120)
def test_wearers_share_models_and_each_has_his_own_frames_back(tmp_path):
    graph = load("fleet", [*WORDS, "wearers=2", f"out={tmp_path}"])
    assert {"camera_1", "camera_2", "detector_1"} < set(graph.plan.nodes)
    assert "detector_2" not in graph.plan.nodes
    summary = graph.run(frames=12, status=False)
    assert summary["end"] == "finished"
    assert summary["drops"] == {}
    assert (summary["steps"]["track_1"], summary["steps"]["track_2"]) == (12, 12)
    assert summary["facts"]["detector_1"]["figures"]["batches"]
    seen = []
    for wearer in (1, 2):
        found = (tmp_path / str(wearer) / "detections.jsonl").read_text().splitlines()
        origins = {json.loads(line)["origin"] for line in found}
        assert origins == {f"camera_{wearer}.rgb"}
        seen.append([json.loads(line)["xyxy"] for line in found])
    assert seen[0] != seen[1]  # as each walks down a street of his own


def test_models_are_shared_by_turns(tmp_path):
    plan = load("fleet", [*WORDS, "wearers=4", "models=2", f"out={tmp_path}"]).plan
    feeds = {n: sorted(e.source for e in plan.nodes[n].edges) for n in ("detector_1", "detector_2")}
    assert feeds == {"detector_1": ["camera_1", "camera_3"], "detector_2": ["camera_2", "camera_4"]}
