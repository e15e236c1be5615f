"""Fisheye lenses: Kannala-Brandt as OpenCV has it, and Fisheye624 of the Aria glasses. Newton's method inverts them.

The lens bends a ray at the angle theta from the optical axis to the radius
r(theta) = theta (1 + k0 theta^2 + k1 theta^4 + ...), in focal lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import pi

import numpy as np
import numpy.typing as npt

from nodes.ops.camera import Points, numbers, whole_pair

MAX_STEPS = 12
"""Newton converges with the square: four steps do, more are for pixels near the edge of what the lens sees."""
TOLERANCE = 1e-9
"""In focal lengths: a millionth of a pixel."""


@dataclass(frozen=True, slots=True)
class KannalaBrandt:
    """OpenCV's fisheye model with four parameters (J. Kannala, S. Brandt, PAMI 2006; `cv2.fisheye`)."""

    size_wh: tuple[int, int]
    fx: float
    fy: float
    cx: float
    cy: float
    k: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_wh", whole_pair("KannalaBrandt.size_wh", self.size_wh))
        object.__setattr__(self, "k", numbers("KannalaBrandt.k", self.k, 4))

    def unproject(self, xy: npt.ArrayLike) -> Points:
        """See `Camera.unproject`."""
        xy = np.asarray(xy, np.float64).reshape(-1, 2)
        return _rays((xy - (self.cx, self.cy)) / (self.fx, self.fy), self.k)

    def project(self, points: npt.ArrayLike) -> Points:
        """See `Camera.project`."""
        pixels: Points = _bend(points, self.k) * (self.fx, self.fy) + (self.cx, self.cy)
        return pixels


@dataclass(frozen=True, slots=True)
class Fisheye624:
    """Lens of the Aria cameras: six radial, two tangential and four thin prism parameters.

    Formula: `FisheyeRadTanThinPrism` in projectaria_tools; the parameters stand in its order.
    """

    size_wh: tuple[int, int]
    f: float
    cx: float
    cy: float
    k: tuple[float, ...]
    p: tuple[float, ...] = (0.0, 0.0)
    s: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    valid_radius_px: float | None = None
    """Outside of this circle around the centre the lens shows nothing."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_wh", whole_pair("Fisheye624.size_wh", self.size_wh))
        for name, count in (("k", 6), ("p", 2), ("s", 4)):
            object.__setattr__(self, name, numbers(f"Fisheye624.{name}", getattr(self, name), count))

    def unproject(self, xy: npt.ArrayLike) -> Points:
        """See `Camera.unproject`."""
        distorted = (self._seen(np.asarray(xy, np.float64).reshape(-1, 2)) - (self.cx, self.cy)) / self.f
        radial = distorted.copy()
        for _ in range(MAX_STEPS):
            error = self._distort(radial) - distorted
            if not (np.abs(error) > TOLERANCE).any():
                break
            radial -= _solve(self._jacobian(radial), error)
        else:
            radial[np.abs(self._distort(radial) - distorted).max(axis=1) > TOLERANCE] = np.nan
        return _rays(radial, self.k)

    def project(self, points: npt.ArrayLike) -> Points:
        """See `Camera.project`."""
        return self._seen(self._distort(_bend(points, self.k)) * self.f + (self.cx, self.cy))

    def _seen(self, xy: Points) -> Points:
        """Pixels with NaN for those outside of the valid circle."""
        if self.valid_radius_px is None:
            return xy
        outside = np.hypot(xy[:, 0] - self.cx, xy[:, 1] - self.cy) > self.valid_radius_px
        return np.where(outside[:, None], np.nan, xy)

    def _distort(self, radial: Points) -> Points:
        """Tangential and thin prism distortion of points (n, 2), in focal lengths."""
        p, s = np.asarray(self.p), np.asarray(self.s).reshape(2, 2)
        square = (radial**2).sum(axis=1, keepdims=True)
        tangential = radial + 2 * (radial @ p)[:, None] * radial + square * p
        distorted: Points = tangential + square * s[:, 0] + square**2 * s[:, 1]
        return distorted

    def _jacobian(self, radial: Points) -> npt.NDArray[np.float64]:
        """Derivative (n, 2, 2) of `_distort`."""
        p, s = np.asarray(self.p), np.asarray(self.s).reshape(2, 2)
        square = (radial**2).sum(axis=1)[:, None]
        along = 2 * (radial @ p)[:, None, None] * np.eye(2) + np.eye(2)
        across = 2 * radial[:, :, None] * p + 2 * p[:, None] * radial[:, None, :]
        prism = (2 * s[:, 0] + 4 * square * s[:, 1])[:, :, None] * radial[:, None, :]
        jacobian: npt.NDArray[np.float64] = along + across + prism
        return jacobian


def _solve(jacobian: npt.NDArray[np.float64], residual: Points) -> Points:
    """Solution (n, 2) of n systems of two equations, by Cramer's rule; NaN and singular ones pass through."""
    (a, b), (c, d) = jacobian[:, 0].T, jacobian[:, 1].T
    x, y = residual.T
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        solution: Points = np.column_stack([d * x - b * y, a * y - c * x]) / (a * d - b * c)[:, None]
    return solution


