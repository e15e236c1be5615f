"""People of all sizes and clothes, who stand, walk and ride. A person faces +y; the parts hang on ten bones."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from nodes.street.mesh import Floats, Mesh, ball, box, joined, tube
from nodes.street.surfaces import CLOTHS, Surfaces

HIP_M, SHOULDER_M, HEIGHT_M = 0.93, 1.43, 1.75
THIGH_M, UPPER_ARM_M = 0.44, 0.29
PHASES, SWINGS = 90, 10
SKINS = np.array([[0.80, 0.56, 0.44], [0.66, 0.42, 0.30], [0.45, 0.27, 0.18], [0.22, 0.13, 0.09], [0.86, 0.65, 0.54]])
HAIRS = np.array([[0.03, 0.025, 0.02], [0.12, 0.06, 0.03], [0.30, 0.18, 0.08], [0.45, 0.45, 0.44], [0.55, 0.36, 0.14]])
COATS = np.array(
    [[0.62, 0.07, 0.06], [0.05, 0.12, 0.35], [0.10, 0.28, 0.14], [0.85, 0.62, 0.12], [0.06, 0.06, 0.07],
     [0.72, 0.70, 0.66], [0.34, 0.18, 0.09], [0.42, 0.20, 0.44], [0.80, 0.34, 0.10], [0.12, 0.42, 0.50],
     [0.35, 0.36, 0.38], [0.62, 0.50, 0.34]]
)  # fmt: skip
TROUSERS = np.array(
    [[0.05, 0.08, 0.17], [0.04, 0.04, 0.05], [0.28, 0.22, 0.14], [0.16, 0.16, 0.18], [0.13, 0.19, 0.32]]
)


class Bone(IntEnum):
    """Parts that move as one."""

    TRUNK, HEAD, ARM_L, ARM_R, FOREARM_L, FOREARM_R, THIGH_L, THIGH_R, SHIN_L, SHIN_R = range(10)


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A person's mesh, with each part around its own joint, and where the joints are."""

    mesh: Mesh
    scale: float
    stride_m: float
    parts: tuple[slice, ...]
    """The corners of each bone."""

    def posed(self, phase: float, *, swing: float, riding: bool = False) -> tuple[Floats, Floats]:
        """Corners and normals (n, 3) in a step's phase (radians); `swing` 0: stands, 1: walks."""
        turns, places = _joints(round(phase / (2 * np.pi) * PHASES) % PHASES, round(swing * SWINGS), riding)
        corners, normals = np.empty_like(self.mesh.corners), np.empty_like(self.mesh.normals)
        turns, places = turns.astype(np.float32), (places * self.scale).astype(np.float32)
        for bone, part in enumerate(self.parts):
            corners[part] = self.mesh.corners[part] @ (turns[bone].T * np.float32(self.scale)) + places[bone]
            normals[part] = self.mesh.normals[part] @ turns[bone].T
        return corners, normals


def _about_x(angle: float) -> npt.NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


