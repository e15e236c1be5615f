"""The detector: a network of YOLO12n's shape, built and scored by ultralytics, trained by our own loop.

ultralytics changes the threads of the process, reports its use and installs packages unless it is told not to; it is
under the AGPL-3.0. It is a tool of training: the application never imports it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from nodes.training import augment
from nodes.training.export import export
from nodes.training.frames import Frames
from nodes.training.loop import Budget, Report, Trained, fit

if TYPE_CHECKING:
    import torch

FOUR_SHARE, MOVED_SHARE = 0.3, 0.6
CALM = 0.85
"""From this part of the budget on, frames are shown whole: as the application will see them."""


def train(
    frames: Frames, class_names: Sequence[str], *, budget: Budget, seed: int, device: str, work: Path, report: Report
) -> Trained:
    """A trained network; it takes (n, 3, h, w) RGB 0..1."""
    import torch

    os.environ |= {
        "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false", "YOLO_CONFIG_DIR": str(work),
    }  # fmt: skip
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    torch.set_num_threads(threads)
    cv2.setNumThreads(cv_threads)
    torch.manual_seed(seed)
    network = DetectionModel("yolo12n.yaml", nc=len(class_names), verbose=False)
    network.args = get_cfg()
    network.names = dict(enumerate(class_names))
    network.to(device).to(memory_format=torch.channels_last)
    used = [0.0]

    def told(share: float, loss: float, step_s: float) -> None:
        used[0] = share
        report(share, loss, step_s)

    def loss_of(model: Any, batch: Any) -> torch.Tensor:
        loss, _ = model.loss(batch)
        return loss.sum() / len(batch["img"])

    steps = max(1, len(frames) // budget.batch)
    batches = _batches(frames, budget.batch, seed=seed, device=device, used=lambda: used[0])
    checkpoint = work / "detector.pt"
    return fit(network, batches, loss_of, budget=budget, steps_per_epoch=steps, checkpoint=checkpoint, report=told)


def _batches(
    frames: Frames, size: int, *, seed: int, device: str, used: Callable[[], float]
) -> Callable[[int], Iterator[Any]]:
    import torch

    of_frame = [frames.boxes[frames.boxes[:, 0] == i, 1:] for i in range(len(frames))]

    def plain(rng: np.random.Generator, i: int) -> tuple[augment.Image, augment.Boxes]:
        image, boxes = frames.images[i], of_frame[i]
        return augment.mirrored(image, boxes) if rng.random() < 0.5 else (image, boxes)

    def varied(rng: np.random.Generator, i: int) -> tuple[augment.Image, augment.Boxes]:
        if used() < CALM:
            if rng.random() < FOUR_SHARE:
                picked = [i, *rng.integers(0, len(frames), 3)]
                image, boxes = augment.four([plain(rng, int(k)) for k in picked])
                return augment.coloured(rng, image), boxes
            if rng.random() < MOVED_SHARE:
                image, boxes = augment.moved(rng, *plain(rng, i))
                return augment.coloured(rng, image), boxes
        image, boxes = plain(rng, i)
        return augment.coloured(rng, image), boxes

    def epoch(number: int) -> Iterator[Any]:
        rng = np.random.default_rng([seed, number])
        order = rng.permutation(len(frames))
        for first in range(0, len(order) - size + 1, size):
            chosen = [varied(rng, int(i)) for i in order[first : first + size]]
            images = np.stack([image for image, _ in chosen]).transpose(0, 3, 1, 2)
            pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device).float() / 255
            boxes = np.concatenate([b for _, b in chosen])
            which = np.repeat(np.arange(size), [len(b) for _, b in chosen])
            middle, sides = (boxes[:, 1:3] + boxes[:, 3:5]) / 2, boxes[:, 3:5] - boxes[:, 1:3]
            yield {
                "img": pixels.contiguous(memory_format=torch.channels_last),
                "cls": torch.from_numpy(boxes[:, :1]).to(device),
                "bboxes": torch.from_numpy(np.concatenate([middle, sides], axis=1)).to(device),
                "batch_idx": torch.from_numpy(which.astype(np.float32)).to(device),
            }

    return epoch


def write(network: torch.nn.Module, class_names: Sequence[str], *, size_px: int, path: Path) -> Path:
    """Export to ONNX: input (1, 3, h, w) RGB 0..1, output (1, 4 + classes, boxes)."""
    network = network.float().cpu().eval()
    network.fuse(verbose=False)
    for module in network.modules():
        if hasattr(module, "export"):
            module.export, module.format = True, "onnx"
    metadata = {"names": str(dict(enumerate(class_names))), "task": "detect", "stride": "32"}
    return export(network, (1, 3, size_px, size_px), path, output="boxes", metadata=metadata)
