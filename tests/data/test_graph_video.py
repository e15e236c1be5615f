"""The main job on real input, through the command line: `graph=video` on a clip, as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.data, pytest.mark.timeout(300)]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "main.py"), "graph=video", "metrics=none", f"out={out}", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=out.parent)


@pytest.fixture(scope="module")
def out(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "out"
    done = run(
        folder,
        f"source.path={data / 'videos/one-by-one-person-detection.mp4'}",
        "source.realtime=false",
        "detector=yolo11n",
        f"detector.weights={data / 'models/derived/yolo11n_dequant_640.onnx'}",
        "depth=none",
        "command.frames=260",
    )
    assert done.returncode == 0, done.stderr
    return folder


def has_person(line: dict) -> bool:
    return any(n == "person" and c > 0.4 for n, c in zip(line["class_name"], line["conf"], strict=True))


def test_every_frame_is_in_the_record_and_persons_are_where_they_are(out):
    record = lines(out / "detections.jsonl")
    assert [d["seq"] for d in record] == list(range(260))
    with_person = [
        d["seq"]
        for d in record
        if any(n == "person" and c > 0.4 for n, c in zip(d["class_name"], d["conf"], strict=True))
    ]
    outside = [s for s in with_person if not (55 <= s <= 205 or s >= 225)]
    assert outside == []
    assert len([s for s in with_person if 70 <= s <= 190]) > 110


def test_each_of_the_two_persons_is_said_once(out):
    said = lines(out / "utterances.jsonl")
    assert [u["text"].startswith("person") for u in said] == [True, True]
    assert [55 <= u["captured_ns"] / 1e8 <= 90 or 225 <= u["captured_ns"] / 1e8 <= 260 for u in said] == [True, True]
    assert set(said[0]) == {"captured_ns", "spoken_ns", "text", "language", "priority", "why"}


def test_the_video_and_the_voice_are_there(out):
    video = cv2.VideoCapture(str(out / "annotated.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 260
    assert (out / "speech.wav").stat().st_size > 100_000


def test_the_summary_says_what_ran_where(out):
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["frames"], summary["drops"], summary["errors"], summary["restarts"]) == (260, {}, {}, {})
    model = summary["models"]["detector"]
    assert (model["requested_device"], model["device"], model["provider"]) == ("cpu", "cpu", "CPUExecutionProvider")
    assert model["precision"] == "fp32"
    assert summary["age_s"]["p50"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["source.path=nothing.mp4"], "nodes.camera.path: there is no file nothing.mp4"),
        ([], "nodes.camera.path: no video given; type graph=video source.path=clip.mp4"),
        (["detector.size_wh=[100,100]"], "nodes.detector.size_wh: the width 100 is no multiple of 32"),
        (["speech.language=fr"], "nodes.narrate.language: is 'fr'; there is: en, es"),
        (
            ["backend.device=cuda:0"],
            "nodes.detector.engine.device: is 'cuda:0', but the installed onnxruntime is built for the CPU",
        ),
    ],
)
def test_mistakes_are_named_by_their_keys(data, tmp_path, words, message):
    done = run(tmp_path / "out", f"detector.weights={data / 'models/yolox_nano_416.onnx'}", *words)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_size_is_named(data, tmp_path):
    done = run(
        tmp_path / "out",
        f"source.path={data / 'videos/vtest_480x360.avi'}",
        "detector=yolo11n",
        "detector.size_wh=[416,416]",
        f"detector.weights={data / 'models/derived/yolo11n_dequant_640.onnx'}",
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: nodes.detector: setup failed: yolo11n: ")
    assert "640" in last
    assert "416" in last


def test_a_corrupt_model_is_named(data, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes((data / "models/yolox_nano_416.onnx").read_bytes()[:5000])
    done = run(tmp_path / "out", f"source.path={data / 'videos/vtest_480x360.avi'}", f"detector.weights={broken}")
    assert done.returncode == 1
    assert "broken.onnx" in done.stderr.strip().splitlines()[-1]


def test_two_placements_give_the_same_record(data, tmp_path):
    records = []
    for placement in ("inline", "threads"):
        out = tmp_path / placement
        done = run(
            out,
            f"source.path={data / 'videos/vtest_480x360.avi'}",
            f"detector.weights={data / 'models/yolox_nano_416.onnx'}",
            "source.realtime=false",
            "command.frames=40",
            f"placement={placement}",
        )
        assert done.returncode == 0, done.stderr
        records.append(((out / "detections.jsonl").read_text(), (out / "utterances.jsonl").read_text()))
    assert records[0] == records[1]
    assert records[0][1]
