"""Which triangle each pixel sees, and how far away: exact for every lens, as it works on rays, not on straight lines.

A pixel sees along the ray (u, v, 1) in camera coordinates (x right, y down, z forward). A triangle with the corners
p0, p1, p2 is hit where the three volumes e0 = (p1 x p2) . ray, e1, e2 have one sign; their sum over p0 . (p1 x p2) is
1/z, and their ratios are the weights of the corners there (M. Olano, T. Greer: Triangle Scan Conversion using 2D
Homogeneous Coordinates, 1997; here without a straight edge, as each pixel brings a ray of its own).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nodes.street.jit import inlined, kernel
from nodes.street.surfaces import CUTOUT, TWO_SIDED

Array = npt.NDArray[Any]

NEAREST_M = 0.05
TILE = 8
LARGE = 256
"""Triangles that span more pixels than this are tried tile by tile first."""


@inlined
def _pixel(x: float, y: float, z: float, lens: Array) -> tuple[float, float]:
    """Where a point appears, by the lens's table of radius over angle; points behind go far outside."""
    across = np.sqrt(x * x + y * y)
    at = np.arctan2(across, z) * lens[2]
    i = int(at)
    last = lens.shape[0] - 6
    if i > last:
        i = last
    low = lens[4 + i]
    radius = low + (lens[5 + i] - low) * (at - i)
    k = radius / max(across, 1e-6)
    return lens[0] + x * k, lens[1] + y * k


@kernel
def prepare(points: Array, faces: Array, flags: Array, lens: Array, size: Array, edges: Array, spans: Array) -> None:
    """Edge functions (m, 13) and pixel bounds (m, 4) of each triangle; an empty bound for those that are not seen.

    Args:
        points: (n, 3) corners in camera coordinates.
        faces: (m, 3) corners of each triangle; flags: (m,) of its material.
        lens: centre x, y, table steps per radian, margin in pixels, then the table of radii in pixels.
        size: (2,) width and height.
    """
    width, height, margin = size[0], size[1], lens[3]
    for t in range(faces.shape[0]):
        spans[t, 0], spans[t, 1] = 1, 0
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        ax, ay, az = float(points[a, 0]), float(points[a, 1]), float(points[a, 2])
        bx, by, bz = float(points[b, 0]), float(points[b, 1]), float(points[b, 2])
        cx, cy, cz = float(points[c, 0]), float(points[c, 1]), float(points[c, 2])
        if az < NEAREST_M and bz < NEAREST_M and cz < NEAREST_M:
            continue
        n0x, n0y, n0z = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
        volume = ax * n0x + ay * n0y + az * n0z
        if volume == 0.0 or (volume > 0.0 and not flags[t] & TWO_SIDED):
            continue  # x right, y down, z forward: a triangle that faces the camera runs clockwise
        lowest_x, lowest_y, highest_x, highest_y, sag = 1e9, 1e9, -1e9, -1e9, 0.0
        ux, uy = _pixel(ax, ay, az, lens)
        vx, vy = _pixel(bx, by, bz, lens)
        wx, wy = _pixel(cx, cy, cz, lens)
        for k in range(3):
            if k == 0:
                px, py = ux, uy
                mx, my = _pixel((ax + bx) / 2, (ay + by) / 2, (az + bz) / 2, lens)
                sx, sy = (ux + vx) / 2, (uy + vy) / 2
            elif k == 1:
                px, py = vx, vy
                mx, my = _pixel((bx + cx) / 2, (by + cy) / 2, (bz + cz) / 2, lens)
                sx, sy = (vx + wx) / 2, (vy + wy) / 2
            else:
                px, py = wx, wy
                mx, my = _pixel((cx + ax) / 2, (cy + ay) / 2, (cz + az) / 2, lens)
                sx, sy = (wx + ux) / 2, (wy + uy) / 2
            lowest_x, highest_x = min(lowest_x, px, mx), max(highest_x, px, mx)
            lowest_y, highest_y = min(lowest_y, py, my), max(highest_y, py, my)
            # Perspective moves the middle along the edge, the lens away from it; either bounds the bend.
            sag = max(sag, min(abs(mx - sx) + abs(my - sy), 0.25 * (abs(px - mx) + abs(py - my))))
        sag += margin
        left, right = int(np.floor(lowest_x - sag)), int(np.ceil(highest_x + sag))
        top, bottom = int(np.floor(lowest_y - sag)), int(np.ceil(highest_y + sag))
        if right < 0 or bottom < 0 or left >= width or top >= height:
            continue
        spans[t, 0], spans[t, 1] = max(left, 0), min(right, width - 1)
        spans[t, 2], spans[t, 3] = max(top, 0), min(bottom, height - 1)
        s = -1.0 if volume < 0 else 1.0
        n1x, n1y, n1z = cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax
        n2x, n2y, n2z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        edges[t, 0], edges[t, 1], edges[t, 2] = s * n0x, s * n0y, s * n0z
        edges[t, 3], edges[t, 4], edges[t, 5] = s * n1x, s * n1y, s * n1z
        edges[t, 6], edges[t, 7], edges[t, 8] = s * n2x, s * n2y, s * n2z
        part = s / volume
        edges[t, 12] = part
        edges[t, 9] = (n0x + n1x + n2x) * s * part
        edges[t, 10] = (n0y + n1y + n2y) * s * part
        edges[t, 11] = (n0z + n1z + n2z) * s * part


