"""`validate` on real images with labels, and real depth: figures that are known from elsewhere."""

import json
import os

import numpy as np
import pytest

from tests.faults.test_command_line import cauce

pytestmark = pytest.mark.data
QUICK = ["command.reference=onnx", "command.speed={count: 12, seconds: 0, warm_up: 1}", "out=v"]


@pytest.mark.timeout(300)
def test_average_precision_of_yolo11n_on_coco_is_the_known_one(data, tmp_path):
    weights = data / "models/derived/yolo11n_dequant_640.onnx"
    words = ["detector=yolo11n", f"detector.weights={weights}", "depth=none", f"command.frames={data / 'coco/images'}",
             f"command.labels={data / 'coco/instances_visible.json'}"]  # fmt: skip
    done = cauce("validate", *words, *QUICK, cwd=tmp_path, timeout=280)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads((tmp_path / "v" / "validate.json").read_text())["models"]
    scores = found["scores"]["model"]
    assert (scores["labels"], scores["classes"]) == (461, found["scores"]["reference"]["classes"])
    # 0.481 and 0.639 with an IoU of 0.65 between boxes that are kept; ours is 0.55.
    assert scores["mAP50-95"] == pytest.approx(0.481, abs=0.005)
    assert scores["mAP50"] == pytest.approx(0.639, abs=0.01)
    assert found["boxes"]["f1"] == 1
    assert found["scores"]["loss"] == 0


def test_depth_against_measured_depth(data, tmp_path):
    """FastDepth on its authors' sample: AbsRel 0.14 as it comes, a little less when aligned."""
    cv2 = pytest.importorskip("cv2")
    rgb = np.load(data / "rgbd/fastdepth_nyu_rgb.npy")
    truth = np.load(data / "rgbd/fastdepth_nyu_depth.npy").astype(np.float32)
    pixels = np.clip(rgb * 255 if rgb.max() <= 1 else rgb, 0, 255).astype(np.uint8).squeeze()
    pixels = pixels if pixels.shape[-1] == 3 else pixels.transpose(1, 2, 0)
    (tmp_path / "images").mkdir()
    (tmp_path / "depth").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.ascontiguousarray(pixels[..., ::-1]))
    np.save(tmp_path / "depth" / "a.npy", truth)
    weights = data / "models/derived/fastdepth_nyu_dequant.onnx"
    words = ["detector=none", "depth=fastdepth", f"depth.weights={weights}", f"command.frames={tmp_path / 'images'}",
             f"command.depth_truth={tmp_path / 'depth'}"]  # fmt: skip
    done = cauce("validate", *words, *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads((tmp_path / "v" / "validate.json").read_text())["models"]
    assert found["depth_truth"]["model"]["AbsRel"] < 0.15
    assert found["depth_truth"]["model"]["delta1"] > 0.8
    assert os.path.getsize(tmp_path / "v" / "validate.png") > 1000
