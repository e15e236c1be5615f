"""Where a box will be: a filter of constant velocity in centre and size. Knows no class and no picture.

Velocities are per second of capture time, so that frames which were dropped do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SEEN_NOISE, PUSH = 0.05, 0.8
"""As parts of the box's longer side: error of a box that was seen, and how much its velocity changes in a second."""
FIRST_SPEED = 1.0
"""Of a new box it is only known that it moves no faster than about its own longer side in a second."""


@dataclass(slots=True)
class Motion:
    """A box that moves: a Kalman filter whose four coordinates share one covariance."""

    box: Floats
    """(4,) pixels: x and y of the centre, width, height."""
    at_ns: int
    velocity: Floats
    """(4,) pixels a second."""
    spread: Floats
    """(2, 2) covariance of place and velocity, in units of the box's longer side."""

    @classmethod
    def begin(cls, xyxy: npt.ArrayLike, at_ns: int) -> Motion:
        """A box that was seen for the first time, (4,) left, top, right, bottom."""
        return cls(centred(xyxy), at_ns, np.zeros(4), np.diag([SEEN_NOISE**2, FIRST_SPEED**2]))

    def advance(self, at_ns: int) -> None:
        """Move it to where it should be at a later capture."""
        dt = (at_ns - self.at_ns) / 1e9
        self.at_ns = at_ns
        self.box = self.box + dt * self.velocity
        self.box[2:] = np.maximum(self.box[2:], 1.0)
        step = np.array([[1.0, dt], [0.0, 1.0]])
        push = np.array([dt**2 / 2, dt])
        # Pushes add up like a random walk: with the root of the time, however many frames it is cut into.
        self.spread = step @ self.spread @ step.T + PUSH**2 * np.outer(push, push) / max(dt, 1e-3)

    def see(self, xyxy: npt.ArrayLike) -> None:
        """Correct it by the box (4,) that was seen at its time."""
        gain = self.spread[:, 0] / (self.spread[0, 0] + SEEN_NOISE**2)
        missed = centred(xyxy) - self.box
        self.box, self.velocity = self.box + gain[0] * missed, self.velocity + gain[1] * missed
        self.spread = self.spread - np.outer(gain, self.spread[0])

    @property
    def xyxy(self) -> Floats:
        """(4,) left, top, right, bottom."""
        half = self.box[2:] / 2
        return np.concatenate([self.box[:2] - half, self.box[:2] + half])


def centred(xyxy: npt.ArrayLike) -> Floats:
    """(4,) centre, width and height of a box given by its edges."""
    low, high = np.asarray(xyxy, np.float64).reshape(2, 2)
    return np.concatenate([(low + high) / 2, high - low])
