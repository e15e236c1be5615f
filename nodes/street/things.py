"""What stands and rolls in the street: cars, bicycles, poles, benches, steps, trees with low branches, pots and bins.

Each stands at the origin; vehicles and benches face +y.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nodes.street.mesh import Colour, Mesh, ball, box, joined, loft, sheet, tube
from nodes.street.surfaces import Surfaces

CARS = np.array(
    [[0.55, 0.03, 0.03], [0.03, 0.09, 0.30], [0.60, 0.61, 0.62], [0.02, 0.02, 0.025], [0.75, 0.75, 0.73],
     [0.07, 0.20, 0.14], [0.20, 0.22, 0.25], [0.70, 0.45, 0.08], [0.30, 0.42, 0.52]]
)  # fmt: skip


def _ring(
    y: float, half: float, low: float, high: float, *, square: float = 0.42, count: int = 18
) -> list[list[float]]:
    """A rounded cross-section at `y`, from `low` to `high`."""
    angle = np.linspace(0, -2 * np.pi, count, endpoint=False)
    c, s = np.cos(angle), np.sin(angle)
    x = half * np.sign(c) * np.abs(c) ** square
    z = (low + high) / 2 + (high - low) / 2 * np.sign(s) * np.abs(s) ** square
    ring: list[list[float]] = np.column_stack([x, np.full(count, y), z]).tolist()
    return ring


def _wheel(x: float, y: float, surfaces: Surfaces, *, radius: float = 0.31, width: float = 0.2) -> Mesh:
    out = np.sign(x)
    line = [(x - out * width, y, radius), (x, y, radius)]
    face = x + out * 0.004
    return joined([
        tube(line, [radius, radius], sides=18, colour=(0.02, 0.02, 0.022), material=surfaces["rubber"], capped=True),
        tube([(face - out * 0.01, y, radius), (face, y, radius)], [radius * 0.66] * 2, sides=14,
             colour=(0.45, 0.46, 0.48), material=surfaces["metal"], capped=True),
        tube([(face, y, radius), (face + out * 0.006, y, radius)], [radius * 0.2] * 2, sides=8,
             colour=(0.08, 0.08, 0.09), material=surfaces["metal"], capped=True),
    ])  # fmt: skip


def car(rng: np.random.Generator, surfaces: Surfaces, *, colour: Colour | None = None) -> Mesh:
    """A car about 4.2 m long: a hatchback, saloon or van drawn by lot."""
    shade = CARS[rng.integers(len(CARS))] if colour is None else np.asarray(colour)
    shape = rng.choice(["hatchback", "saloon", "van"], p=[0.45, 0.35, 0.2])
    paint, glass = surfaces["paint"], surfaces["dark glass"]
    half, bonnet, roof = (0.88, 0.92, 1.46) if shape != "van" else (0.95, 1.08, 1.86)
    length = {"hatchback": 4.0, "saloon": 4.5, "van": 4.6}[shape]
    b, f = -length / 2, length / 2
    deck = bonnet if shape == "saloon" else bonnet + 0.02
    body = [
        _ring(b, half * 0.86, 0.36, bonnet - 0.16), _ring(b + 0.06, half * 0.95, 0.27, deck - 0.04),
        _ring(b + 0.35, half, 0.22, deck), _ring(-0.3, half * 1.01, 0.20, bonnet + 0.04),
        _ring(f - 1.35, half, 0.20, bonnet), _ring(f - 0.5, half * 0.98, 0.22, bonnet - 0.08),
        _ring(f - 0.12, half * 0.92, 0.26, bonnet - 0.22), _ring(f, half * 0.76, 0.36, bonnet - 0.36),
    ]  # fmt: skip
    back = {"hatchback": b + 0.12, "saloon": b + 0.85, "van": b + 0.08}[shape]
    front = f - (1.05 if shape != "van" else 0.75)
    top_back = back + (0.35 if shape != "saloon" else 0.55) * (1 if shape != "van" else 0.3)
    top_front = front - 0.85

    def hoop(y_low: float, y_high: float, share: float, inset: float) -> list[list[float]]:
        """Part of the way up along the leaning windscreen or rear window."""
        z = bonnet - 0.02 + (roof - bonnet) * share
        y = y_low + (y_high - y_low) * share
        return [[-half * inset, y, z], [half * inset, y, z]]

    corners = []
    for share, inset in ((0.0, 0.95), (0.86, 0.79), (1.0, 0.68)):
        rear, fore = hoop(back, top_back, share, inset), hoop(front, top_front, share, inset)
        corners.append([rear[0], rear[1], fore[1], fore[0]])
    cabin = np.array(corners)
    parts = [loft(body, colour=shade, material=paint)]
    for end, ring, outwards in ((0, body[0], -1), (-1, body[-1], 1)):
        del end
        disc = np.array(ring)
        parts.append(_lid(disc, outwards, shade, paint))
    for (low, high), material, tint in (
        ((cabin[0], cabin[1]), glass, np.array([0.03, 0.04, 0.05])),
        ((cabin[1], cabin[2]), paint, shade),
    ):
        for i in range(4):
            j = (i + 1) % 4
            parts.append(_quad(low[i], low[j], high[j], high[i], tint, material))
    parts.append(_quad(cabin[2][0], cabin[2][1], cabin[2][2], cabin[2][3], shade, paint))
    for i in range(4):  # pillars
        parts.append(tube([cabin[0][i], cabin[1][i]], [0.035, 0.03], sides=6, colour=shade, material=paint))
    for x in (-half * 0.88, half * 0.88):  # between the doors
        low, high = (x, -0.15, bonnet), (x * 0.84, -0.2, bonnet + (roof - bonnet) * 0.86)
        parts.append(tube([low, high], [0.04, 0.035], sides=6, colour=(0.02, 0.02, 0.02), material=paint))
    axle = length * 0.31
    parts += [_wheel(s * (half + 0.01), y, surfaces) for s in (-1, 1) for y in (-axle, axle)]
    for s in (-1, 1):
        parts.append(ball((s * half * 0.62, f - 0.1, bonnet - 0.27), (0.15, 0.09, 0.07), cells=(8, 5),
                          colour=(0.9, 0.9, 0.85), material=surfaces["lamp"]).tinted((0.8, 0.8, 0.8)))  # fmt: skip
        parts.append(ball((s * half * 0.72, b + 0.05, bonnet - 0.14), (0.12, 0.07, 0.08), cells=(8, 5),
                          colour=(0.5, 0.02, 0.02), material=surfaces["paint"]))  # fmt: skip
        parts.append(ball((s * (half + 0.08), front - 0.35, bonnet + 0.08), (0.09, 0.05, 0.07), cells=(8, 5),
                          colour=shade, material=paint))  # fmt: skip
    for y, tint in ((f + 0.005, (0.7, 0.7, 0.7)), (b - 0.005, (0.7, 0.66, 0.3))):
        parts.append(box((0, y, 0.42), (0.5, 0.02, 0.11), colour=tint))
    parts.append(box((0, 0, 0.14), (half * 1.5, length * 0.9, 0.2), colour=(0.01, 0.01, 0.01)))
    return joined(parts)


def _quad(
    a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike, d: npt.ArrayLike, colour: Colour | Sequence[float], mat: int
) -> Mesh:
    """Four corners, anticlockwise seen from outside."""
    grid = np.array([[a, b], [d, c]], float)
    return loft(grid, colour=colour, material=mat, closed=False)


def _lid(ring: npt.NDArray[np.float64], outwards: float, colour: Colour, material: int) -> Mesh:
    """Closes an end of a body across y."""
    middle = ring.mean(axis=0) + (0, outwards * 0.03, 0)
    inner = middle + (ring - middle) * 0.02
    return loft([ring, inner] if outwards > 0 else [inner, ring], colour=colour, material=material)


def bicycle(rng: np.random.Generator, surfaces: Surfaces) -> Mesh:
    """A bicycle."""
    shade, metal = CARS[rng.integers(len(CARS))], surfaces["metal"]
    parts = []
    angle = np.linspace(0, 2 * np.pi, 21)
    for y in (-0.52, 0.52):
        rim = np.column_stack([np.zeros(21), y + 0.32 * np.cos(angle), 0.34 + 0.32 * np.sin(angle)])
        parts.append(tube(rim, [0.022] * 21, sides=6, colour=(0.02, 0.02, 0.02), material=surfaces["rubber"]))
        parts.append(
            tube([(-0.04, y, 0.34), (0.04, y, 0.34)], [0.03] * 2, sides=6, colour=(0.4, 0.4, 0.4), material=metal)
        )
        for spoke in np.linspace(0, np.pi, 6, endpoint=False):
            reach = 0.31 * np.array([0, np.cos(spoke), np.sin(spoke)])
            ends = [np.array([0, y, 0.34]) - reach, np.array([0, y, 0.34]) + reach]
            parts.append(tube(ends, [0.005] * 2, sides=3, colour=(0.4, 0.4, 0.4), material=metal))
    saddle, pedal, steer = (0, -0.22, 0.86), (0, -0.06, 0.32), (0, 0.36, 0.84)
    rear, fore = (0, -0.52, 0.34), (0, 0.52, 0.34)
    for a, b in ((saddle, pedal), (pedal, steer), (saddle, steer), (pedal, rear), (saddle, rear), (steer, fore)):
        parts.append(tube([a, b], [0.02, 0.02], sides=6, colour=shade, material=surfaces["paint"]))
    parts.append(tube([saddle, (0, -0.24, 0.95)], [0.015] * 2, sides=5, colour=(0.3, 0.3, 0.3), material=metal))
    parts.append(ball((0, -0.25, 0.97), (0.07, 0.13, 0.03), cells=(8, 5), colour=(0.02, 0.02, 0.02)))
    parts.append(tube([steer, (0, 0.38, 1.0)], [0.015] * 2, sides=5, colour=(0.3, 0.3, 0.3), material=metal))
    parts.append(tube([(-0.28, 0.3, 1.02), (0, 0.4, 1.0), (0.28, 0.3, 1.02)], [0.014] * 3, sides=5,
                      colour=(0.05, 0.05, 0.05), material=metal))  # fmt: skip
    parts.append(box((0, -0.48, 0.7), (0.14, 0.34, 0.02), colour=(0.05, 0.05, 0.05), open_bottom=False))
    return joined(parts)


def street_lamp(surfaces: Surfaces) -> tuple[Mesh, Mesh]:
    """The post of a street lamp, and its head 4.3 m above the ground."""
    iron = np.array([0.05, 0.06, 0.06])
    post = joined([
        tube([(0, 0, 0), (0, 0, 0.5), (0, 0, 0.55), (0, 0, 4.2)], [0.1, 0.09, 0.06, 0.045], sides=10, colour=iron,
             material=surfaces["metal"], capped=True),
        tube([(0, 0, 0.9), (0, 0, 0.95)], [0.08, 0.08], sides=10, colour=iron, material=surfaces["metal"]),
    ])  # fmt: skip
    head = joined([
        tube([(0, 0, 4.2), (0, 0, 4.28), (0, 0, 4.6), (0, 0, 4.62)], [0.06, 0.13, 0.2, 0.21], sides=10,
             colour=(0.95, 0.9, 0.75), material=surfaces["lamp"]),
        tube([(0, 0, 4.6), (0, 0, 4.72), (0, 0, 4.85)], [0.24, 0.16, 0.02], sides=10, colour=iron,
             material=surfaces["metal"]),
    ])  # fmt: skip
    return post, head


def sign_post(rng: np.random.Generator, surfaces: Surfaces) -> Mesh:
    """A post with a traffic sign, which shows to -y."""
    grey = (0.4, 0.41, 0.42)
    post = tube([(0, 0, 0), (0, 0, 2.6)], [0.035, 0.035], sides=8, colour=grey, material=surfaces["metal"], capped=True)
    angle = np.linspace(0, 2 * np.pi, 4 if rng.random() < 0.4 else 17)[:-1] + np.pi / 2
    parts = [post]
    edge, field = ((0.6, 0.02, 0.02), (0.85, 0.85, 0.85)) if rng.random() < 0.6 else ((0.85,) * 3, (0.02, 0.1, 0.5))
    for radius, y, colour in ((0.3, -0.045, edge), (0.235, -0.05, field)):
        rim = np.column_stack([radius * np.cos(angle), np.full(len(angle), y), 2.3 + radius * np.sin(angle)])
        parts.append(_lid(rim, -1, colour, surfaces["sheet"]))
    back = np.column_stack([0.3 * np.cos(angle), np.full(len(angle), -0.035), 2.3 + 0.3 * np.sin(angle)])
    parts.append(_lid(back, 1, grey, surfaces["sheet"]))
    return joined(parts)


def bollard(surfaces: Surfaces) -> Mesh:
    """A post at the kerb, 0.95 m high."""
    iron, white = (0.05, 0.05, 0.055), (0.8, 0.8, 0.8)
    return joined([
        tube([(0, 0, 0), (0, 0, 0.7)], [0.07, 0.06], sides=10, colour=iron, material=surfaces["metal"]),
        tube([(0, 0, 0.7), (0, 0, 0.8)], [0.062, 0.062], sides=10, colour=white, material=surfaces["metal"]),
        tube([(0, 0, 0.8), (0, 0, 0.9)], [0.06, 0.06], sides=10, colour=iron, material=surfaces["metal"]),
        ball((0, 0, 0.9), 0.07, cells=(10, 6), colour=iron, material=surfaces["metal"]),
    ])  # fmt: skip


def bench(surfaces: Surfaces) -> Mesh:
    """A bench 1.7 m wide."""
    wood, iron, parts = (0.9, 0.85, 0.75), (0.04, 0.04, 0.045), []
    for i in range(4):
        parts.append(box((0, -0.15 + 0.125 * i, 0.43), (1.7, 0.1, 0.035), colour=wood, material=surfaces["planks"],
                         open_bottom=False))  # fmt: skip
    for i in range(3):
        parts.append(box((0, -0.25 - 0.03 * i, 0.54 + 0.14 * i), (1.7, 0.03, 0.1), colour=wood,
                         material=surfaces["planks"], open_bottom=False))  # fmt: skip
    for x in (-0.7, 0.7):
        back, leg = [(x, -0.2, 0), (x, -0.2, 0.45), (x, -0.32, 0.92)], [(x, 0.24, 0), (x, 0.24, 0.42)]
        rail, rest = [(x, -0.2, 0.41), (x, 0.26, 0.41)], [(x, -0.22, 0.62), (x, 0.24, 0.62), (x, 0.24, 0.42)]
        for line in (back, leg, rail, rest):
            parts.append(tube(line, [0.022] * len(line), sides=6, colour=iron, material=surfaces["metal"]))
    return joined(parts)


def steps(surfaces: Surfaces, *, count: int, width: float = 1.6) -> Mesh:
    """Steps up to a door at y = 0; they begin at y = -0.32 * count."""
    parts = []
    for i in range(count):
        deep = 0.32 * (count - i)
        parts.append(box((0, -deep / 2, 0.16 * i), (width, deep, 0.16), material=surfaces["granite"],
                         colour=(0.92, 0.9, 0.88)))  # fmt: skip
        parts.append(box((0, -deep + 0.02, 0.16 * i + 0.155), (width, 0.04, 0.01), colour=(0.75, 0.72, 0.5)))
    for x in (-width / 2 + 0.06, width / 2 - 0.06):
        line = [(x, -0.32 * count + 0.1, 0.1), (x, -0.32 * count + 0.1, 1.0), (x, -0.1, 0.16 * count + 0.9)]
        parts.append(tube(line, [0.02] * 3, sides=6, colour=(0.05, 0.05, 0.05), material=surfaces["metal"]))
    return joined(parts)


def _cards(rng: np.random.Generator, surfaces: Surfaces, centre: Sequence[float], radii: Sequence[float], count: int,
           *, size_m: float, tint: npt.NDArray[np.float64]) -> Mesh:  # fmt: skip
    """Leaves: sheets on an ellipsoid, lit as if they were its surface."""
    middle, axes = np.asarray(centre, float), np.asarray(radii, float)
    parts = []
    for _ in range(count):
        out = rng.standard_normal(3)
        out /= np.linalg.norm(out)
        place = middle + out * axes * rng.uniform(0.55, 1.0)
        across = np.cross(out, rng.standard_normal(3))
        across /= np.linalg.norm(across)
        up = np.cross(out + rng.normal(0, 0.6, 3), across)
        up /= np.linalg.norm(up)
        size = size_m * rng.uniform(0.75, 1.25)
        shade = tint * rng.uniform(0.7, 1.2) * (0.72 + 0.28 * (out[2] + 1) / 2)
        parts.append(sheet(place - (across + up) * size / 2, across * size, up * size, colour=shade.tolist(),
                           material=surfaces["leaves"], normal=(out + (0, 0, 0.35)).tolist()))  # fmt: skip
    return joined(parts)


def tree(rng: np.random.Generator, surfaces: Surfaces) -> tuple[Mesh, Mesh]:
    """The trunk of a tree with its boughs, and its crown, which begins 2.6 m above the ground."""
    tall = rng.uniform(5.5, 7.5)
    sway = rng.normal(0, 0.12, (4, 2))
    line = [(sway[i, 0] * i / 2, sway[i, 1] * i / 2, z) for i, z in enumerate((0.0, 1.2, 2.4, tall * 0.62))]
    girth = rng.uniform(0.12, 0.19)
    wood = [tube(line, np.array([1.35, 1, 0.9, 0.5]) * girth, sides=10, material=surfaces["bark"])]
    for _ in range(5):
        heading, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, 1.6)
        start = np.array(line[2]) + (0, 0, rng.uniform(0, 0.8))
        end = start + (reach * np.cos(heading), reach * np.sin(heading), rng.uniform(0.8, 1.6))
        wood.append(tube([start, end], [girth * 0.42, girth * 0.15], sides=6, material=surfaces["bark"]))
    tint = np.array([[0.26, 0.36, 0.11], [0.20, 0.32, 0.13], [0.36, 0.38, 0.10], [0.56, 0.33, 0.08]])[
        rng.choice(4, p=[0.4, 0.3, 0.2, 0.1])
    ]
    wide = rng.uniform(1.7, 2.3)
    crown = [_cards(rng, surfaces, (line[3][0], line[3][1], tall * 0.68), (wide, wide, tall * 0.30), 90, size_m=1.25,
                    tint=tint)]  # fmt: skip
    for _ in range(3):
        heading = rng.uniform(0, 2 * np.pi)
        place = (line[3][0] + wide * 0.6 * np.cos(heading), line[3][1] + wide * 0.6 * np.sin(heading), tall * 0.55)
        crown.append(_cards(rng, surfaces, place, (0.9, 0.9, 0.8), 22, size_m=1.0, tint=tint))
    return joined(wood), joined(crown)


def low_branch(rng: np.random.Generator, surfaces: Surfaces, *, height_m: float, reach_m: float) -> Mesh:
    """A bough that reaches `reach_m` to +x, at the height of a head."""
    line = np.array([(0, 0, height_m + 0.55), (reach_m * 0.5, 0.1, height_m + 0.2), (reach_m, 0, height_m)])
    tint = np.array([0.26, 0.36, 0.11])
    parts = [tube(line, [0.05, 0.035, 0.015], sides=7, material=surfaces["bark"])]
    for share in np.linspace(0.35, 1, 6):
        place = line[0] + (line[2] - line[0]) * share
        parts.append(_cards(rng, surfaces, place.tolist(), (0.25, 0.28, 0.2), 5, size_m=0.5, tint=tint))
    return joined(parts)


def pot(rng: np.random.Generator, surfaces: Surfaces) -> Mesh:
    """A plant in a pot."""
    clay = np.array([0.40, 0.17, 0.09]) if rng.random() < 0.6 else np.array([0.12, 0.13, 0.14])
    return joined([
        tube([(0, 0, 0), (0, 0, 0.45), (0, 0, 0.5), (0, 0, 0.5)], [0.2, 0.28, 0.3, 0.01], sides=14, colour=clay),
        _cards(rng, surfaces, (0, 0, 0.85), (0.3, 0.3, 0.35), 26, size_m=0.5, tint=np.array([0.20, 0.34, 0.12])),
    ])  # fmt: skip


def bin_(surfaces: Surfaces) -> Mesh:
    """A litter bin."""
    return joined([
        tube([(0, 0, 0.08), (0, 0, 0.85), (0, 0, 0.95), (0, 0, 0.95)], [0.2, 0.24, 0.2, 0.01], sides=14,
             colour=(0.04, 0.13, 0.08), material=surfaces["metal"]),
        tube([(0, 0, 0), (0, 0, 0.1)], [0.15, 0.15], sides=10, colour=(0.03, 0.03, 0.03)),
    ])  # fmt: skip


def awning(rng: np.random.Generator, *, width: float, material: int) -> Mesh:
    """A striped awning at a wall that it leaves to -x, 2.9 m above the ground; along y."""
    tone = np.array([[0.6, 0.06, 0.05], [0.05, 0.2, 0.42], [0.08, 0.3, 0.16], [0.75, 0.5, 0.1]])[rng.integers(4)]
    parts, count = [], int(width / 0.3)
    for i in range(count):
        y, colour = -width / 2 + i * width / count, tone if i % 2 else np.array([0.8, 0.78, 0.72])
        parts.append(sheet((0, y + width / count, 2.95), (0, -width / count, 0), (-1.0, 0, -0.5), colour=colour,
                           material=material))  # fmt: skip
        parts.append(sheet((-1.0, y + width / count, 2.27), (0, -width / count, 0), (0, 0, 0.18), colour=colour,
                           material=material))  # fmt: skip
    return joined(parts)
