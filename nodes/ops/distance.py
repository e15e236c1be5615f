"""How far an object is, from the depth inside its box, so that the background does not win.

A box always holds some of what is behind the object, often more of that than of the object; a median then reads the
background. The object is the nearest depth that holds a good part of the box.
"""

from __future__ import annotations

from math import log

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

SPAN = log(1.12)
"""Extent in depth that one object may have inside its box, as a ratio: 12 %."""
SHARE = 0.12
"""Least part of the box's known depths that an object holds: below it are stray points, branches and noise."""
LEAST = 4
"""Fewer known depths than this tell nothing."""
MOST = 4096
"""More samples than this change nothing but the time."""


def inside(values: Floats, xyxy: npt.ArrayLike, size_wh: tuple[int, int]) -> Floats:
    """Part (h, w) of a depth map inside a box of the frame of `size_wh`, its margins left out.

    A tenth is left out at the sides and the bottom, where boxes hold background and ground.
    """
    height, width = values.shape
    x1, y1, x2, y2 = np.asarray(xyxy, np.float64) * np.tile([width / size_wh[0], height / size_wh[1]], 2)
    dx, dy = 0.1 * (x2 - x1), 0.1 * (y2 - y1)
    left, right = int(max(0, x1 + dx)), int(np.ceil(min(width, x2 - dx)))
    top, bottom = int(max(0, y1)), int(np.ceil(min(height, y2 - dy)))
    return values[top : max(bottom, top + 1), left : max(right, left + 1)]


def object_distance_m(values: Floats, xyxy: npt.ArrayLike, size_wh: tuple[int, int]) -> float | None:
    """Distance in metres of the object in a box, from a map of metres (h, w); NaN and 0 are unknown.

    None where too little is known.
    """
    part = inside(values, xyxy, size_wh)
    known = part[np.isfinite(part) & (part > 0)]
    if known.size < LEAST:
        return None
    return float(np.exp(_nearest_mode(np.sort(np.log(_thinned(known))), SPAN)))


def object_nearness(values: Floats, xyxy: npt.ArrayLike, size_wh: tuple[int, int]) -> float | None:
    """Nearness of the object in a box, 0 (the farthest of the frame) .. 1 (the nearest), from a relative map (h, w)."""
    low, high = np.nanpercentile(values[::4, ::4], [2, 98])
    part = inside(values, xyxy, size_wh)
    known = part[np.isfinite(part)]
    if known.size < LEAST or not high > low:
        return None
    nearest_first = np.sort(-(_thinned(known) - low) / (high - low))
    return float(np.clip(-_nearest_mode(nearest_first, 0.1), 0.0, 1.0))


def _thinned(known: Floats) -> Floats:
    """At most about `MOST` of the known depths; thinned after the unknown ones are gone, which may lie in rows."""
    return known[:: max(1, known.size // MOST)]


def _nearest_mode(ordered: Floats, span: float) -> float:
    """Median of the first dense stretch, `span` wide, of `ordered` (n,), ascending."""
    ends = np.searchsorted(ordered, ordered + span, side="right")
    counts = ends - np.arange(len(ordered))
    enough = max(SHARE * len(ordered), min(LEAST, len(ordered)))
    first = int(np.argmax(counts >= enough))
    # The densest start within reach of the first dense one: the stretch is centred on the object, not on its rim.
    start = first + int(np.argmax(counts[first : ends[first]]))
    return float(np.median(ordered[start : ends[start]]))
