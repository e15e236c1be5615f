"""How bodies move: along a path at an even pace, and the wearer's head with each step. Exact at any moment."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import atan2, hypot

import numpy as np
import numpy.typing as npt

from nodes.street.city import ground_z
from nodes.street.rig import turn
from nodes.street.scene import Path3, Scene

EYE_M = 1.62
STRIDE_M = 1.44
TO_WORLD = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""A level camera that looks along the street, in world axes."""
GRAVITY = np.array([0.0, 0.0, -9.81])


class Track:
    """A path as a function of time. Before its first and after its last place it stands."""

    def __init__(self, path: Path3) -> None:
        self.times, self.xs, self.ys = ([float(place[i]) for place in path] for i in range(3))
        steps = (hypot(b[1] - a[1], b[2] - a[2]) for a, b in pairwise(path))
        self.lengths = list(accumulate(steps, initial=0.0))

    def _at(self, t: float, values: Sequence[float]) -> float:
        """One of the path's quantities at time `t`."""
        i = bisect_right(self.times, t)
        if i == 0 or i == len(self.times):
            return values[max(i - 1, 0)]
        share = (t - self.times[i - 1]) / (self.times[i] - self.times[i - 1])
        return float(values[i - 1] + share * (values[i] - values[i - 1]))

    def place(self, t: float) -> npt.NDArray[np.float64]:
        """(2,) metres."""
        return np.array([self._at(t, self.xs), self._at(t, self.ys)])

    def velocity(self, t: float, *, over_s: float = 0.1) -> npt.NDArray[np.float64]:
        """(2,) m/s, a mean over a short time, so that corners are round."""
        velocity: npt.NDArray[np.float64] = (self.place(t + over_s / 2) - self.place(t - over_s / 2)) / over_s
        return velocity

    def gone_m(self, t: float) -> float:
        """Metres walked since the beginning."""
        return self._at(t, self.lengths)

    def heading(self, t: float) -> float:
        """Radians to the right of +y. Who stands looks where they came from going, or will go."""
        way = self.velocity(t, over_s=0.8)
        x, y = float(way[0]), float(way[1])
        if hypot(x, y) < 0.05:
            moves = [i for i, (a, b) in enumerate(pairwise(self.lengths)) if b - a > 1e-6]
            before = [i for i in moves if self.times[i] < t]
            if moves:
                i = before[-1] if before else moves[0]
                x, y = self.xs[i + 1] - self.xs[i], self.ys[i + 1] - self.ys[i]
        return atan2(x, y)


@dataclass(frozen=True, slots=True, eq=False)
class HeadPose:
    """Where the head is and where it looks."""

    position: npt.NDArray[np.float64]
    """(3,) metres, world."""
    rotation: npt.NDArray[np.float64]
    """(3, 3): from the head's coordinates (x right, y down, z forward) to the world's."""
    heading: float
    """Radians to the right of +y, of the direction in which it looks."""
    velocity: npt.NDArray[np.float64]
    """(2,) m/s, of the body along the ground."""


class Wearer:
    """The wearer of the glasses, with the bob of each step and slow looks to the sides."""

    def __init__(self, scene: Scene) -> None:
        self.track, self.sway = Track(scene.walk), scene.sway
        self.phases = np.random.default_rng([scene.seed, 3]).uniform(0, 2 * np.pi, 6)

    def pose(self, t: float) -> HeadPose:
        """The head at time `t`."""
        place, velocity = self.track.place(t), self.track.velocity(t)
        step = 2 * np.pi * self.track.gone_m(t) / STRIDE_M
        pace = self.sway * min(float(np.hypot(*velocity)) / 1.3, 1.3)
        a, b, c, d, e, f = self.phases
        look = self.sway * np.radians(4.0 * np.sin(0.53 * t + a) + 2.2 * np.sin(1.31 * t + b))
        yaw = self.track.heading(t) + float(look) + pace * np.radians(0.7) * np.sin(step + c)
        pitch = self.sway * np.radians(1.1 * np.sin(0.41 * t + d)) + pace * np.radians(0.75) * np.sin(2 * step + e)
        roll = self.sway * np.radians(0.8 * np.sin(0.37 * t + f)) + pace * np.radians(0.65) * np.sin(step)
        ahead = np.array([np.sin(yaw), np.cos(yaw)])
        ground = np.mean([ground_z(place[0], place[1] + d) for d in np.linspace(-0.2, 0.2, 9)])
        side = pace * 0.018 * np.sin(step)
        position = np.array(
            [
                place[0] + side * ahead[1],
                place[1] - side * ahead[0],
                ground + EYE_M + pace * 0.022 * np.sin(2 * step + 0.6),
            ]
        )
        return HeadPose(position, TO_WORLD @ turn(yaw, float(pitch), float(roll)), yaw, velocity)

    def turning(self, t: float, *, over_s: float = 0.004) -> npt.NDArray[np.float64]:
        """(3,) rad/s of the head about its own axes."""
        before, after = self.pose(t - over_s / 2), self.pose(t + over_s / 2)
        change = before.rotation.T @ after.rotation
        return np.array([change[2, 1] - change[1, 2], change[0, 2] - change[2, 0], change[1, 0] - change[0, 1]]) / (
            2 * over_s
        )

    def felt(self, t: float, *, over_s: float = 0.02) -> npt.NDArray[np.float64]:
        """(3,) m/s^2 that an accelerometer on the head feels."""
        before, here, after = (self.pose(t + s * over_s) for s in (-1, 0, 1))
        acceleration = (before.position - 2 * here.position + after.position) / over_s**2
        felt: npt.NDArray[np.float64] = here.rotation.T @ (acceleration - GRAVITY)
        return felt
