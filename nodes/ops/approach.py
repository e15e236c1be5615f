"""When something will touch the wearer, from where it was over the last second. Knows neither pixels nor classes.

Places are as the wearer sees them: metres to the right and ahead, along the ground. They hold the wearer's own motion,
so what stands is approached as well. A turn of the head looks like a motion to the side; near by it is a small one.
"""

from __future__ import annotations

from collections import deque
from functools import cache
from math import atan2, cos, degrees, hypot, inf, radians, sin
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WINDOW_NS, LEAST_NS = 1_000_000_000, 600_000_000
"""Over how long places are remembered, and over how long they must be known to tell a motion."""
LEAST_PLACES, MOST_PLACES = 4, 30
LEAST_SPEED = 0.3
"""Metres a second: what comes nearer more slowly does not count as coming."""
SURE = 2.0
"""By so many times its own uncertainty the speed must differ from none."""
STEADY = 0.06
"""Three of four places must lie as near to a straight way, as a part of the distance: what jumps is not one thing."""
ASIDE_DEG, FAST = 25.0, 2.0
"""Beyond this bearing only what comes faster than anybody walks can hit who walks on: the rest is on its way past."""
BODY_M = 0.3
"""From the middle of the wearer's body to its front."""


class Place(NamedTuple):
    """Where something was: its edges as they are seen, both as far away as its near side."""

    at_ns: int
    left: tuple[float, float]
    """Metres to the right and ahead."""
    right: tuple[float, float]


class Approach:
    """Where the things with a number were lately."""

    def __init__(self) -> None:
        self.places: dict[int, deque[Place]] = {}

    def note(self, track_id: int, at_ns: int, *, distance_m: float, edges_deg: tuple[float, float]) -> None:
        """Remember where one of them is, by its distance and the bearings of its edges."""
        left, right = ((distance_m * sin(turn), distance_m * cos(turn)) for turn in map(radians, edges_deg))
        self.places.setdefault(track_id, deque(maxlen=MOST_PLACES)).append(Place(at_ns, left, right))

    def forget(self, now_ns: int) -> None:
        """Leave out what is older than a second."""
        for track_id, kept in list(self.places.items()):
            while kept and now_ns - kept[0].at_ns > WINDOW_NS:
                kept.popleft()
            if not kept:
                del self.places[track_id]

    def ttc_s(self, track_id: int, now_ns: int, *, half_width_m: float) -> float:
        """Seconds until it touches the wearer, if both go on as they do.

        inf where it does not come nearer, passes by farther than `half_width_m`, or nothing is sure.
        """
        kept = self.places.get(track_id)
        if kept is None or len(kept) < LEAST_PLACES or kept[-1].at_ns - kept[0].at_ns < LEAST_NS:
            return inf
        times = np.array([(place.at_ns - now_ns) / 1e9 for place in kept])
        edges = np.array([(*place.left, *place.right) for place in kept])
        (lx, ly, rx, ry), (lvx, lvy, rvx, rvy), error = _line(times, edges)
        middle, onwards = ((lx + rx) / 2, (ly + ry) / 2), ((lvx + rvx) / 2, (lvy + rvy) / 2)
        distance, speed = hypot(*middle), hypot(*onwards)
        nearest_s, _ = nearest_pass(middle, onwards)
        closing = nearest_s * speed**2 / distance if speed and distance else 0.0
        unsure = error / (float(times.std()) * len(times) ** 0.5)
        if closing < max(LEAST_SPEED, SURE * unsure) or error > STEADY * max(distance, 1.0):
            return inf
        if closing < FAST and abs(degrees(atan2(*middle))) > ASIDE_DEG:
            return inf
        # The edges have motions of their own: what is long and passes by keeps its middle at one bearing for a while,
        # and so does an edge that the picture cuts off.
        _, left_m = nearest_pass((lx, ly), (lvx, lvy))
        _, right_m = nearest_pass((rx, ry), (rvx, rvy))
        if left_m > half_width_m or right_m < -half_width_m:
            return inf
        return max(0.0, nearest_s - BODY_M / speed)


def nearest_pass(place: tuple[float, float], velocity: tuple[float, float]) -> tuple[float, float]:
    """Seconds until something at `place` (2,) is nearest to the wearer, and how far to the side it is then, in metres.

    To the side: seen along its own way, positive where it has the wearer on its right. Negative seconds where it
    recedes; what does not move stays as far as it is, forever.
    """
    (right, ahead), (to_right, onwards) = place, velocity
    speed = hypot(to_right, onwards)
    if speed < 1e-6:
        return inf, hypot(right, ahead)
    seconds = -(right * to_right + ahead * onwards) / speed**2
    return seconds, (ahead * to_right - right * onwards) / speed


def _line(times: Floats, places: Floats) -> tuple[list[float], list[float], float]:
    """Place (k,) at time 0, velocity (k,) and how far three of four places lie from it, of places (n, k) at `times`.

    The velocity is the median of the slopes between pairs (Theil and Sen): of four places one may be entirely wrong.
    """
    first, second = _pairs(len(times))
    # Between neighbours the noise is all: only pairs that lie a third of the time apart tell a slope.
    apart = times[second] - times[first] >= (times[-1] - times[0]) / 3
    first, second = first[apart], second[apart]
    velocity = _median((places[second] - places[first]) / (times[second] - times[first])[:, None])
    level = places - times[:, None] * velocity
    at_zero = _median(level)
    missed = np.sort(np.abs(level - at_zero), axis=0)[3 * len(times) // 4]
    return at_zero.tolist(), velocity.tolist(), float(missed.max())


def _median(values: Floats) -> Floats:
    """Medians (k,) of the columns of (n, k): numpy's own takes ten times as long on so few."""
    ordered, n = np.sort(values, axis=0), len(values)
    median: Floats = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    return median


@cache
def _pairs(n: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """All pairs of n things: the first of each, and the second."""
    first, second = np.triu_indices(n, 1)
    return first, second
