"""The street that stands still: ground, houses, trees, furniture, parked cars. Drawn by lot from a seed.

The wearer walks along +y on the right-hand pavement, whose axis is x = 0. Pavements are at z = 0, roads 12 cm lower.
Every 50 metres a side road crosses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import pi, radians
from typing import Any

import numpy as np

from nodes.street import things
from nodes.street.mesh import Mesh, box, joined, sheet
from nodes.street.surfaces import DOORS, GROUND_FLOORS, STOREYS, Surfaces

CLASS_NAMES = ("person", "bicycle", "car", "pole", "bench", "door", "steps", "branch", "kerb", "tree")
"""What the street's truth tells of, and what networks that are trained on it know."""

BLOCK_M, GAP_M = 42.0, 8.0
PITCH_M = BLOCK_M + GAP_M
HOUSE_M = 8.4
"""Five houses to a block."""
WALL_X, KERB_X = 2.7, -2.0
FAR_KERB_X, FAR_WALL_X = -11.2, -14.8
ROAD_Z = -0.12
WALLS = np.array(
    [[1.0, 0.97, 0.90], [0.96, 0.84, 0.66], [0.90, 0.72, 0.60], [0.80, 0.84, 0.86], [0.97, 0.93, 0.78],
     [0.76, 0.82, 0.72], [0.92, 0.78, 0.74], [1.0, 1.0, 1.0]]
)  # fmt: skip
DOOR_COLOURS = np.array(
    [[0.30, 0.05, 0.04], [0.04, 0.12, 0.22], [0.05, 0.16, 0.09], [0.24, 0.13, 0.06], [0.05, 0.05, 0.06]]
)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A part of the street: its mesh, and what it is if the truth tells of it."""

    mesh: Mesh
    class_name: str | None = None
    shades: bool = True
    """Whether it throws a shadow worth computing."""
    round_m: float = 0.0
    """Radius on the ground from which it keeps the light of the sky."""


def ground_z(x: float, y: float) -> float:
    """Height of the ground."""
    is_pavement = (x > KERB_X or x < FAR_KERB_X) and (y % PITCH_M) < BLOCK_M
    return 0.0 if is_pavement else ROAD_Z


def city(seed: int, length_m: float, surfaces: Surfaces, *, furnished: bool) -> Iterator[Piece]:
    """Everything that stands in a street of `length_m`, which begins one block before y = 0."""
    rng = np.random.default_rng([seed, 1])
    first, last = -1, int(np.ceil(length_m / PITCH_M)) + 1
    for block in range(first, last):
        y = block * PITCH_M
        yield from _ground(y, surfaces)
        yield from _houses(rng, y, surfaces, furnished=furnished)
        if furnished:
            yield from _furniture(rng, y, surfaces)
            yield from _parked(rng, y, surfaces)
    yield Piece(_row(rng, (FAR_WALL_X - 9, last * PITCH_M, 0), (1, 0), 5, surfaces))


def _ground(y: float, surfaces: Surfaces) -> Iterator[Piece]:
    paving, asphalt, granite = surfaces["paving"], surfaces["asphalt"], surfaces["granite"]
    flat: list[Mesh] = []
    for left, right in ((KERB_X + 0.15, WALL_X), (FAR_WALL_X, FAR_KERB_X - 0.15)):
        wide = right - left
        flat.append(sheet((left, y, 0), (wide, 0, 0), (0, BLOCK_M, 0), cells=(2, 14), material=paving,
                          uv=(0, 0, wide / 2, BLOCK_M / 2)))  # fmt: skip
    flat.append(sheet((FAR_KERB_X, y, ROAD_Z), (KERB_X - FAR_KERB_X, 0, 0), (0, PITCH_M, 0), cells=(3, 16),
                      material=asphalt, uv=(0, 0, (KERB_X - FAR_KERB_X) / 4, PITCH_M / 4)))  # fmt: skip
    for left, wide in ((KERB_X, 42.0), (FAR_WALL_X - 30, FAR_KERB_X - FAR_WALL_X + 30)):
        flat.append(sheet((left, y + BLOCK_M, ROAD_Z), (wide, 0, 0), (0, GAP_M, 0), cells=(int(wide / 4), 3),
                          material=asphalt, uv=(0, 0, wide / 4, GAP_M / 4)))  # fmt: skip
    # Stones along both sides of the road.
    for x, across in ((KERB_X, 0.15), (FAR_KERB_X - 0.15, 0.15)):
        flat.append(box((x + across / 2, y + BLOCK_M / 2, ROAD_Z), (across, BLOCK_M, -ROAD_Z), material=granite))
    white = (0.75, 0.75, 0.72)
    middle = (KERB_X + FAR_KERB_X) / 2
    for i in range(10):
        flat.append(sheet((middle - 0.06, y + 2 + i * 4, ROAD_Z + 0.005), (0.12, 0, 0), (0, 2, 0), colour=white))
    for i in range(6):  # a zebra crossing on the wearer's way
        flat.append(sheet((KERB_X + 0.3 + i * 0.8, y + BLOCK_M + 0.9, ROAD_Z + 0.005), (0.45, 0, 0),
                          (0, GAP_M - 1.8, 0), cells=(1, 3), colour=white))  # fmt: skip
    yield Piece(joined(flat), shades=False)
    # The kerbs that the wearer steps down from and up to.
    for at in (y + BLOCK_M - 0.2, y):
        wide = WALL_X - KERB_X
        stone = box((KERB_X + wide / 2, at + 0.1, ROAD_Z), (wide, 0.2, -ROAD_Z + 0.004), material=granite,
                    colour=(1.0, 0.98, 0.94))  # fmt: skip
        yield Piece(stone, "kerb", shades=False)


def _row(
    rng: np.random.Generator, origin: Sequence[float], along: tuple[float, float], count: int, surfaces: Surfaces,
    *, most_floors: int = 4,
) -> Mesh:  # fmt: skip
    """Fronts of `count` houses from `origin` on; they face to the right of `along`."""
    parts = []
    x, y, z = origin
    ax, ay = along
    for _ in range(count):
        tint = (WALLS[rng.integers(len(WALLS))] * rng.uniform(0.8, 1.0)).tolist()
        step = (ax * HOUSE_M, ay * HOUSE_M, 0)
        facing = (ay, -ax, 0)
        parts.append(sheet((x, y, z), step, (0, 0, 4), cells=(3, 2), colour=tint, normal=facing,
                           material=surfaces[f"ground floor {rng.integers(GROUND_FLOORS)}"]))  # fmt: skip
        upper, floors = surfaces[f"storeys {rng.integers(STOREYS)}"], int(rng.integers(1, most_floors + 1))
        parts.append(sheet((x, y, z + 4), step, (0, 0, floors * 4), cells=(2, floors), colour=tint, material=upper,
                           uv=(0, 0, 1, floors / 2), normal=facing))  # fmt: skip
        top = z + 4 + floors * 4
        centre = (x + step[0] / 2 + facing[0] * 0.1, y + step[1] / 2 + facing[1] * 0.1)
        for height, deep in ((top, 0.5), (z + 3.95, 0.22)):
            size = (abs(step[0]) + deep * abs(facing[0]), abs(step[1]) + deep * abs(facing[1]), 0.3)
            parts.append(box((*centre, height - 0.15), size, colour=(0.80, 0.78, 0.74), material=surfaces["plaster"],
                             open_bottom=False))  # fmt: skip
        x, y = x + step[0], y + step[1]
    return joined(parts)


def _houses(rng: np.random.Generator, y: float, surfaces: Surfaces, *, furnished: bool) -> Iterator[Piece]:
    # The fronts of each side, and the sides towards the crossing road.
    yield Piece(_row(rng, (WALL_X, y + BLOCK_M, 0), (0, -1), 5, surfaces).moved())
    yield Piece(_row(rng, (FAR_WALL_X, y, 0), (0, 1), 5, surfaces))
    # Those have one floor above: nobody sees over the front that they have no back.
    for x, at, along, count in (
        (WALL_X, y, (1, 0), 2), (WALL_X + 2 * HOUSE_M, y + BLOCK_M, (-1, 0), 2),
        (FAR_WALL_X - HOUSE_M, y, (1, 0), 1), (FAR_WALL_X, y + BLOCK_M, (-1, 0), 1),
    ):  # fmt: skip
        yield Piece(_row(rng, (x, at, ROAD_Z), along, count, surfaces, most_floors=1))
    for i in range(5):
        at = y + (i + 0.5) * HOUSE_M + rng.uniform(-1.5, 1.5)
        stair = int(rng.choice([0, 0, 2, 3])) if furnished else 0
        for x, side in ((WALL_X - 0.03, -1), (FAR_WALL_X + 0.03, 1)):
            lift = 0.16 * stair if side < 0 else 0.0
            tint = DOOR_COLOURS[rng.integers(len(DOOR_COLOURS))] * 2.2
            leaf = sheet((x, at - side * 0.5, lift), (0, side * 1.0, 0), (0, 0, 2.1), cells=(1, 2), colour=tint,
                         material=surfaces[f"door {rng.integers(DOORS)}"], normal=(side, 0, 0))  # fmt: skip
            frame = [box((x, at + s * 0.56, 0), (0.14, 0.12, lift + 2.2), colour=(0.8, 0.78, 0.74),
                         material=surfaces["plaster"]) for s in (-1, 1)]  # fmt: skip
            frame.append(box((x, at, lift + 2.1), (0.2, 1.24, 0.14), colour=(0.8, 0.78, 0.74),
                             material=surfaces["plaster"], open_bottom=False))  # fmt: skip
            yield Piece(leaf, "door", shades=False)
            yield Piece(joined(frame))
        if stair:
            yield Piece(things.steps(surfaces, count=stair).moved((WALL_X, at, 0), yaw=-pi / 2), "steps", round_m=0.7)


def _furniture(rng: np.random.Generator, y: float, surfaces: Surfaces) -> Iterator[Piece]:
    """What stands on the pavement of one block, near the kerb and along the wall."""
    taken: list[float] = []

    def free(margin: float) -> float | None:
        """A place along the block that nothing has yet."""
        for _ in range(8):
            at = y + rng.uniform(2.5, BLOCK_M - 2.5)
            if all(abs(at - t) > margin for t in taken):
                taken.append(at)
                return float(at)
        return None

    for at in (y + 3.0, y + 23.0):
        taken.append(at)
        post, head = things.street_lamp(surfaces)
        yield Piece(post.moved((KERB_X + 0.45, at, 0)), "pole", round_m=0.2)
        yield Piece(head.moved((KERB_X + 0.45, at, 0)))
        post, head = things.street_lamp(surfaces)
        yield Piece(post.moved((FAR_KERB_X - 0.45, at + 9, 0)), "pole", round_m=0.2)
        yield Piece(head.moved((FAR_KERB_X - 0.45, at + 9, 0)))
    for at in (
        np.arange(y + 8, y + BLOCK_M - 3, 11.0) + rng.uniform(-1, 1, 4)[: len(np.arange(y + 8, y + BLOCK_M - 3, 11.0))]
    ):
        if rng.random() < 0.8:
            taken.append(float(at))
            yield from planted(rng, (KERB_X + 0.65, float(at)), surfaces)
        if rng.random() < 0.5:
            yield from planted(rng, (FAR_KERB_X - 0.7, float(at) + 4), surfaces)
    for kind, count, x, margin in (
        ("sign", 2, KERB_X + 0.4, 1.2), ("bollard", 3, KERB_X + 0.35, 0.8), ("bench", 2, KERB_X + 0.75, 1.6),
        ("bicycle", 2, KERB_X + 0.6, 1.4), ("bin", 1, KERB_X + 0.5, 0.9),
    ):  # fmt: skip
        for _ in range(int(rng.integers(0, count + 1))):
            place = free(margin)
            if place is not None:
                facing = 90.0 if kind == "bench" else float(rng.normal(0, 8))
                yield thing(rng, kind, (x, place), surfaces, facing_deg=-facing)
    for _ in range(3):
        yield thing(rng, "pot", (WALL_X - 0.4, y + rng.uniform(1, BLOCK_M - 1)), surfaces)
    if rng.random() < 0.6:
        material = surfaces["sheet"]
        at = y + (int(rng.integers(0, 5)) + 0.5) * HOUSE_M
        yield Piece(things.awning(rng, width=5.0, material=material).moved((WALL_X, at, 0)))
    if rng.random() < 0.3:
        place = free(1.5)
        if place is not None:
            yield thing(rng, "bench", (WALL_X - 0.45, place), surfaces, facing_deg=90)


def planted(rng: np.random.Generator, at: tuple[float, float], surfaces: Surfaces) -> Iterator[Piece]:
    """A tree with its bed of earth."""
    wood, crown = things.tree(rng, surfaces)
    yield Piece(wood.moved((*at, 0)), "tree", round_m=0.4)
    yield Piece(crown.moved((*at, 0)))
    bed = sheet((at[0] - 0.5, at[1] - 0.5, 0.004), (1, 0, 0), (0, 1, 0), colour=(0.05, 0.035, 0.022))
    yield Piece(bed, shades=False)
    if rng.random() < 0.15:
        reach, height = rng.uniform(1.2, 2.2), rng.uniform(1.55, 1.85)
        bough = things.low_branch(rng, surfaces, height_m=height, reach_m=reach)
        yield Piece(bough.moved((*at, 0), yaw=rng.normal(0, 0.3)), "branch")


def _parked(rng: np.random.Generator, y: float, surfaces: Surfaces) -> Iterator[Piece]:
    for x, heading in ((KERB_X - 1.1, 0.0), (FAR_KERB_X + 1.1, pi)):
        at = y + 3.5
        while at < y + BLOCK_M - 4:
            if rng.random() < 0.55:
                mesh = things.car(rng, surfaces)
                place = (x + rng.normal(0, 0.08), at + rng.normal(0, 0.2), ROAD_Z)
                yield Piece(mesh.moved(place, yaw=heading + rng.normal(0, 0.02)), "car", round_m=1.9)
            at += 5.6


THINGS: Mapping[str, str | None] = {
    "car": "car", "bicycle": "bicycle", "bench": "bench", "bollard": "pole", "sign": "pole", "lamp": "pole",
    "steps": "steps", "branch": "branch", "tree": "tree", "pot": None, "bin": None,
}  # fmt: skip
"""Kinds of things that a scene may place, and the class that the truth calls them."""


def thing(
    rng: np.random.Generator, kind: str, at: Sequence[float], surfaces: Surfaces, *, facing_deg: float = 0.0,
    **size: Any,
) -> Piece:  # fmt: skip
    """One thing of `THINGS` at (x, y); `facing_deg` is to the right of the walk's direction."""
    x, y = float(at[0]), float(at[1])
    makers = {
        "car": lambda: things.car(rng, surfaces),
        "bicycle": lambda: things.bicycle(rng, surfaces),
        "bench": lambda: things.bench(surfaces),
        "bollard": lambda: things.bollard(surfaces),
        "sign": lambda: things.sign_post(rng, surfaces),
        "lamp": lambda: joined(things.street_lamp(surfaces)),
        "steps": lambda: things.steps(surfaces, count=int(size.get("count", 3))),
        "branch": lambda: things.low_branch(
            rng, surfaces, height_m=float(size.get("height_m", 1.7)), reach_m=float(size.get("reach_m", 1.8))
        ),
        "tree": lambda: joined(things.tree(rng, surfaces)),
        "pot": lambda: things.pot(rng, surfaces),
        "bin": lambda: things.bin_(surfaces),
    }
    mesh = makers[kind]().moved((x, y, ground_z(x, y)), yaw=-radians(facing_deg))
    across = float(np.ptp(mesh.corners[:, 0]) + np.ptp(mesh.corners[:, 1])) / 4
    return Piece(mesh, THINGS[kind], round_m=0.0 if kind == "branch" else min(across, 1.9))
