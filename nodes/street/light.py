"""The light of a scene: sun, sky, lamps, haze, and how the camera exposes for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nodes.street import textures
from nodes.street.scene import Scene
from nodes.street.shade import TONES


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """What the kernels need to know of the light."""

    to_sun: npt.NDArray[np.float64]
    """(3,) unit vector."""
    sun: npt.NDArray[np.float64]
    """(3,) its linear light; zero where it does not shine."""
    ambient: npt.NDArray[np.float64]
    haze: npt.NDArray[np.float64]
    haze_per_m: float
    sky: npt.NDArray[np.float32]
    exposure: float
    exposure_s: float
    """For how long the shutter is open: what moves is blurred by it."""
    grain: float
    """Deviation of the sensor's noise, in levels of 255."""
    wet: float
    night: float

    def packed(self, footprint: float, ground_at: npt.ArrayLike, ground_scale: float) -> npt.NDArray[np.float32]:
        """The numbers of `shade`, in its order."""
        x, y = np.asarray(ground_at, float)
        lamps, glow = 34.0 * self.night, self.night
        return np.array(
            [self.haze_per_m, self.wet, self.exposure, footprint, *self.haze, *self.ambient, x, y,
             ground_scale, lamps, glow + 0.02],
            np.float32,
        )  # fmt: skip


def light(scene: Scene) -> Light:
    """The light of a scene; the hour of the day is drawn by lot from its seed."""
    rng = np.random.default_rng([scene.seed, 4])
    # From ahead of the wearer's left or from behind, high enough to reach the right-hand pavement.
    azimuth, height = np.radians(rng.choice([-55, -35, -110, -145]) + rng.normal(0, 8)), np.radians(rng.uniform(32, 56))
    to_sun = np.array([np.sin(azimuth) * np.cos(height), np.cos(azimuth) * np.cos(height), np.sin(height)])
    night, clouds = scene.night, scene.clouds
    warm = np.clip((np.radians(56) - height) / np.radians(24), 0, 1)
    shine = (1 - night) * max(0.0, 1 - 1.25 * clouds) ** 0.7
    sun = np.array([3.3, 2.95 - 0.25 * warm, 2.45 - 0.5 * warm]) * shine
    sky = textures.sky(rng, sun=to_sun.tolist(), night=night, cover=clouds)
    ambient = np.array([0.58, 0.68, 0.86]) * (1 - 0.35 * clouds) + np.array([0.30, 0.28, 0.22]) * clouds
    ambient = ambient * (1 - night) + np.array([0.016, 0.019, 0.032]) * night
    haze = (np.array([0.66, 0.74, 0.84]) * (1 - 0.2 * clouds)) * (1 - night) + np.array([0.03, 0.026, 0.024]) * night
    bright = 0.80 if shine > 0.3 else 1.15
    return Light(
        to_sun,
        sun,
        ambient,
        haze,
        0.0016 + 0.003 * scene.rain + 0.002 * clouds,
        sky,
        exposure=bright * (1 - night) + 2.6 * night,
        exposure_s=0.006 + 0.006 * clouds + 0.016 * night,
        grain=1.6 + 1.2 * clouds + 5.5 * night,
        wet=scene.rain,
        night=night,
    )


def tones() -> npt.NDArray[np.uint8]:
    """The camera's curve from light (by the root of it) to a byte: a toe, a shoulder, then gamma.

    The curve is K. Narkowicz's fit of the ACES film curve.
    """
    x = (2 * np.arange(TONES) / TONES) ** 2
    curve = np.clip(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), 0, 1)
    return np.asarray(255 * curve ** (1 / 2.2) + 0.5, np.uint8)


def linear() -> npt.NDArray[np.float32]:
    """Linear light of a byte of a texture."""
    return np.asarray((np.arange(256) / 255.0) ** 2.2, np.float32)
