"""What the models are fed with: images, a video, the computed street or noise, with what is true of them if known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from graph.errors import ConfigError, nearest
from nodes.images import decoded, found
from nodes.messages import Frame
from nodes.ops.clip import Clip

HELD_OUT = 400_000
"""First seed of the street's scenes that are measured on: no training, validation or test has seen them."""
SCENE_FRAMES = 4
MM_PER_M = 1000.0


@dataclass(frozen=True, slots=True)
class Label:
    """An object that is in a picture."""

    name: str
    xywh: tuple[float, float, float, float]
    """Left, top, width, height in pixels."""
    is_crowd: bool = False
    """Finding it is neither right nor wrong."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture. `frame` reads it, so that a folder need not fit into memory."""

    name: str
    frame: Callable[[], Frame]
    labels: tuple[Label, ...] | None = None
    """None: what is in it is not known."""
    depth: Callable[[], npt.NDArray[np.float32]] | None = None
    """Metres (h, w), NaN where unknown."""


def street(count: int, size_px: int) -> list[Picture]:
    """Frames of streets that no training saw, with their truth: the same ones every time."""
    from nodes.street import Scene, Studio
    from nodes.training.frames import is_label

    pictures: list[Picture] = []
    for number in range(-(-count // SCENE_FRAMES)):
        scene = Scene.random(HELD_OUT + number, crowd=0.8)
        studio = Studio(scene, (size_px, size_px))
        for i in range(min(SCENE_FRAMES, count - len(pictures))):
            shot = studio.shoot((i + 0.5) / SCENE_FRAMES * scene.duration_s)
            objects, asked = shot.truth.detections, is_label(shot.truth)
            labels = tuple(
                Label(objects.name(k), _xywh(objects.xyxy[k]), is_crowd=not asked[k]) for k in range(len(objects))
            )
            metres = np.where((shot.depth > 0) & np.isfinite(shot.depth), shot.depth, np.nan).astype(np.float32)
            frame = Frame(shot.pixels.copy(), camera=studio.camera)
            pictures.append(Picture(f"street-{number}-{i}", partial(_same, frame), labels, partial(_same, metres)))
        studio.close()
    return pictures


def noise(count: int, size_px: int) -> list[Picture]:
    """Noise, in which nothing is: the same every time."""
    rng = np.random.default_rng(0)
    frames = [Frame(rng.integers(0, 255, (size_px, size_px, 3), np.uint8)) for _ in range(count)]
    return [Picture(f"noise-{i}", partial(_same, frame)) for i, frame in enumerate(frames)]


def read(path: str, count: int | None) -> list[Picture]:
    """Images of a folder or pattern, or the frames of a video; the first `count` of them, None: all.

    Raises ConfigError where there are none.
    """
    place = Path(path).expanduser()
    if place.is_file() and not found(path):
        return list(_clip(place, count))
    files = found(path)
    if not files:
        raise ConfigError([f"command.frames: there is no image or video at {path}; expected a folder or a video"])
    return [Picture(file.name, partial(_image, file)) for file in files[:count]]


def labelled(pictures: list[Picture], path: str) -> list[Picture]:
    """The pictures that the labels at `path`, a JSON file in the form of COCO, speak of, with their labels.

    Raises ConfigError where the file is not of that form, or knows none of the pictures.
    """
    try:
        known = _coco_labels(json.loads(Path(path).expanduser().read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise ConfigError(
            [f"command.labels: {path} cannot be read: {type(e).__name__}: {e}; expected instances of COCO, a JSON "
             "file with images, annotations and categories"]
        ) from e  # fmt: skip
    chosen = [Picture(p.name, p.frame, known[p.name], p.depth) for p in pictures if p.name in known]
    if not chosen:
        hint = nearest(pictures[0].name, list(known)[:20])
        raise ConfigError([f"command.labels: {path} knows none of the frames, such as {pictures[0].name}{hint}"])
    return chosen


def with_depth(pictures: list[Picture], folder: str) -> list[Picture]:
    """The pictures for which `folder` holds a depth: NAME.npy in metres or NAME.png in millimetres, 0 = unknown.

    Raises ConfigError where there is none.
    """
    place, chosen = Path(folder).expanduser(), []
    for p in pictures:
        files = [file for suffix in (".npy", ".png") if (file := place / f"{Path(p.name).stem}{suffix}").is_file()]
        if files:
            chosen.append(Picture(p.name, p.frame, p.labels, partial(_depth, files[0])))
    if not chosen:
        stem = Path(pictures[0].name).stem
        raise ConfigError(
            [f"command.depth_truth: {folder} holds no depth of the frames; expected files such as {stem}.npy (metres) "
             f"or {stem}.png (millimetres)"]
        )  # fmt: skip
    return chosen


def _same(value: Any) -> Any:
    return value


def _image(file: Path) -> Frame:
    pixels = decoded(file)
    if isinstance(pixels, str):
        raise ConfigError([f"command.frames: {file}: {pixels}; remove it"])
    return Frame(pixels)


def _clip(path: Path, count: int | None) -> Iterator[Picture]:
    try:
        clip = Clip(path)
    except ValueError as e:
        raise ConfigError([f"command.frames: {e}"]) from e
    try:
        while (count is None or clip.n < count) and clip.grab():
            yield Picture(f"{path.stem}-{clip.n - 1:05d}", partial(_same, Frame(clip.pixels())))
    finally:
        clip.release()


def _depth(file: Path) -> npt.NDArray[np.float32]:
    if file.suffix == ".npy":
        metres = np.load(file, allow_pickle=False).astype(np.float32)
        metres = metres.reshape(metres.shape[-2:]) if metres.size == np.prod(metres.shape[-2:]) else metres
    else:
        read = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if read is None or read.dtype != np.uint16:
            raise ConfigError([f"command.depth_truth: {file} is no image of 16 bits; expected millimetres, uint16"])
        metres = read.astype(np.float32) / np.float32(MM_PER_M)
    if metres.ndim != 2:
        raise ConfigError([f"command.depth_truth: {file} is {metres.shape}; expected (h, w)"])
    return np.where((metres > 0) & np.isfinite(metres), metres, np.float32(np.nan))


def _coco_labels(content: Mapping[str, Any]) -> dict[str, tuple[Label, ...]]:
    """Labels by file name."""
    names = {c["id"]: str(c["name"]) for c in content["categories"]}
    labels: dict[Any, list[Label]] = {image["id"]: [] for image in content["images"]}
    for a in content["annotations"]:
        x, y, width, height = map(float, a["bbox"])
        labels[a["image_id"]].append(Label(names[a["category_id"]], (x, y, width, height), bool(a.get("iscrowd"))))
    return {Path(image["file_name"]).name: tuple(labels[image["id"]]) for image in content["images"]}


def _xywh(corners: npt.NDArray[np.float32]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = corners.tolist()
    return x1, y1, x2 - x1, y2 - y1
