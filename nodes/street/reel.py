"""Frames drawn beforehand and kept: pictures as JPEG, the truth beside them. A frame is whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import cv2
import numpy as np

from graph import EndOfStream
from nodes.messages import Detections, Truth
from nodes.ops.camera import Camera
from nodes.street.city import CLASS_NAMES
from nodes.street.scene import Scene

if TYPE_CHECKING:
    from nodes.street.studio import Shot

QUALITY = 95
FIELDS = ("visible", "distance_m", "bearing_deg", "velocity", "ttc_s", "track_id", "position", "rotation")


def cache_folder() -> Path:
    """Below $XDG_CACHE_HOME where that is set, else below ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cauce" / "street"


class Reel:
    """The frames of one scene at one size and rate, a file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, scene: Scene, size_px: int, fps: float) -> Reel:
        """The reel of a scene as this version of the street draws it."""
        digest = hashlib.sha256(json.dumps([asdict(scene), size_px, fps]).encode())
        for path in sorted(Path(__file__).parent.glob("*.py")):
            digest.update(path.read_bytes())
        return cls(cache_folder() / f"reel-{digest.hexdigest()[:16]}")

    def fill(self, count: int, draw: Callable[[int], Shot], told: Callable[[int, int], None], woken: Event) -> None:
        """Draw the frames that are not there yet. EndOfStream where `woken` is set meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            if woken.is_set():
                raise EndOfStream
            told(number, count)
            path = self._path(number)
            if not path.exists():
                part = path.with_suffix(f".{os.getpid()}.part")
                part.write_bytes(_packed(draw(number)))
                part.replace(path)

    def shot(self, number: int, camera: Camera) -> Shot:
        """Frame `number`. ValueError where its file is damaged."""
        path = self._path(number)
        try:
            with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as file:
                parts = {name: file[name] for name in file.files}
            bgr = cv2.imdecode(parts["picture"], cv2.IMREAD_COLOR)
            if bgr is None:
                raise ValueError("its picture cannot be read")
            return _shot(parts, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), camera)
        except (OSError, EOFError, KeyError, ValueError, BadZipFile) as e:
            raise ValueError(f"{path}: is damaged ({e}); remove it, it is drawn again") from None

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"


def _packed(shot: Shot) -> bytes:
    bgr = cv2.cvtColor(shot.pixels, cv2.COLOR_RGB2BGR)
    _, picture = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    truth = shot.truth
    fields: dict[str, Any] = {name: getattr(truth, name) for name in FIELDS}
    buffer = BytesIO()
    np.savez(buffer, picture=picture, xyxy=truth.detections.xyxy, class_id=truth.detections.class_id,
             speed_mps=np.array(truth.speed_mps), depth=shot.depth[::2, ::2].astype(np.float16), **fields)  # fmt: skip
    return buffer.getvalue()


def _shot(parts: dict[str, Any], pixels: Any, camera: Camera) -> Shot:
    from nodes.street.studio import Shot

    found = Detections(
        parts["xyxy"], np.ones(len(parts["xyxy"]), np.float32), parts["class_id"], CLASS_NAMES, camera.size_wh, camera
    )
    truth = Truth(found, **{name: parts[name] for name in FIELDS}, speed_mps=float(parts["speed_mps"]))
    # Depth is kept at half the size; each value stands for four pixels.
    depth = parts["depth"].astype(np.float32).repeat(2, axis=0).repeat(2, axis=1)
    return Shot(pixels, depth[: pixels.shape[0], : pixels.shape[1]], truth)
