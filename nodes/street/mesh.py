"""Triangles and the few shapes from which the street is built. World axes: x to the right, y along the street, z up.

A corner carries its texture coordinate, normal and colour (linear, 0..1), a triangle its material.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Vector = Sequence[float] | npt.NDArray[Any]
Colour = Vector


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """n corners and m triangles."""

    corners: Floats
    """(n, 3) metres."""
    normals: Floats
    """(n, 3) unit vectors."""
    uv: Floats
    """(n, 2) texture coordinates; 1 is the width of the texture."""
    colours: Floats
    """(n, 3) linear, 0..1; the texture is multiplied with it."""
    faces: npt.NDArray[np.int32]
    """(m, 3) corners of each triangle."""
    materials: npt.NDArray[np.int16]
    """(m,) index of the material."""
    bones: npt.NDArray[np.int16]
    """(n,) the part of a moving body that a corner belongs to."""

    def moved(self, by: Vector = (0, 0, 0), *, yaw: float = 0.0, scale: float | Vector = 1.0) -> Mesh:
        """Scaled, then turned to the left about the vertical by `yaw` radians, then shifted."""
        c, s = np.cos(yaw), np.sin(yaw)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float32)
        factor = np.broadcast_to(np.asarray(scale, np.float32), (3,))
        normals = self.normals / factor
        normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        corners = (self.corners * factor) @ turn.T + np.asarray(by, np.float32)
        return self.like(corners=corners.astype(np.float32), normals=(normals @ turn.T).astype(np.float32))

    def turned(self, matrix: npt.ArrayLike) -> Mesh:
        """Turned by a rotation matrix (3, 3)."""
        turn = np.asarray(matrix, np.float32)
        return self.like(corners=self.corners @ turn.T, normals=self.normals @ turn.T)

    def of_bone(self, bone: int) -> Mesh:
        """As part `bone` of a moving body."""
        return self.like(bones=np.full(len(self.corners), bone, np.int16))

    def tinted(self, colour: Colour) -> Mesh:
        """With its colours multiplied."""
        return self.like(colours=(self.colours * np.asarray(colour, np.float32)).astype(np.float32))

    def like(
        self,
        *,
        corners: Floats | None = None,
        normals: Floats | None = None,
        colours: Floats | None = None,
        bones: npt.NDArray[np.int16] | None = None,
    ) -> Mesh:
        """The same triangles with other corners."""
        return Mesh(
            self.corners if corners is None else corners,
            self.normals if normals is None else normals,
            self.uv,
            self.colours if colours is None else colours,
            self.faces,
            self.materials,
            self.bones if bones is None else bones,
        )


def joined(meshes: Iterable[Mesh]) -> Mesh:
    """All as one."""
    parts = [m for m in meshes if len(m.corners)]
    if not parts:
        return _mesh(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 2)), np.zeros((0, 3), np.int32), (1, 1, 1), 0)
    starts = np.cumsum([0, *(len(m.corners) for m in parts[:-1])])
    return Mesh(
        np.concatenate([m.corners for m in parts]),
        np.concatenate([m.normals for m in parts]),
        np.concatenate([m.uv for m in parts]),
        np.concatenate([m.colours for m in parts]),
        np.concatenate([m.faces + np.int32(start) for m, start in zip(parts, starts, strict=True)]),
        np.concatenate([m.materials for m in parts]),
        np.concatenate([m.bones for m in parts]),
    )


def _mesh(
    corners: npt.ArrayLike, normals: npt.ArrayLike, uv: npt.ArrayLike, faces: npt.ArrayLike, colour: Colour, mat: int
) -> Mesh:
    corner_array = np.asarray(corners, np.float32)
    face_array = np.asarray(faces, np.int32).reshape(-1, 3)
    n, m = len(corner_array), len(face_array)
    colours = np.broadcast_to(np.asarray(colour, np.float32), (n, 3)).copy()
    return Mesh(
        corner_array,
        np.asarray(normals, np.float32),
        np.asarray(uv, np.float32),
        colours,
        face_array,
        np.full(m, mat, np.int16),
        np.zeros(n, np.int16),
    )


def sheet(
    origin: Vector,
    across: Vector,
    up: Vector,
    *,
    cells: tuple[int, int] = (1, 1),
    uv: tuple[float, float, float, float] = (0, 0, 1, 1),
    colour: Colour = (1, 1, 1),
    material: int = 0,
    normal: Vector | None = None,
) -> Mesh:
    """A flat parallelogram of nx * ny cells; it faces `across` x `up`. `uv`: left, bottom, right, top."""
    nx, ny = cells
    a, b = (g.ravel()[:, None] for g in np.meshgrid(np.linspace(0, 1, nx + 1), np.linspace(0, 1, ny + 1)))
    corners = np.asarray(origin) + a * np.asarray(across) + b * np.asarray(up)
    if normal is None:
        normal = np.cross(np.asarray(across, float), np.asarray(up, float)).tolist()
    facing = np.asarray(normal, float) / np.linalg.norm(normal)
    coords = np.column_stack([uv[0] + a * (uv[2] - uv[0]), uv[1] + b * (uv[3] - uv[1])])
    i = (np.arange(ny)[:, None] * (nx + 1) + np.arange(nx)).ravel()[:, None]
    faces = np.concatenate([i + [0, 1, nx + 2], i + [0, nx + 2, nx + 1]])
    return _mesh(corners, np.broadcast_to(facing, corners.shape), coords, faces, colour, material)


def box(
    centre: Vector,
    size: Vector,
    *,
    colour: Colour = (1, 1, 1),
    material: int = 0,
    tile_m: float = 1.0,
    open_bottom: bool = True,
) -> Mesh:
    """An upright box: `centre` of its bottom, `size` along x, y, z. The texture repeats each `tile_m` metres."""
    (x, y, z), (w, d, h) = centre, size
    left, front = x - w / 2, y - d / 2
    right, back = x + w / 2, y + d / 2

    def side(origin: Vector, across: Vector, up: Vector) -> Mesh:
        reach = (0, 0, float(np.linalg.norm(across)) / tile_m, float(np.linalg.norm(up)) / tile_m)
        return sheet(origin, across, up, uv=reach, colour=colour, material=material)

    sides = [
        side((left, front, z), (w, 0, 0), (0, 0, h)),
        side((right, front, z), (0, d, 0), (0, 0, h)),
        side((right, back, z), (-w, 0, 0), (0, 0, h)),
        side((left, back, z), (0, -d, 0), (0, 0, h)),
        side((left, front, z + h), (w, 0, 0), (0, d, 0)),
    ]
    if not open_bottom:
        sides.append(side((left, back, z), (w, 0, 0), (0, -d, 0)))
    return joined(sides)


def tube(
    path: npt.ArrayLike,
    radii: npt.ArrayLike,
    *,
    sides: int = 8,
    colour: Colour = (1, 1, 1),
    material: int = 0,
    flat: tuple[float, float] = (1, 1),
    tile_m: float = 1.0,
    capped: bool = False,
) -> Mesh:
    """A round body along `path` (k, 3) with `radii` (k,); `flat` squeezes it across and along its own axes."""
    line, radius = np.asarray(path, float).reshape(-1, 3), np.asarray(radii, float).reshape(-1)
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    helper = np.where(np.abs(along[:, 2:3]) < 0.9, [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]])
    first = np.cross(helper, along)
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-9)
    second = np.cross(along, first)
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    ring_first, ring_second = np.cos(angle) * flat[0], np.sin(angle) * flat[1]
    spread = first[:, None] * ring_first[:, None] + second[:, None] * ring_second[:, None]
    corners = line[:, None] + radius[:, None, None] * spread
    out = first[:, None] * (np.cos(angle) / flat[0])[:, None] + second[:, None] * (np.sin(angle) / flat[1])[:, None]
    # Where the radius changes, the normal leans along the axis.
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    lean = np.gradient(radius, length + np.arange(len(length)) * 1e-4)
    normals = out - lean[:, None, None] * along[:, None]
    normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-9)
    around = np.broadcast_to(angle / (2 * np.pi), corners.shape[:2])
    uv = np.stack([around * max(1, round(2 * np.pi * float(radius.max()) / tile_m)),
                   np.broadcast_to((length / tile_m)[:, None], corners.shape[:2])], axis=2)  # fmt: skip
    k = len(line)
    i = (np.arange(k - 1)[:, None] * (sides + 1) + np.arange(sides)).ravel()[:, None]
    faces = np.concatenate([i + [0, 1, sides + 2], i + [0, sides + 2, sides + 1]])
    body = _mesh(corners.reshape(-1, 3), normals.reshape(-1, 3), uv.reshape(-1, 2), faces, colour, material)
    if not capped:
        return body
    fan = np.array([[0, i, i + 1] for i in range(1, sides)])
    lids = [
        _mesh(corners[end, :sides], np.broadcast_to(facing, (sides, 3)), uv[end, :sides], order, colour, material)
        for end, facing, order in ((0, -along[0], fan[:, ::-1]), (-1, along[-1], fan))
    ]
    return joined([body, *lids])


def ball(
    centre: Vector,
    radii: float | Vector,
    *,
    cells: tuple[int, int] = (10, 6),
    colour: Colour = (1, 1, 1),
    material: int = 0,
) -> Mesh:
    """An ellipsoid."""
    nx, ny = cells
    lon, lat = np.meshgrid(np.linspace(0, 2 * np.pi, nx + 1), np.linspace(-np.pi / 2, np.pi / 2, ny + 1))
    unit = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=2).reshape(-1, 3)
    axes = np.broadcast_to(np.asarray(radii, float), (3,))
    normals = unit / axes
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    uv = np.column_stack([lon.ravel() / (2 * np.pi), lat.ravel() / np.pi + 0.5])
    i = (np.arange(ny)[:, None] * (nx + 1) + np.arange(nx)).ravel()[:, None]
    faces = np.concatenate([i + [0, 1, nx + 2], i + [0, nx + 2, nx + 1]])
    return _mesh(unit * axes + np.asarray(centre), normals, uv, faces, colour, material)


def profile(
    outline: npt.ArrayLike, width: float, *, colour: Colour = (1, 1, 1), material: int = 0, bulge: float = 0.0
) -> Mesh:
    """An outline (k, 2) of y and z, anticlockwise seen from +x, drawn out to `width` along x, with flat cheeks.

    `bulge` pushes the cheeks outwards in the middle, in metres.
    """
    line = np.asarray(outline, float)
    k = len(line)
    closed = np.concatenate([line, line[:1]])
    strips = []
    for (y0, z0), (y1, z1) in pairwise(closed):
        strips.append(sheet((width / 2, y0, z0), (-width, 0, 0), (0, y1 - y0, z1 - z0), colour=colour,
                            material=material, normal=(0, z1 - z0, y0 - y1)))  # fmt: skip
    middle = line.mean(axis=0)
    fan = np.array([[k, i, (i + 1) % k] for i in range(k)])
    cheeks = []
    for sign in (1, -1):
        rim = np.column_stack([np.full(k, sign * width / 2), line])
        corners = np.concatenate([rim, [[sign * (width / 2 + bulge), *middle]]])
        order = fan if sign > 0 else fan[:, ::-1]
        cheeks.append(_mesh(corners, np.broadcast_to([sign, 0, 0], corners.shape), np.zeros((k + 1, 2)), order,
                            colour, material))  # fmt: skip
    return joined([*strips, *cheeks])


def loft(sections: npt.ArrayLike, *, colour: Colour = (1, 1, 1), material: int = 0, closed: bool = True) -> Mesh:
    """A smooth skin over cross-sections (k, r, 3), each anticlockwise seen from the last section's side."""
    grid = np.asarray(sections, float)
    if closed:
        grid = np.concatenate([grid, grid[:, :1]], axis=1)
    k, r = grid.shape[:2]
    around = np.gradient(grid, axis=1)
    if closed:
        around[:, 0] = around[:, -1] = grid[:, 1] - grid[:, -2]
    normals = np.cross(around, np.gradient(grid, axis=0))
    normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-9)
    uv = np.stack(np.meshgrid(np.linspace(0, 1, r), np.linspace(0, 1, k)), axis=2)
    i = (np.arange(k - 1)[:, None] * r + np.arange(r - 1)).ravel()[:, None]
    faces = np.concatenate([i + [0, 1, r + 1], i + [0, r + 1, r]])
    return _mesh(grid.reshape(-1, 3), normals.reshape(-1, 3), uv.reshape(-1, 2), faces, colour, material)
