"""Draws on a picture (h, w, 3) uint8 RGB that the caller owns. Sizes follow the height of the picture."""

from __future__ import annotations

import unicodedata

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

# Okabe and Ito's palette: told apart with every kind of colour vision.
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
URGENT: Colour = (213, 40, 20)
INK: Colour = (255, 255, 255)
DARK: Colour = (18, 22, 28)
FONT = cv2.FONT_HERSHEY_DUPLEX


def colour_of(name: str) -> Colour:
    """The colour of a class: the same in every run."""
    return PALETTE[sum(name.encode()) % len(PALETTE)]


def text_scale(picture: Picture) -> float:
    """Scale of letters that are read well at this height of picture."""
    return max(0.4, int(picture.shape[0]) / 900)


def box(picture: Picture, xyxy: npt.ArrayLike, label: str, colour: Colour) -> None:
    """A box with its label above it, or inside where there is no room above."""
    x1, y1, x2, y2 = (round(float(v)) for v in np.asarray(xyxy).tolist())
    thick = max(1, round(picture.shape[0] / 360))
    cv2.rectangle(picture, (x1, y1), (x2, y2), DARK, thick + 2, cv2.LINE_AA)
    cv2.rectangle(picture, (x1, y1), (x2, y2), colour, thick, cv2.LINE_AA)
    _, height = text_size(picture, label)
    top = y1 - height if y1 >= height else y1
    plate(picture, label, (x1, top), ground=colour, ink=DARK if sum(colour) > 330 else INK, opacity=0.92)


def text_size(picture: Picture, text: str) -> tuple[int, int]:
    """Width and height in pixels of a plate with `text`."""
    scale = text_scale(picture)
    (width, height), base = cv2.getTextSize(text, FONT, scale, max(1, round(scale)))
    return width + height, height + 2 * base


def plate(
    picture: Picture,
    text: str,
    at: tuple[int, int],
    *,
    ground: Colour = DARK,
    ink: Colour = INK,
    opacity: float = 0.7,
) -> None:
    """Text on a plate of colour, its top left corner at `at`, moved inside the picture where it would leave it."""
    width, height = text_size(picture, text)
    x = int(np.clip(at[0], 0, max(0, picture.shape[1] - width)))
    y = int(np.clip(at[1], 0, max(0, picture.shape[0] - height)))
    part = picture[y : y + height, x : x + width]
    part[:] = (part * (1 - opacity) + np.array(ground) * opacity).astype(np.uint8)
    scale = text_scale(picture)
    (_, letters), base = cv2.getTextSize(text, FONT, scale, max(1, round(scale)))
    place = (x + letters // 2, y + base + letters)
    cv2.putText(picture, ascii_only(text), place, FONT, scale, ink, max(1, round(scale)), cv2.LINE_AA)


def subtitle(picture: Picture, text: str, *, urgent: bool = False) -> None:
    """What is said, in the middle of the lower edge."""
    width, height = text_size(picture, text)
    at = (picture.shape[1] - width) // 2, picture.shape[0] - 2 * height
    plate(picture, text, at, ground=URGENT if urgent else DARK, opacity=0.85)


def depth_picture(values: npt.NDArray[np.float32], size_wh: tuple[int, int], *, metres: bool) -> Picture:
    """A depth map (h, w) as a picture of `size_wh`: near is bright and warm, unknown is black."""
    known = np.isfinite(values) & (values > 0) if metres else np.isfinite(values)
    near = np.zeros(values.shape, np.float32)
    if known.any():
        v = np.log(values[known]) if metres else values[known]
        low, high = np.percentile(v, [2, 98])
        scaled = np.clip((v - low) / max(high - low, 1e-6), 0, 1)
        near[known] = 1 - scaled if metres else scaled
    coloured = cv2.applyColorMap((near * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    coloured[~known] = 0
    resized = cv2.resize(coloured, size_wh, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(resized, cv2.COLOR_BGR2RGB), np.uint8)


def ascii_only(text: str) -> str:
    """`text` in the letters that OpenCV's fonts have: accents fall away."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
