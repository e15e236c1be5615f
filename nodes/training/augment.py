"""Frames as a network should also know them: mirrored, nearer or farther, brighter, noisier, four in one."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float32]
Rng = np.random.Generator

LEAST_SIDE = 0.0095
"""Smaller than this part of the picture, a box is no label any more."""


def coloured(rng: Rng, image: Image) -> Image:
    """Another exposure, contrast, tint and grain."""
    gain = np.exp(rng.normal(0, 0.18)) * np.exp(rng.normal(0, 0.06, 3))
    levels = 255 * np.clip(np.linspace(0, 1, 256)[:, None] * gain, 0, 1) ** np.exp(rng.normal(0, 0.16))
    out = cv2.LUT(image, np.clip(levels, 0, 255).astype(np.uint8)[None])
    if rng.random() < 0.3:
        grey = cv2.cvtColor(out, cv2.COLOR_RGB2GRAY)[..., None]
        share = rng.uniform(0.3, 1.0)
        out = cv2.addWeighted(out, 1 - share, np.repeat(grey, 3, axis=2), share, 0)
    if rng.random() < 0.4:
        # By `rng`: OpenCV's own lot is one for the whole process and would make each run another.
        grain = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 7))
        out = np.clip(out + grain, 0, 255)
    return np.asarray(out, np.uint8)


def moved(rng: Rng, image: Image, boxes: Boxes) -> tuple[Image, Boxes]:
    """Scaled and shifted by lot; boxes (k, 5) of class and corners follow, cut at the border."""
    side = image.shape[0]
    scale = float(np.exp(rng.uniform(np.log(0.65), np.log(1.5))))
    shift = rng.uniform(-0.12, 0.12, 2) + (1 - scale) / 2
    matrix = np.array([[scale, 0, shift[0] * side], [0, scale, shift[1] * side]])
    out = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR)
    return np.asarray(out, np.uint8), _kept(boxes, boxes[:, 1:] * scale + np.tile(shift, 2))


def mirrored(image: Image, boxes: Boxes) -> tuple[Image, Boxes]:
    """Left and right exchanged."""
    corners = boxes[:, [3, 2, 1, 4]].copy()
    corners[:, [0, 2]] = 1 - corners[:, [0, 2]]
    return np.ascontiguousarray(image[:, ::-1]), np.column_stack([boxes[:, 0], corners]).astype(np.float32)


def four(parts: list[tuple[Image, Boxes]]) -> tuple[Image, Boxes]:
    """Four frames in one, each at half its size."""
    half = parts[0][0].shape[0] // 2
    out = np.zeros_like(parts[0][0])
    kept = []
    for i, (image, boxes) in enumerate(parts):
        column, row = i % 2, i // 2
        out[row * half : (row + 1) * half, column * half : (column + 1) * half] = cv2.resize(image, (half, half))
        kept.append(_kept(boxes, boxes[:, 1:] / 2 + np.tile([column / 2, row / 2], 2)))
    return out, np.concatenate(kept)


def _kept(boxes: Boxes, corners: npt.NDArray[np.float64] | Boxes) -> Boxes:
    """Boxes with new corners, cut at the border; without those of which little is left."""
    corners = np.asarray(corners, np.float64)
    cut = np.clip(corners, 0, 1)
    area = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    left = (cut[:, 2:] - cut[:, :2]).prod(axis=1)
    stays = ((cut[:, 2:] - cut[:, :2]).min(axis=1) >= LEAST_SIDE) & (left > 0.3 * area)
    return np.column_stack([boxes[stays, 0], cut[stays]]).astype(np.float32)