@lru_cache(maxsize=2048)
def _joints(step: int, pace: int, riding: bool) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Rotation (10, 3, 3) and place (10, 3) of each bone, in one of `PHASES` of a step at one of `SWINGS` paces."""
    phase, swing = 2 * np.pi * step / PHASES, pace / SWINGS
    turns, places = np.zeros((10, 3, 3)), np.zeros((10, 3))
    up = 0.0 if riding else -0.025 * swing * (1 - abs(np.cos(phase)))
    lean = -0.42 if riding else -0.05 * swing
    turns[Bone.TRUNK], places[Bone.TRUNK] = _about_x(lean), (0, 0, HIP_M + up)
    trunk = turns[Bone.TRUNK]
    turns[Bone.HEAD] = _about_x(0.25 * lean)
    places[Bone.HEAD] = places[Bone.TRUNK] + trunk @ (0, 0, SHOULDER_M - HIP_M + 0.06)
    for side, arm, forearm, thigh, shin in (
        (-1, Bone.ARM_L, Bone.FOREARM_L, Bone.THIGH_L, Bone.SHIN_L),
        (1, Bone.ARM_R, Bone.FOREARM_R, Bone.THIGH_R, Bone.SHIN_R),
    ):
        wave = side * np.sin(phase)
        if riding:
            hip, knee = 0.95 + 0.42 * wave, -1.35 + 0.38 * side * np.cos(phase)
            shoulder, elbow = 0.95 + lean, 0.25
        else:
            hip = 0.46 * swing * wave
            knee = -swing * (0.12 + 0.75 * max(0.0, -side * np.cos(phase)) * (0.4 + 0.6 * (wave < 0.6)))
            shoulder, elbow = -0.42 * swing * wave, 0.12 + 0.35 * swing
        turns[thigh], places[thigh] = _about_x(hip), (side * 0.095, 0, HIP_M + up - 0.02)
        turns[shin] = turns[thigh] @ _about_x(knee)
        places[shin] = places[thigh] + turns[thigh] @ (0, 0, -THIGH_M)
        turns[arm] = _about_x(shoulder)
        places[arm] = places[Bone.TRUNK] + trunk @ (side * 0.205, 0, SHOULDER_M - HIP_M)
        turns[forearm] = turns[arm] @ _about_x(elbow)
        places[forearm] = places[arm] + turns[arm] @ (0, 0, -UPPER_ARM_M)
    return turns, places


def person(rng: np.random.Generator, surfaces: Surfaces, *, coat: npt.ArrayLike | None = None) -> Body:
    """A person drawn by lot; `coat`: linear colour of the clothes above, if that matters."""
    skin, hair = SKINS[rng.integers(len(SKINS))], HAIRS[rng.integers(len(HAIRS))]
    above = np.asarray(COATS[rng.integers(len(COATS))] if coat is None else coat) * rng.uniform(0.8, 1.15)
    below, shoe = TROUSERS[rng.integers(len(TROUSERS))], np.array([0.03, 0.03, 0.035]) if rng.random() < 0.7 else above
    cloth, smooth, stout = surfaces[f"cloth {rng.integers(CLOTHS)}"], surfaces["plain"], rng.uniform(0.92, 1.18)
    face = surfaces["skin"]
    tall = rng.uniform(0.90, 1.06)
    trunk = [
        tube([(0, 0, z) for z in (-0.10, 0.0, 0.14, 0.32, 0.44, 0.52, 0.555)],
             np.array([0.155, 0.172, 0.158, 0.176, 0.188, 0.15, 0.06]) * stout, sides=14, flat=(1.05, 0.66),
             colour=above, material=cloth, tile_m=0.5),
        tube([(0, 0, 0.53), (0, 0.008, 0.62)], [0.055, 0.05], sides=8, colour=skin, material=face),
    ]  # fmt: skip
    style = rng.random()
    if style < 0.22:  # a long coat
        trunk.append(tube([(0, 0, 0.05), (0, 0, -0.2), (0, 0, -0.42)], np.array([0.17, 0.19, 0.215]) * stout, sides=14,
                          flat=(1.05, 0.72), colour=above, material=cloth, tile_m=0.5))  # fmt: skip
    elif style < 0.36:  # a skirt
        trunk.append(tube([(0, 0, 0.02), (0, 0, -0.2), (0, 0, -0.46)], np.array([0.165, 0.2, 0.25]) * stout, sides=14,
                          flat=(1.0, 0.8), colour=COATS[rng.integers(len(COATS))], material=cloth))  # fmt: skip
    load = rng.random()
    if load < 0.25:  # a rucksack
        bag = COATS[rng.integers(len(COATS))]
        trunk.append(ball((0, -0.17, 0.30), (0.15, 0.09, 0.21), cells=(10, 8), colour=bag, material=smooth))
    elif load < 0.45:  # a bag at the side
        bag = COATS[rng.integers(len(COATS))] * 0.6
        trunk.append(box((0.25 * stout, 0, -0.12), (0.09, 0.28, 0.2), colour=bag, material=smooth, open_bottom=False))
    head = [
        ball((0, 0.015, 0.155), (0.078, 0.094, 0.118), cells=(12, 9), colour=skin, material=face),
        ball((0, 0.115, 0.145), (0.014, 0.02, 0.02), cells=(6, 4), colour=skin * 0.95, material=face),
        ball((0, -0.012, 0.185), (0.086, 0.098, 0.105), cells=(12, 8), colour=hair, material=smooth),
    ]
    for side in (-1, 1):
        head.append(ball((side * 0.03, 0.098, 0.165), (0.012, 0.008, 0.008), cells=(6, 4), colour=(0.02, 0.02, 0.02)))
    if rng.random() < 0.35:  # long hair
        head.append(ball((0, -0.05, 0.10), (0.09, 0.07, 0.15), cells=(10, 7), colour=hair, material=smooth))
    elif rng.random() < 0.25:  # a cap
        hat = COATS[rng.integers(len(COATS))]
        head.append(ball((0, 0.0, 0.225), (0.095, 0.108, 0.07), cells=(12, 6), colour=hat, material=smooth))
        head.append(ball((0, 0.11, 0.215), (0.07, 0.06, 0.012), cells=(10, 4), colour=hat, material=smooth))
    parts = [joined(trunk).of_bone(Bone.TRUNK), joined(head).of_bone(Bone.HEAD)]
    for arm, forearm, thigh, shin in (
        (Bone.ARM_L, Bone.FOREARM_L, Bone.THIGH_L, Bone.SHIN_L),
        (Bone.ARM_R, Bone.FOREARM_R, Bone.THIGH_R, Bone.SHIN_R),
    ):
        parts += [
            tube([(0, 0, 0.045), (0, 0, 0.0), (0, 0, -UPPER_ARM_M - 0.02)], np.array([0.03, 0.062, 0.05]) * stout,
                 sides=8, colour=above, material=cloth, tile_m=0.5).of_bone(arm),
            joined([
                tube([(0, 0, 0.03), (0, 0, -0.22)], np.array([0.05, 0.038]) * stout, sides=8, colour=above,
                     material=cloth, tile_m=0.5),
                ball((0, 0.01, -0.27), (0.028, 0.042, 0.062), cells=(8, 6), colour=skin, material=face),
            ]).of_bone(forearm),
            tube([(0, 0, 0.06), (0, 0, -0.15), (0, 0, -THIGH_M - 0.03)], np.array([0.085, 0.083, 0.06]) * stout,
                 sides=9, colour=below, material=cloth).of_bone(thigh),
            joined([
                tube([(0, 0, 0.04), (0, 0, -0.13), (0, 0, -0.43)], np.array([0.058, 0.06, 0.046]) * stout, sides=9,
                     colour=below, material=cloth),
                ball((0, 0.055, -0.435), (0.047, 0.13, 0.045), cells=(9, 6), colour=shoe, material=smooth),
            ]).of_bone(shin),
        ]  # fmt: skip
    parts.sort(key=lambda part: int(part.bones[0]))
    ends = np.cumsum([0, *(len(part.corners) for part in parts)])
    slices = tuple(slice(int(a), int(b)) for a, b in pairwise(ends))
    return Body(joined(parts), tall, 1.42 * tall, slices)