def _radius(theta: npt.NDArray[np.float64], k: tuple[float, ...]) -> npt.NDArray[np.float64]:
    return _polynomial(theta * theta, (1.0, *k)) * theta


def _slope(theta: npt.NDArray[np.float64], k: tuple[float, ...]) -> npt.NDArray[np.float64]:
    return _polynomial(theta * theta, _slope_terms(k))


def _slope_terms(k: tuple[float, ...]) -> tuple[float, ...]:
    """Coefficients of dr/dtheta as a polynomial in theta^2."""
    return tuple((2 * i + 1) * term for i, term in enumerate((1.0, *k)))


def _polynomial(x: npt.NDArray[np.float64], terms: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """terms[0] + terms[1] x + ..., by Horner's rule."""
    value = np.full_like(x, terms[-1])
    for term in terms[-2::-1]:
        value *= x
        value += term
    return value


@lru_cache(maxsize=16)
def _last_theta(k: tuple[float, ...]) -> float:
    """The angle up to which the radius grows: beyond it two rays would share a pixel."""
    roots = np.polynomial.polynomial.polyroots(np.trim_zeros(_slope_terms(k), "b"))
    turns = [float(root.real) for root in roots if abs(root.imag) < 1e-9 and root.real > 0]
    return float(min([pi, *(turn**0.5 for turn in turns)]))


def _bend(points: npt.ArrayLike, k: tuple[float, ...]) -> Points:
    """Where points (n, 3) appear behind the lens, (n, 2) in focal lengths from the centre; NaN where they do not."""
    x, y, z = np.asarray(points, np.float64).reshape(-1, 3).T
    from_axis = np.hypot(x, y)
    theta = np.arctan2(from_axis, z)
    radius = np.where(theta < _last_theta(k), _radius(theta, k), np.nan)
    factor = np.divide(radius, from_axis, out=np.where(z > 0, 0.0, np.nan), where=from_axis > 0)
    return np.column_stack([x * factor, y * factor])


def _rays(radial: Points, k: tuple[float, ...]) -> Points:
    """Unit rays (n, 3) of points (n, 2) behind the lens, the inverse of `_bend`; NaN where there is none."""
    radius = np.hypot(radial[:, 0], radial[:, 1])
    last = _last_theta(k)
    theta = np.minimum(radius, last)
    for _ in range(MAX_STEPS):
        error = _radius(theta, k) - radius
        if not (np.abs(error) > TOLERANCE).any():
            break
        with np.errstate(divide="ignore", invalid="ignore"):
            theta = np.clip(theta - error / _slope(theta, k), 0.0, last)
    theta[~(np.abs(_radius(theta, k) - radius) <= TOLERANCE)] = np.nan
    direction = np.divide(radial, radius[:, None], out=np.zeros_like(radial), where=radius[:, None] > 0)
    return np.column_stack([direction * np.sin(theta)[:, None], np.cos(theta)])
