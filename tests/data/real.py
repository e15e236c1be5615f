"""The real detector on real videos, shared by tests."""

from collections.abc import Iterator
from pathlib import Path

from engines.onnx import Onnx
from graph import Captured, EndOfStream
from nodes.detector import Detector
from nodes.messages import Detections, Frame
from nodes.video import Video


def detected(data: Path, video: str, *, every: int = 1) -> Iterator[tuple[Captured[Frame], Detections]]:
    """Every n-th frame of a video, with what YOLO11n finds in it."""
    weights = str(data / "models/derived/yolo11n_dequant_640.onnx")
    detector = Detector(Onnx(), "yolo11n", weights=weights)
    source = Video(str(data / "videos" / video), realtime=False)
    detector.setup()
    source.setup()
    try:
        while True:
            captured = source.process()
            if captured.seq % every == 0:
                yield captured, detector.process(captured.message)
    except EndOfStream:
        return
    finally:
        source.close()
        detector.close()
