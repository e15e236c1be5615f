"""`graph=video` from file to annotated file, against the sequential loop that one would write with OpenCV.

    uv run python bench/video.py clip.mp4 yolo11n.onnx [frames]

Both read the clip, run the same ONNX model with the same session options, draw the boxes and write an MP4; ours also
fuses, narrates and records. Interleaved. Limit: frames per second at least 1.0 times those of the loop.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from time import monotonic_ns

sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2
import numpy as np
import onnxruntime

from bench import report
from graph import load

ROUNDS, SIZE = 3, 640


def ours(clip: str, weights: str, frames: int, folder: str) -> tuple[float, dict[str, float]]:
    """Seconds a frame, and the mean milliseconds of each node."""
    words = [f"source.path={clip}", "source.realtime=false", "detector=yolo11n", f"detector.weights={weights}"]
    words += ["depth=none", "speech=none", "metrics=none", f"out={folder}/ours"]
    graph = load("video", words)
    summary = graph.run(frames=frames, status=False)
    return summary["seconds"] / summary["frames"], dict(summary["step_ms_mean"])


def sequential(clip: str, weights: str, frames: int, folder: str) -> float:
    """Seconds a frame of the loop."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    begin = monotonic_ns()
    session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    capture = cv2.VideoCapture(clip)
    writer: cv2.VideoWriter | None = None
    for _ in range(frames):
        ok, bgr = capture.read()
        if not ok:
            break
        height, width = bgr.shape[:2]
        scale = SIZE / max(height, width)
        square = np.full((SIZE, SIZE, 3), 114, np.uint8)
        resized = cv2.resize(bgr, (round(width * scale), round(height * scale)))
        square[: resized.shape[0], : resized.shape[1]] = resized
        blob = cv2.dnn.blobFromImage(square, 1 / 255, swapRB=True)
        (out,) = session.run(None, {name: blob})
        rows = out[0].T
        scores = rows[:, 4:].max(axis=1)
        rows, scores = rows[scores > 0.25], scores[scores > 0.25]
        boxes = np.c_[rows[:, :2] - rows[:, 2:4] / 2, rows[:, 2:4]] / scale
        for i in cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), 0.25, 0.55):
            x, y, w, h = boxes[i].astype(int)
            cv2.rectangle(bgr, (x, y), (x + w, y + h), (0, 200, 0), 2)
            cv2.putText(bgr, f"{scores[i]:.2f}", (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 200, 0), 2)
        if writer is None:
            writer = cv2.VideoWriter(f"{folder}/loop.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 10, (width, height))
        writer.write(bgr)
    if writer is not None:
        writer.release()
    return (monotonic_ns() - begin) / 1e9 / frames


def main() -> None:
    clip, weights = sys.argv[1:3]
    frames = int(sys.argv[3]) if len(sys.argv) > 3 else 100
    report.header(
        f"graph=video on {Path(clip).name}, {frames} frames a run",
        packages=("numpy", "opencv-python-headless", "onnxruntime"),
    )
    mine, theirs = [], []
    nodes: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            seconds, nodes = ours(clip, weights, frames, folder)
            mine.append(seconds * 1e9)
            theirs.append(sequential(clip, weights, frames, folder) * 1e9)
    a, b = report.row("ours, a frame", mine), report.row("sequential loop, a frame", theirs)
    report.ratio("frames a second, ours / loop", b / a, at_least=1.0)
    print("where ours goes, ms a step: " + ", ".join(f"{n} {ms:.1f}" for n, ms in nodes.items()))


if __name__ == "__main__":
    main()
