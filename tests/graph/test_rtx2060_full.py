"""The headline graph: it plans with every source and backend, and runs on the street with the shipped networks."""

import json
from collections import Counter
from pathlib import Path

import pytest

from graph import load
from graph.compose import composed

STREET = ["experiment=street_networks", "metrics=none", "backend.threads=1", "source.size_px=128", "source.threads=1"]


def on_disk(path: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (path / name).read_text().splitlines()]


@pytest.mark.parametrize("backend", ["onnx", "openvino", "torch", "trt", "[trt,onnx]"])
def test_it_is_composed_for_every_backend_with_its_own_limits(backend):
    config, _ = composed(["graph=rtx2060_full", f"backend={backend}"])
    engines = {n: config["nodes"][n].get("engine", {}) for n in ("detector", "depth", "slam")}
    bounded = {n: e.get("memory_limit_mb") for n, e in engines.items()}
    if backend == "trt":
        assert sum(bounded.values()) <= 5000  # of 6 GB
        assert engines["detector"]["priority"] < engines["depth"]["priority"] < engines["slam"]["priority"]
    assert all(limit is not None for limit in bounded.values()) == (backend in ("onnx", "torch", "trt"))


def test_the_plan_is_what_was_promised():
    plan = load("rtx2060_full", ["metrics=none"]).plan
    by_name = {e.name: e for e in plan.edges}
    assert plan.nodes["detector"].spec.params["size_wh"] == [640, 640]
    assert plan.nodes["depth"].spec.params["size_wh"] == [378, 378]
    assert plan.nodes["slam"].spec.params["size_wh"] == [256, 256]
    assert by_name["upload->depth.image"].every == 3
    assert by_name["upload->detector.image"].every == 1
    assert plan.nodes["slam"].spec.batch.max == 2
    assert by_name["slam->sides.detections"].capacity == 2  # left and right come together
    threads = {n: plan.nodes[n].worker.name for n in ("camera", "detector", "depth", "slam", "speak", "view")}
    assert len(set(threads.values())) == 6
    assert plan.off == ()


def test_the_words_of_the_backend_reach_each_model():
    words = ["graph=rtx2060_full", "backend=torch", "backend.device=cuda:1", "backend.precision=fp16"]
    config, _ = composed(words)
    plan = load("rtx2060_full", ["backend=onnx", "backend.warm_up=7"]).plan
    assert {plan.nodes[n].spec.params["engine"]["warm_up"] for n in ("detector", "depth", "slam")} == {7}
    assert plan.nodes["slam"].spec.params["engine"]["memory_limit_mb"] == 800
    for n in ("detector", "depth", "slam"):
        assert config["nodes"][n]["engine"]["use"]["device"] == "cuda:1"


@pytest.mark.parametrize("source", ["webcam", "images"])
def test_with_one_camera_the_sides_are_switched_off_and_that_is_told(source, tmp_path):
    from graph.describe import table

    words = [f"source={source}", "metrics=none", *([f"source.path={tmp_path}"] if source == "images" else [])]
    if source == "images":
        import cv2
        import numpy as np

        cv2.imwrite(str(tmp_path / "1.png"), np.zeros((48, 64, 3), np.uint8))
    plan = load("rtx2060_full", words).plan
    assert plan.off == ("record_slam", "sides", "slam")
    assert "switched off: record_slam, sides, slam" in table(plan)
    assert "sides" not in {e.port for e in plan.nodes["narrate"].edges}


@pytest.mark.timeout(90)
@pytest.mark.parametrize("placement", ["inline", "threads", "processes"])
def test_it_runs_on_the_street_and_both_side_cameras_come_as_one_batch(placement, tmp_path):
    words = [*STREET, f"placement={placement}", f"out={tmp_path}", "source.realtime=false", "speech=console",
             "nodes.view._target_=null"]  # fmt: skip
    summary = load("rtx2060_full", words).run(frames=45, status=False)
    assert summary["end"] == "finished"
    assert summary["frames"] == 45
    assert summary["drops"] == {}
    assert summary["facts"]["slam"]["figures"]["batches"] == "15 of 2"
    assert (summary["steps"]["detector"], summary["steps"]["depth"], summary["steps"]["slam"]) == (45, 15, 15)
    side = on_disk(tmp_path, "detections_slam.jsonl")
    assert Counter(line["origin"] for line in side) == {"camera.slam_left": 15, "camera.slam_right": 15}
    assert [line["seq"] for line in side] == [i // 2 for i in range(30)]
    assert len({line["captured_ns"] for line in side}) == 15
    assert any(line["class_name"] for line in side)
    assert on_disk(tmp_path, "utterances.jsonl")