@kernel
def fill(
    rows: Array, ray_u: Array, ray_v: Array, tiles: Array, seen: Array, edges: Array, spans: Array, faces: Array,
    flags: Array, objects: Array, textures: Array, uv: Array, texels: Array, table: Array, inverse_z: Array, ids: Array,
    touched: Array, counts: Array,
) -> None:  # fmt: skip
    """The nearest triangle `ids` (h, w) and `inverse_z` (h, w) of the rows first..last-1; both are cleared here.

    Args:
        tiles: (., ., 4) least and greatest u, then v, of each `TILE` by `TILE` pixels.
        seen: (h, 2) first and last pixel of each row that the lens sees.
        objects: (m,) number of the object that a triangle belongs to, or -1; an object's triangles stand together.
        textures: (m,) texture of a triangle; where it is transparent, a triangle with the flag CUTOUT has a hole.
        touched: (h, w) int16, the last object drawn at a pixel; counts: (k,) pixels that an object would cover alone.
    """
    first, last = rows[0], rows[1]
    for y in range(first, last):
        for x in range(ids.shape[1]):
            inverse_z[y, x] = 0.0
            ids[y, x] = -1
            touched[y, x] = -1
    for t in range(faces.shape[0]):
        if spans[t, 0] > spans[t, 1]:
            continue
        top, bottom = max(spans[t, 2], first), min(spans[t, 3], last - 1)
        if top > bottom:
            continue
        e0x, e0y, e0z = edges[t, 0], edges[t, 1], edges[t, 2]
        e1x, e1y, e1z = edges[t, 3], edges[t, 4], edges[t, 5]
        e2x, e2y, e2z = edges[t, 6], edges[t, 7], edges[t, 8]
        qx, qy, qz = edges[t, 9], edges[t, 10], edges[t, 11]
        has_holes = (flags[t] & CUTOUT) != 0
        number = objects[t]
        left, right = spans[t, 0], spans[t, 1]
        is_large = (right - left) * (bottom - top) > LARGE
        for tile_y in range(top // TILE, bottom // TILE + 1):
            for tile_x in range(left // TILE, right // TILE + 1):
                if is_large:
                    # Linear functions are greatest at a corner of the tile's range of rays.
                    u0, u1 = tiles[tile_y, tile_x, 0], tiles[tile_y, tile_x, 1]
                    v0, v1 = tiles[tile_y, tile_x, 2], tiles[tile_y, tile_x, 3]
                    if e0z + max(e0x * u0, e0x * u1) + max(e0y * v0, e0y * v1) < 0:
                        continue
                    if e1z + max(e1x * u0, e1x * u1) + max(e1y * v0, e1y * v1) < 0:
                        continue
                    if e2z + max(e2x * u0, e2x * u1) + max(e2y * v0, e2y * v1) < 0:
                        continue
                for y in range(max(top, tile_y * TILE), min(bottom, tile_y * TILE + TILE - 1) + 1):
                    begin = max(left, seen[y, 0], tile_x * TILE)
                    for x in range(begin, min(right, seen[y, 1], tile_x * TILE + TILE - 1) + 1):
                        u, v = ray_u[y, x], ray_v[y, x]
                        e0 = e0x * u + e0y * v + e0z
                        e1 = e1x * u + e1y * v + e1z
                        e2 = e2x * u + e2y * v + e2z
                        if min(e0, e1, e2) < 0:
                            continue
                        nearness = qx * u + qy * v + qz
                        if nearness <= 0 or (number < 0 and nearness <= inverse_z[y, x]):
                            continue
                        if has_holes:
                            w = 1.0 / (e0 + e1 + e2)
                            a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
                            s = (e0 * uv[a, 0] + e1 * uv[b, 0] + e2 * uv[c, 0]) * w
                            r = (e0 * uv[a, 1] + e1 * uv[b, 1] + e2 * uv[c, 1]) * w
                            if not _is_solid(s, r, texels, table, textures[t]):
                                continue
                        if number >= 0 and touched[y, x] != number:
                            touched[y, x] = number
                            counts[number] += 1
                        if nearness > inverse_z[y, x]:
                            inverse_z[y, x] = nearness
                            ids[y, x] = t


@inlined
def _is_solid(s: float, r: float, texels: Array, table: Array, texture: int) -> bool:
    """Whether a texture's finest level is opaque at (s, r)."""
    start, wide, high = table[texture, 0, 0], table[texture, 0, 1], table[texture, 0, 2]
    column, row = int(np.floor(s * wide)) & (wide - 1), int(np.floor(r * high)) & (high - 1)
    return bool(texels[start + row * wide + column, 3] >= 128)


@kernel
def fill_sun(points: Array, faces: Array, flags: Array, textures: Array, uv: Array, texels: Array, table: Array,
             depth: Array) -> None:  # fmt: skip
    """The height towards the sun of the first thing that its light meets, (h, w): an orthographic z-buffer.

    Args:
        points: (n, 3) in texels of `depth` across and down, and metres towards the sun.
    """
    height, width = depth.shape
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        ax, ay, az = float(points[a, 0]), float(points[a, 1]), float(points[a, 2])
        bx, by, bz = float(points[b, 0]), float(points[b, 1]), float(points[b, 2])
        cx, cy, cz = float(points[c, 0]), float(points[c, 1]), float(points[c, 2])
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        left, right = max(int(np.ceil(min(ax, bx, cx))), 0), min(int(np.floor(max(ax, bx, cx))), width - 1)
        top, bottom = max(int(np.ceil(min(ay, by, cy))), 0), min(int(np.floor(max(ay, by, cy))), height - 1)
        k = 1.0 / area
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                w0 = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * k
                w1 = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * k
                w2 = 1.0 - w0 - w1
                if w0 < 0 or w1 < 0 or w2 < 0:
                    continue
                if flags[t] & CUTOUT:
                    s = w0 * uv[a, 0] + w1 * uv[b, 0] + w2 * uv[c, 0]
                    r = w0 * uv[a, 1] + w1 * uv[b, 1] + w2 * uv[c, 1]
                    if not _is_solid(s, r, texels, table, textures[t]):
                        continue
                z = w0 * az + w1 * bz + w2 * cz
                if z > depth[y, x]:
                    depth[y, x] = z
