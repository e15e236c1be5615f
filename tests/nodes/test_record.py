"""Record: one line of JSON a frame, which outlives a kill."""

import json
import signal
import subprocess
import sys

import numpy as np

from graph import Stamp
from nodes.messages import Detections
from nodes.record import Record
from tests.conftest import ROOT


def detections(n: int) -> Detections:
    boxes = np.arange(4 * n, dtype=np.float32).reshape(n, 4)
    return Detections(boxes, np.full(n, 0.5, np.float32), np.zeros(n, np.int32), ("person",), (64, 48))


def test_a_line_a_frame_also_when_nothing_was_found(tmp_path):
    node = Record(str(tmp_path / "new" / "detections.jsonl"))
    node.setup()
    node.process(detections(2), Stamp("camera", 3, 40))
    node.process(detections(0), Stamp("camera", 4, 80))
    lines = [json.loads(x) for x in (tmp_path / "new" / "detections.jsonl").read_text().splitlines()]
    node.close()
    assert lines[0] == {
        "seq": 3,
        "captured_ns": 40,
        "origin": "camera",
        "xyxy": [[0, 1, 2, 3], [4, 5, 6, 7]],
        "conf": [0.5, 0.5],
        "class_id": [0, 0],
        "class_name": ["person", "person"],
    }
    assert lines[1]["xyxy"] == lines[1]["class_name"] == []


def test_numbers_are_short_and_never_anything_but_json(tmp_path):
    boxes = np.array([[1 / 3, np.nan, 3, np.inf]], np.float32)
    found = Detections(boxes, np.array([2 / 3], np.float32), np.zeros(1, np.int32), ("señal",), (64, 48))
    node = Record(str(tmp_path / "d.jsonl"))
    node.setup()
    node.process(found, Stamp("camera", 0, 0))
    node.close()
    assert (tmp_path / "d.jsonl").read_text() == (
        '{"seq": 0, "captured_ns": 0, "origin": "camera", "xyxy": [[0.33, null, 3.0, null]], '
        '"conf": [0.6667], "class_id": [0], "class_name": ["señal"]}\n'
    )


KILLED = """
import os, signal, sys
from graph import Stamp
from nodes.record import Record
from tests.nodes.test_record import detections
node = Record(sys.argv[1])
node.setup()
for seq in range(3):
    node.process(detections(300), Stamp("camera", seq, 0))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_written_survives_a_kill(tmp_path):
    path = tmp_path / "d.jsonl"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert [json.loads(x)["seq"] for x in path.read_text().splitlines()] == [0, 1, 2]
