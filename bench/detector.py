"""The detector node against its engine alone: letterbox, decoding and suppression may add a quarter, no more.

python bench/detector.py yolo11n MODEL.onnx --image PHOTO.jpg
python bench/detector.py yolox_nano yolox_nano.onnx --sizes 640x480 1920x1080 --repeats 100
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench import report
from engines.base import Array, Model, ModelSpec
from engines.onnx import Onnx
from nodes.detector import Detector
from nodes.messages import Frame

LIMIT = 1.25


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", help="a file of conf/model, such as yolo11n")
    parser.add_argument("weights", help="its ONNX file")
    parser.add_argument(
        "--image", type=Path, help="a photo with objects in it; without it: noise, in which nothing is found"
    )
    parser.add_argument("--sizes", nargs="+", default=["640x480", "1920x1080", "1408x1408"], help="sizes of the frames")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--min-conf", type=float, default=0.25)
    return parser.parse_args()


class Replay:
    """An engine whose model gives one recorded output at once: what is left is the node's own time."""

    def __init__(self, model: Model, output: Array) -> None:
        self.inputs, self.outputs, self.output = model.inputs, model.outputs, output
        self.metadata, self.placement = model.metadata, model.placement

    def load(self, spec: ModelSpec) -> Model:
        return self

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        return (self.output,)

    def close(self) -> None:
        pass


def frame_of(image: Path | None, size: str) -> Frame:
    """The photo, or noise, at `size`, such as 640x480."""
    width, height = (int(side) for side in size.split("x"))
    if image is None:
        return Frame(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8))
    pixels = cv2.imread(str(image), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise SystemExit(f"{image} cannot be read as an image")
    return Frame(cv2.resize(pixels, (width, height)).astype(np.uint8, copy=False))


def main() -> int:
    given = arguments()
    config = yaml.safe_load((ROOT / "conf/model" / f"{given.preset}.yaml").read_text())
    config |= {"weights": given.weights, "min_conf": given.min_conf}
    node = Detector(Onnx(given.device), **config)
    node.setup()
    model = node.model.model
    placement = model.placement
    report.header(f"detector {given.preset} {config['size_wh']}: node against engine alone, taking turns")
    within = True
    for size in given.sizes:
        frame = frame_of(given.image, size)
        found = len(node.process(frame))
        # The same input for both: an engine's time may depend on the values.
        blob = node.tensor.first(1).copy()
        around = Detector(Replay(model, model(blob)[0]), **config)
        around.setup()
        tasks = {
            "engine": lambda blob=blob: model(blob),
            "node": lambda frame=frame: node.process(frame),
            "around": lambda frame=frame, around=around: around.process(frame),
        }
        samples = report.interleaved(tasks, repeats=given.repeats)
        engine = report.row(f"{size} engine alone", samples["engine"])
        whole = report.row(f"{size} node, {found} objects", samples["node"])
        report.row(f"{size} node without engine", samples["around"])
        within &= report.ratio(f"{size} node / engine", whole / engine, at_most=LIMIT)
    print(
        f"\n{placement.backend} on {placement.device}, {placement.provider}, {placement.precision}: {placement.reason}"
    )
    node.close()
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
