"""Shows a depth map as colours, with a legend: near is bright and warm, far is dark violet, unknown is black."""

from __future__ import annotations

from math import log

import cv2
import numpy as np
import numpy.typing as npt

from nodes.ops import draw

ROUND_M = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 70.0, 100.0)
FAR_COLOUR = 0.12  # where in the colour map far stands, so that it is not black

Values = npt.NDArray[np.float32]
Known = npt.NDArray[np.bool_]


def depth_picture(values: Values, size_wh: tuple[int, int], *, metres: bool) -> draw.Picture:
    """A depth map (h, w) as a picture of `size_wh` with its legend.

    Metres on a logarithmic scale between round distances, so that colours hold still from frame to frame; relative
    depth between the 2nd and 98th percentile of this very map.
    """
    known: Known = np.isfinite(values) & (values > 0) if metres else np.isfinite(values)
    low, high = limits(values[known], metres=metres)
    near = np.zeros(values.shape, np.float32)
    near[known] = _nearness(values[known], low, high, metres=metres)
    near[~known] = near[known].mean() if known.any() else 0  # what the edge of the known is blended with
    picture = _coloured(cv2.resize(near, size_wh, interpolation=cv2.INTER_LINEAR))
    if not known.all():
        # A soft edge: the map is coarser than the picture, and its steps would draw the eye.
        seen = cv2.resize(known.astype(np.float32), size_wh, interpolation=cv2.INTER_LINEAR)
        seen = np.clip(2 * np.asarray(seen, np.float32) - 0.5, 0, 1)
        picture = (picture * seen[..., None]).astype(np.uint8)
    _legend(picture, (f"{low:g}", f"{high:g} m") if metres else ("near", "far"))
    return picture


def limits(known: Values, *, metres: bool) -> tuple[float, float]:
    """Nearest and farthest metres to show, round ones; of relative depth, the farthest value and the nearest."""
    if not known.size:
        return ROUND_M[0], ROUND_M[-1]
    low, high = (float(v) for v in np.percentile(known, [2, 98]))
    if not metres:
        return low, max(high, low + 1e-6)
    below = [m for m in ROUND_M[:-1] if m <= low]
    nearest = below[-1] if below else ROUND_M[0]
    above = [m for m in ROUND_M if m >= high and m > nearest]
    return nearest, above[0] if above else ROUND_M[-1]


def _nearness(known: Values, low: float, high: float, *, metres: bool) -> Values:
    """1 nearest to 0 farthest."""
    within = np.clip(known, low, high)
    near = 1 - np.log(within / low) / log(high / low) if metres else (within - low) / (high - low)
    return np.asarray(near, np.float32)


def _coloured(near: npt.NDArray[np.generic] | cv2.typing.MatLike) -> draw.Picture:
    """Colours of nearness, 1 to 0."""
    shades = (FAR_COLOUR + (1 - FAR_COLOUR) * np.asarray(near)) * 255
    bgr = cv2.applyColorMap(shades.astype(np.uint8), cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _legend(picture: draw.Picture, ends: tuple[str, str]) -> None:
    """The colours between near and far, in the upper left corner where the picture beside has its number."""
    px = draw.letter_px(picture, 60)
    length, x, y = 8 * px, px // 2, px // 2
    first, last = (draw.text_width(text, px) for text in ends)
    width = first + length + last + 2 * px
    if width + px > picture.shape[1] or 3 * px > picture.shape[0]:
        return
    draw.ground_plate(picture, (x, y, width, 2 * px), draw.DARK, 0.7)
    strip = np.tile(np.linspace(1, 0, length, dtype=np.float32), (px, 1))
    left, top = x + px // 2 + first + px // 2, y + px // 2
    picture[top : top + px, left : left + length] = _coloured(strip)
    draw.write(picture, ends[0], (x + px // 2, top), px=px)
    draw.write(picture, ends[1], (left + length + px // 2, top), px=px)
