"""Another program's way through one frame, in a process of its own which `bench/backends.py` asks call by call.

PYTHON bench/peer.py ultralytics|ultralytics-all-threads|transformers WEIGHTS FRAME.npy FOUND.npy

Prints a line of JSON when it is ready, then, for each line that comes in, the nanoseconds of one call. What it finds
in the frame lies in FOUND.npy: boxes (n, 6) as x1, y1, x2, y2, confidence, class, or depth (h, w).
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

Call = Callable[[], Any]

NAMES = (
    (r"^backbone\.embeddings\.(cls_token|mask_token)", r"pretrained.\1"),
    (r"^backbone\.embeddings\.position_embeddings", "pretrained.pos_embed"),
    (r"^backbone\.embeddings\.patch_embeddings\.projection", "pretrained.patch_embed.proj"),
    (r"^backbone\.layernorm", "pretrained.norm"),
    (r"^backbone\.encoder\.layer\.", "pretrained.blocks."),
    (r"attention\.(o_proj|output\.dense)", "attn.proj"),
    (r"layer_scale(\d)\.lambda1", r"ls\1.gamma"),
    (r"^neck\.reassemble_stage\.layers\.(\d)\.projection", r"depth_head.projects.\1"),
    (r"^neck\.reassemble_stage\.layers\.(\d)\.resize", r"depth_head.resize_layers.\1"),
    (r"^neck\.convs\.(\d)", lambda m: f"depth_head.scratch.layer{int(m[1]) + 1}_rn"),
    (r"^neck\.fusion_stage\.layers\.(\d)", lambda m: f"depth_head.scratch.refinenet{4 - int(m[1])}"),
    (r"projection", "out_conv"),
    (r"residual_layer(\d)\.convolution", r"resConfUnit\1.conv"),
    (r"^head\.conv1", "depth_head.scratch.output_conv1"),
    (r"^head\.conv2", "depth_head.scratch.output_conv2.0"),
    (r"^head\.conv3", "depth_head.scratch.output_conv2.2"),
)
"""From names in transformers' Depth-Anything to those of the official file."""
QKV = re.compile(r"(.*)\.attention\.(?:attention\.)?([qkv])\w+\.(weight|bias)")


def official_name(name: str) -> tuple[str, int | None]:
    """Name in the official file of what transformers calls `name`, and which third of it; None = all of it."""
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    if match := QKV.fullmatch(name):
        return f"{match[1]}.attn.qkv.{match[3]}", "qkv".index(match[2])
    return name, None


def make_torchvision_work() -> str:
    """What had to be done for torchvision to import: beside a CPU build of PyTorch its compiled part does not load."""
    import torch

    try:
        import torchvision
    except ModuleNotFoundError:
        return "torchvision is not installed"
    except RuntimeError:
        pass
    else:
        return ""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _nms, "CPU")
    import torchvision

    torchvision.extension._has_ops = lambda: True
    make_torchvision_work.library = library  # what it defines goes with it
    return "torchvision's compiled part does not load beside this PyTorch; NMS, where used, is OpenCV's (0.1 ms)"


def _nms(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    import cv2
    import torch

    xywh = boxes.numpy().astype(np.float64)
    xywh[:, 2:] -= xywh[:, :2]
    kept = cv2.dnn.NMSBoxes(xywh, scores.numpy(), 0.0, iou_threshold)
    return torch.from_numpy(np.asarray(kept, np.int64).reshape(-1))


def weights(path: str) -> Mapping[str, Any]:
    """Tensors of a weight file, by the same reader as the engines'."""
    from engines.checkpoint import read

    return read(Path(path)).state


def ultralytics(path: str, frame: Any, *, all_threads: bool = False) -> tuple[Call, Callable[[Any], Any], list[str]]:
    """`YOLO.predict` of YOLO12n at 640, on a BGR array, as it wants it."""
    folder = tempfile.mkdtemp(prefix="peer-")
    os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": folder}
    notes = [make_torchvision_work()]
    import torch

    threads = torch.get_num_threads()
    from ultralytics import YOLO
    from ultralytics.nn.tasks import DetectionModel

    state = weights(path)
    classes = next(len(tensor) for name, tensor in state.items() if name.endswith("cv3.0.2.bias"))
    network = DetectionModel("yolo12n.yaml", nc=classes, verbose=False)
    if not any(".bn." in name for name in state):
        network.fuse(verbose=False)  # as the file is
    network.load_state_dict(state)
    model = YOLO("yolo12n.yaml", task="detect")
    model.model = network.eval()
    bgr = np.ascontiguousarray(frame[..., ::-1])
    words = {"imgsz": 640, "conf": 0.25, "iou": 0.55, "max_det": 300, "device": "cpu", "verbose": False, "save": False}

    def call() -> Any:
        return model.predict(bgr, **words)[0]

    call()
    found = torch.get_num_threads()
    notes.append(f"it set PyTorch's threads from {threads} to {found}" if found != threads else "")
    if all_threads:
        torch.set_num_threads(threads)
        call()
        notes.append(f"set back: {torch.get_num_threads()} threads")
    return call, lambda result: result.boxes.data.numpy(), notes


def transformers(path: str, frame: Any) -> tuple[Call, Callable[[Any], Any], list[str]]:
    """The pipeline "depth-estimation" of Depth-Anything-V2-Small at 378, on an image of the frame."""
    notes = [make_torchvision_work()]
    from PIL import Image
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
        DPTImageProcessor,
        pipeline,
    )

    backbone = Dinov2Config(
        image_size=518, patch_size=14, hidden_size=384, num_attention_heads=6, apply_layernorm=True,
        out_features=["stage3", "stage6", "stage9", "stage12"], reshape_hidden_states=False,
    )  # fmt: skip
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=384, neck_hidden_sizes=[48, 96, 192, 384],
        fusion_hidden_size=64, patch_size=14,
    )  # fmt: skip
    model = DepthAnythingForDepthEstimation(config).eval()
    theirs = weights(path)

    def found(name: str) -> Any:
        whole, third = official_name(name)
        return theirs[whole] if third is None else theirs[whole].chunk(3)[third]

    model.load_state_dict({name: found(name) for name in model.state_dict()})
    # As the model's own preprocessor_config.json has it, but for the size.
    processor = DPTImageProcessor(
        size={"height": 378, "width": 378}, keep_aspect_ratio=True, ensure_multiple_of=14, resample=3,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    )  # fmt: skip
    estimate = pipeline("depth-estimation", model=model, image_processor=processor, device="cpu")
    notes.append(f"image processor {type(processor).__name__}, attention {model.backbone.config._attn_implementation}")
    return lambda: estimate(Image.fromarray(frame)), lambda result: np.squeeze(result["predicted_depth"].numpy()), notes


def main() -> None:
    # What the libraries print goes to stderr; stdout is for the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    name, path, frame, to = sys.argv[1:5]
    pixels = np.load(frame)
    if name == "transformers":
        call, found, notes = transformers(path, pixels)
    else:
        call, found, notes = ultralytics(path, pixels, all_threads=name.endswith("all-threads"))
    np.save(to, found(call()))
    package = name.partition("-")[0]
    versions = {package: version(package), "torch": version("torch"), "python": sys.version.split()[0]}
    print(json.dumps({"versions": versions, "notes": [note for note in notes if note]}), file=answers)
    for _ in sys.stdin:
        begin = perf_counter_ns()
        call()
        print(perf_counter_ns() - begin, file=answers)


if __name__ == "__main__":
    main()
