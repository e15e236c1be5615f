"""The materials of the street: which texture, how shiny, what shines by itself. One table for all scenes of a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nodes.street import textures as paint

CUTOUT, TWO_SIDED = 1, 2
"""Flags of a material: its texture has holes; it is seen from behind, too."""
STOREYS, GROUND_FLOORS, DOORS, CLOTHS = 6, 7, 3, 3
"""How many different ones there are; colours make more of them."""
VARIETY = 4
"""Sets of textures: a scene's seed chooses one."""


@dataclass(frozen=True, slots=True, eq=False)
class Surfaces:
    """Textures and materials as the kernels want them."""

    texels: npt.NDArray[np.uint8]
    table: npt.NDArray[np.int32]
    kinds: npt.NDArray[np.float32]
    """(k, 6): texture, texels a metre, gloss, own light, translucency, glass."""
    flags: npt.NDArray[np.uint8]
    """(k,) CUTOUT, TWO_SIDED."""
    index: dict[str, int]

    def __getitem__(self, name: str) -> int:
        return self.index[name]


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    image: paint.Image | None = None
    width_m: float = 1.0
    gloss: float = 0.0
    glow: float = 0.0
    translucent: float = 0.0
    glass: float = 0.0
    flags: int = 0


def _kinds(seed: int) -> Iterator[_Kind]:
    def rng(i: int) -> np.random.Generator:
        return np.random.default_rng([seed, i])

    yield _Kind("plain")
    yield _Kind("paint", gloss=0.55)
    yield _Kind("metal", gloss=0.25)
    yield _Kind("dark glass", gloss=0.95)
    yield _Kind("rubber", gloss=0.03)
    yield _Kind("lamp", glow=6.0)
    yield _Kind("sheet", flags=TWO_SIDED)
    yield _Kind("skin", translucent=0.12)
    yield _Kind("asphalt", paint.asphalt(rng(1)), 4.0)
    yield _Kind("paving", paint.paving(rng(2)), 2.0)
    yield _Kind("granite", paint.granite(rng(3)), 1.0)
    yield _Kind("plaster", paint.plaster(rng(4)), 2.0)
    yield _Kind("bark", paint.bark(rng(5)), 1.0)
    yield _Kind("planks", paint.planks(rng(6)), 1.0)
    yield _Kind("leaves", paint.leaves(rng(7)), 1.0, translucent=0.55, flags=CUTOUT | TWO_SIDED)
    for i in range(CLOTHS):
        yield _Kind(f"cloth {i}", paint.cloth(rng(10 + i), i), 0.5)
    for i in range(DOORS):
        yield _Kind(f"door {i}", paint.door(rng(20 + i)), 1.0, glass=0.8, gloss=0.06)
    for i in range(STOREYS):
        yield _Kind(f"storeys {i}", paint.storeys(rng(30 + i)), 8.0, glass=1.0)
    for i in range(GROUND_FLOORS):
        yield _Kind(f"ground floor {i}", paint.ground_floor(rng(50 + i)), 8.0, glass=1.3)


@lru_cache(maxsize=VARIETY)
def surfaces(variety: int) -> Surfaces:
    """One of `VARIETY` sets of materials."""
    kinds = list(_kinds(variety % VARIETY))
    images = [k.image for k in kinds if k.image is not None]
    texels, table = paint.pack(images)
    rows, flags, at = [], [], 0
    for k in kinds:
        density = 0.0 if k.image is None else k.image.shape[1] / k.width_m
        rows.append([-1 if k.image is None else at, density, k.gloss, k.glow, k.translucent, k.glass])
        flags.append(k.flags)
        at += k.image is not None
    index = {k.name: i for i, k in enumerate(kinds)}
    return Surfaces(texels, table, np.array(rows, np.float32), np.array(flags, np.uint8), index)
