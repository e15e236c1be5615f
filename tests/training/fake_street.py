"""A street of one wall and one moving person, drawn in no time: what the training needs of `nodes.street`."""

from types import SimpleNamespace

import numpy as np

from nodes.messages import Detections, Truth

DURATION_S = 60.0
NAMES = ("person", "car")


def truth_of(xyxy, class_id, visible, size_px) -> Truth:
    n = len(xyxy)
    zeros = np.zeros(n, np.float32)
    detections = Detections(
        np.asarray(xyxy, np.float32).reshape(-1, 4), np.ones(n, np.float32), np.asarray(class_id, np.int32), NAMES,
        (size_px, size_px),
    )  # fmt: skip
    return Truth(
        detections, visible=np.asarray(visible, np.float32), distance_m=zeros + 3, bearing_deg=zeros,
        velocity=np.zeros((n, 3), np.float32), ttc_s=zeros + np.inf, track_id=np.arange(n, dtype=np.int32),
        position=np.zeros(3), rotation=np.eye(3),
    )  # fmt: skip


class FakeScene(SimpleNamespace):
    """Remembers what it was drawn with."""

    @classmethod
    def random(cls, seed: int, *, night: float = 0.0, rain: float = 0.0, crowd: float = 0.5) -> "FakeScene":
        return cls(seed=seed, night=night, rain=rain, crowd=crowd, duration_s=DURATION_S)


class FakeStudio:
    """Depth grows from left to right by a metre a pixel; a person walks over it, a speck is no label."""

    drawn = 0

    def __init__(self, scene: FakeScene, size_wh: tuple[int, int], *, threads: int = 2) -> None:
        self.scene, self.side = scene, size_wh[0]

    def shoot(self, t: float) -> SimpleNamespace:
        FakeStudio.drawn += 1
        side = self.side
        rng = np.random.default_rng([self.scene.seed, int(t * 1000)])
        pixels = rng.integers(0, 255, (side, side, 3), np.uint8)
        depth = np.tile(np.arange(side, dtype=np.float32) + 0.5, (side, 1))
        depth[: side // 4] = np.inf
        depth[-side // 8 :] = 0
        left = t / DURATION_S * side / 2
        boxes = [[left, side / 4, left + side / 4, side * 0.75], [1, 1, 2, 2], [0, 0, side / 2, side / 2]]
        truth = truth_of(boxes, [0, 1, 1], [1.0, 1.0, 0.1], side)
        return SimpleNamespace(pixels=pixels, depth=depth, truth=truth)

    def close(self) -> None:
        pass
