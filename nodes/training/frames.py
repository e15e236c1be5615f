"""Frames of many streets with their labels, rendered once and kept: a file for each scene, whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from nodes import street
from nodes.messages import Truth
from nodes.street import Scene, Studio

SHOT_PX = 704
"""The size at which the application sees the street; frames are shrunk from it as its nodes do."""
MIN_VISIBLE, MIN_SIDE = 0.25, 0.0095
"""What is hidden by more than three quarters, or is smaller than this part of the picture, is no label."""
SPLITS = {"train": 100_000, "val": 200_000, "test": 300_000}
"""First seed of each split: no scene is in two of them."""
FARTHEST_M = 60.0


@dataclass(frozen=True, slots=True)
class FrameSettings:
    """How many frames, of which size."""

    scenes: int
    per_scene: int
    detector_px: int = 320
    depth_px: int = 256
    night_share: float = 0.15
    rain_share: float = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """n frames in memory."""

    images: npt.NDArray[np.uint8]
    """(n, d, d, 3) RGB, for the detector."""
    small: npt.NDArray[np.uint8]
    """(n, s, s, 3) RGB, for the depth network."""
    depth: npt.NDArray[np.float16]
    """(n, s/2, s/2) metres; sky is `FARTHEST_M`, 0 is outside of the lens."""
    boxes: npt.NDArray[np.float32]
    """(k, 6) frame, class, left, top, right, bottom; parts of the picture's side."""

    def __len__(self) -> int:
        return len(self.images)


def source_hash() -> str:
    """Changes when the street looks different, or is looked at differently: a hash of its source and of this file."""
    digest = hashlib.sha256()
    for path in (*sorted(Path(street.__file__).parent.glob("*.py")), Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def scene_of(split: str, number: int, settings: FrameSettings) -> Scene:
    """Scene `number` of a split: its weather, hour and crowd are drawn by lot."""
    seed = SPLITS[split] + number
    rng = np.random.default_rng([seed, 9])
    night = float(rng.uniform(0.6, 1.0)) if rng.random() < settings.night_share else 0.0
    rain = float(rng.uniform(0.4, 1.0)) if rng.random() < settings.rain_share else 0.0
    return Scene.random(seed, night=night, rain=rain, crowd=float(rng.uniform(0.2, 1.2)))


def times_of(scene: Scene, count: int) -> npt.NDArray[np.float64]:
    """Moments spread over a scene, each drawn by lot within its share."""
    rng = np.random.default_rng([scene.seed, 10])
    return (np.arange(count) + rng.uniform(0, 1, count)) / count * scene.duration_s


def is_label(truth: Truth) -> npt.NDArray[np.bool_]:
    """(n,) what can reasonably be found: large enough, and not hidden."""
    xyxy, side = truth.detections.xyxy, np.float32(truth.detections.size_wh[0])
    sides = (xyxy[:, 2:] - xyxy[:, :2]).min(axis=1) / side
    large: npt.NDArray[np.bool_] = (truth.visible >= MIN_VISIBLE) & (sides >= MIN_SIDE)
    return large


def labels(truth: Truth) -> npt.NDArray[np.float32]:
    """(k, 5) class, left, top, right, bottom as parts of the picture's side, of what can reasonably be found."""
    found, kept = truth.detections, is_label(truth)
    xyxy = found.xyxy / np.float32(found.size_wh[0])
    return np.column_stack([found.class_id[kept], xyxy[kept]]).astype(np.float32)


def _render(path: Path, split: str, number: int, settings: FrameSettings) -> Path:
    """Write the file of one scene."""
    cv2.setNumThreads(1)
    scene = scene_of(split, number, settings)
    studio = Studio(scene, (SHOT_PX, SHOT_PX), threads=1)
    images: list[npt.NDArray[np.uint8]] = []
    small: list[npt.NDArray[np.uint8]] = []
    depth: list[npt.NDArray[np.float16]] = []
    boxes: list[npt.NDArray[np.float32]] = []
    half = settings.depth_px // 2
    for i, t in enumerate(times_of(scene, settings.per_scene)):
        shot = studio.shoot(float(t))
        for size, into in ((settings.detector_px, images), (settings.depth_px, small)):
            into.append(np.asarray(cv2.resize(shot.pixels, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8))
        metres = np.minimum(shot.depth, np.float32(FARTHEST_M))
        # Not INTER_NEAREST: that takes the top left of what a pixel covers, 2.5 pixels of the frame beside its middle.
        sampled = cv2.resize(metres, (half, half), interpolation=cv2.INTER_NEAREST_EXACT)
        depth.append(np.asarray(sampled, np.float16))
        found = labels(shot.truth)
        boxes.append(np.column_stack([np.full(len(found), i, np.float32), found]))
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez(
            file, images=np.stack(images), small=np.stack(small), depth=np.stack(depth), boxes=np.concatenate(boxes)
        )
    temporary.replace(path)
    return path


def render(
    split: str, settings: FrameSettings, folder: Path, *, workers: int, progress: Callable[[int, int], None]
) -> Sequence[Path]:
    """Render what of a split is not there yet; the files of its scenes. `progress` is told done and total scenes."""
    key = hashlib.sha256(json.dumps([asdict(settings), source_hash()]).encode()).hexdigest()[:12]
    place = folder / f"{split}-{key}"
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"{number:05d}.npz" for number in range(settings.scenes)]
    missing = [(path, number) for number, path in enumerate(paths) if not path.exists()]
    done = len(paths) - len(missing)
    progress(done, len(paths))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_render, path, split, number, settings) for path, number in missing]
        for job in as_completed(jobs):
            job.result()
            done += 1
            progress(done, len(paths))
    return paths


def load(paths: Iterable[Path]) -> Frames:
    """All frames of these files."""
    parts, boxes, first = [], [], 0
    for path in paths:
        with np.load(path, allow_pickle=False) as file:
            part = {name: file[name] for name in ("images", "small", "depth", "boxes")}
        part["boxes"][:, 0] += first
        first += len(part["images"])
        parts.append(part)
    boxes = [part["boxes"] for part in parts]
    arrays = [np.concatenate([part[name] for part in parts]) for name in ("images", "small", "depth")]
    return Frames(arrays[0], arrays[1], arrays[2], np.concatenate(boxes).astype(np.float32))
