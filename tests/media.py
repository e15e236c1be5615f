"""Small clips for tests, written with OpenCV."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np


def write_clip(path: Path, *, lumas: Sequence[int], fps: float = 25, size_wh: tuple[int, int] = (64, 48)) -> Path:
    """A clip of gray frames, one for each luma."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size_wh)
    for luma in lumas:
        writer.write(np.full((size_wh[1], size_wh[0], 3), luma, np.uint8))
    writer.release()
    return path
