import json

import numpy as np

from graph import Stamp
from nodes.messages import Detections
from nodes.record import Record


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
