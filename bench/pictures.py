"""The README's picture and GIF, from the files that a run of the demo left.

uv run main.py out=runs/demo && uv run python bench/pictures.py runs/demo --at 5.2 --from 2 --seconds 5
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
GIF_WIDTH, GIF_FPS = 640, 6


def frame_at(clip: cv2.VideoCapture, seconds: float) -> np.ndarray:
    clip.set(cv2.CAP_PROP_POS_MSEC, seconds * 1e3)
    found, picture = clip.read()
    if not found:
        raise SystemExit(f"the video has no picture at {seconds} s")
    return np.asarray(picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--at", type=float, required=True, help="second of the still picture")
    parser.add_argument("--from", type=float, required=True, dest="first", help="second at which the GIF begins")
    parser.add_argument("--seconds", type=float, default=5.0)
    words = parser.parse_args()
    clip = cv2.VideoCapture(str(words.run / "annotated.mp4"))
    cv2.imwrite(str(ROOT / "docs" / "demo.jpg"), frame_at(clip, words.at), [cv2.IMWRITE_JPEG_QUALITY, 88])
    animation = cv2.Animation()
    frames = []
    for i in range(int(words.seconds * GIF_FPS)):
        picture = frame_at(clip, words.first + i / GIF_FPS)
        height = round(picture.shape[0] * GIF_WIDTH / picture.shape[1])
        small = cv2.resize(picture, (GIF_WIDTH, height), interpolation=cv2.INTER_AREA)
        frames.append(cv2.cvtColor(small, cv2.COLOR_BGR2BGRA))
    animation.frames, animation.durations = frames, [1000 // GIF_FPS] * len(frames)
    cv2.imwriteanimation(str(ROOT / "docs" / "demo.gif"), animation)
    for name in ("demo.jpg", "demo.gif"):
        print(f"docs/{name}: {(ROOT / 'docs' / name).stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
