"""How far an object is, from the depth inside its box, so that the background does not win. Knows no camera.

A box always holds some of what is behind the object, often more of that than of the object; a median then reads the
background. The object is the nearest depth that holds a good part of the box. What stands before the object and covers
that much of the box is read in its place: it is what the wearer would walk into.
"""

from __future__ import annotations

from math import ceil, log, sqrt

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

SPAN = log(1.12)
"""Extent in depth that one object may have inside its box, as a ratio: 12 %."""
RELATIVE_SPAN = 0.1
"""The same for relative depth, as a part of the frame's range."""
SHARE = 0.12
"""Least part of the box's known depths that an object holds: below it are stray points, branches and noise."""
LEAST = 4
"""Fewer known depths than this tell nothing."""
PLENTY = 256
"""As many known depths as this tell all; a sparse map is searched whole until there are so many."""
MOST_PIXELS = 2048
"""More pixels of one box than this change nothing but the time."""


def inside(values: Floats, xyxy: npt.ArrayLike, size_wh: tuple[int, int]) -> Floats:
    """Part (h, w) of a depth map inside a box of the frame of `size_wh`, its margins left out.

    A tenth is left out at the sides and the bottom, where boxes hold background and ground.
    """
    height, width = values.shape
    x1, y1, x2, y2 = np.asarray(xyxy, np.float64) * np.tile([width / size_wh[0], height / size_wh[1]], 2)
    dx, dy = 0.1 * (x2 - x1), 0.1 * (y2 - y1)
    left, right = int(max(0, x1 + dx)), ceil(min(width, x2 - dx))
    top, bottom = int(max(0, y1)), ceil(min(height, y2 - dy))
    return values[top : max(bottom, top + 1), left : max(right, left + 1)]


def object_distance_m(values: Floats, xyxy: npt.ArrayLike, size_wh: tuple[int, int]) -> float | None:
    """Depth in metres of the object in a box, from a map of metres (h, w); NaN, 0 and less are unknown.

    None where too little is known. It is what the map measures: for most networks, along the camera's axis.
    """
    known = _known(inside(values, xyxy, size_wh), low=0.0)
    if known.size < LEAST:
        return None
    return float(np.exp(_nearest_mode(np.sort(np.log(known)), SPAN)))


def relative_range(values: Floats) -> tuple[float, float] | None:
    """The farthest and the nearest of a relative map (h, w), two percent left out at each end; None for a flat map."""
    known = _known(values, low=-np.inf)
    if known.size < LEAST:
        return None
    far, near = np.percentile(known, [2, 98]).tolist()
    return (far, near) if near > far else None


def object_nearness(
    values: Floats, xyxy: npt.ArrayLike, *, size_wh: tuple[int, int], limits: tuple[float, float]
) -> float | None:
    """Nearness of the object in a box, from a relative map (h, w) and its `relative_range`: 0 far .. 1 near."""
    far, near = limits
    known = _known(inside(values, xyxy, size_wh), low=-np.inf)
    if known.size < LEAST:
        return None
    nearest_first = np.sort((near - known) / (near - far))
    return float(np.clip(1 - _nearest_mode(nearest_first, RELATIVE_SPAN), 0.0, 1.0))


def _known(part: Floats, *, low: float) -> Floats:
    """The finite values above `low` of a part of a map, of every n-th pixel where there are many."""
    # An odd step meets all rows of a map whose unknown ones alternate.
    step = int(sqrt(part.size / MOST_PIXELS)) | 1
    thinned = part[::step, ::step]
    known: Floats = thinned[np.isfinite(thinned) & (thinned > low)]
    if known.size >= PLENTY or step == 1:
        return known
    everything: Floats = part[np.isfinite(part) & (part > low)]
    return everything


def _nearest_mode(ordered: Floats, span: float) -> float:
    """Median of the first dense stretch, `span` wide, of `ordered` (n,), ascending."""
    ends = np.searchsorted(ordered, ordered + np.float32(span), side="right")
    counts = ends - np.arange(len(ordered))
    first = int(np.argmax(counts >= max(SHARE * len(ordered), LEAST)))
    # The densest start within reach of the first dense one: the stretch is centred on the object, not on its rim.
    start = first + int(np.argmax(counts[first : ends[first]]))
    stretch = ordered[start : ends[start]]
    return float(stretch[len(stretch) // 2])
