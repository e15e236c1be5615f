"""What light each pixel receives: texture, sun with its shadow, sky, lamps, reflection, wetness, haze, exposure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nodes.street.jit import inlined, kernel

Array = npt.NDArray[Any]

TEXTURE, DENSITY, GLOSS, GLOW, TRANSLUCENT, GLASS = range(6)
"""Columns of the table of materials: texture (or -1), texels a metre, mirror-like part, own light, light that passes
through from behind, and whether the texture's transparency says where there is glass."""

TONES = 2048
"""Steps of the tone curve, over the square root of the light times the exposure, 0..2."""


@inlined
def _texel(texels: Array, channel: int, fx: float, fy: float, x0: int, x1: int, y0: int, y1: int) -> Any:
    a, b = np.float32(texels[y0 + x0, channel]), np.float32(texels[y1 + x0, channel])
    a += (np.float32(texels[y0 + x1, channel]) - a) * fx
    b += (np.float32(texels[y1 + x1, channel]) - b) * fx
    return a + (b - a) * fy


@inlined
def _shadow(x: float, y: float, z: float, depth: Array, bias: float) -> float:
    """Part of the sun's light that arrives, 0..1: four comparisons, weighted."""
    column, row = int(np.floor(x)), int(np.floor(y))
    if column < 0 or row < 0 or column + 1 >= depth.shape[1] or row + 1 >= depth.shape[0]:
        return 1.0
    fx, fy = x - column, y - row
    z += bias
    a = (1.0 if depth[row, column] <= z else 0.0) * (1 - fx) + (1.0 if depth[row, column + 1] <= z else 0.0) * fx
    b = (1.0 if depth[row + 1, column] <= z else 0.0) * (1 - fx)
    b += (1.0 if depth[row + 1, column + 1] <= z else 0.0) * fx
    return a + (b - a) * fy


@inlined
def _sky_at(dx: float, dy: float, dz: float, sky: Array) -> tuple[float, float, float]:
    """Light of the sky in a direction, from its picture: half an octahedron, laid flat, its top in the middle."""
    side = sky.shape[0]
    up = max(dz, 0.0)
    k = 0.5 * side / (abs(dx) + abs(dy) + up + 1e-9)
    column, row = int((dx + dy) * k + 0.5 * side), int((dy - dx) * k + 0.5 * side)
    column, row = min(max(column, 0), side - 1), min(max(row, 0), side - 1)
    return sky[row, column, 0], sky[row, column, 1], sky[row, column, 2]


@kernel
def shade(
    rows: Array, ray_u: Array, ray_v: Array, shortening: Array, seen: Array, edges: Array, faces: Array,
    attributes: Array, materials: Array, kinds: Array, texels: Array, table: Array, linear: Array, inverse_z: Array,
    ids: Array, sky: Array, pose: Array, sun: Array, still: Array, moving: Array, moving_at: Array, ground: Array,
    lamps: Array, scene: Array, vignette: Array, tones: Array, out: Array,
) -> None:  # fmt: skip
    """Colours (h, w, 3) uint8 of the rows first..last-1.

    Args:
        shortening: (h, w) one over the length of the ray (u, v, 1).
        attributes: (n, 8) of each corner: texture coordinates, normal, linear colour.
        materials: (m,) kind of each triangle; kinds: (k, 6) table of materials.
        texels: (., 4) uint8 of all textures at all levels; table: (t, levels, 3) where each begins, width, height.
        linear: (256,) linear light of a byte.
        pose: (4, 3) rotation from camera to world, position.
        sun: (5, 3) direction to it, its light; then the axes and origin that lead to `still`.
        still, moving: height of what the sun meets first, of what stands and what moves; moving_at: (2,) its corner.
        ground: (h, w) float32, part of the sky that what stands on the ground takes away around it; see `scene`.
        lamps: (l, 3) positions; scene: see `Light.packed`.
    """
    first, last = rows[0], rows[1]
    cx, cy, cz = pose[3, 0], pose[3, 1], pose[3, 2]
    haze, wet, exposure, footprint = scene[0], scene[1], scene[2], scene[3]
    haze_r, haze_g, haze_b = scene[4], scene[5], scene[6]
    ambient_r, ambient_g, ambient_b = scene[7], scene[8], scene[9]
    ground_x, ground_y, ground_scale = scene[10], scene[11], scene[12]
    lamp_light, glow = scene[13], scene[14]
    for y in range(first, last):
        for x in range(ids.shape[1]):
            if x < seen[y, 0] or x > seen[y, 1]:
                out[y, x, 0], out[y, x, 1], out[y, x, 2] = 0, 0, 0
                continue
            u, v = ray_u[y, x], ray_v[y, x]
            wx = pose[0, 0] * u + pose[0, 1] * v + pose[0, 2]
            wy = pose[1, 0] * u + pose[1, 1] * v + pose[1, 2]
            wz = pose[2, 0] * u + pose[2, 1] * v + pose[2, 2]
            shorter = shortening[y, x]
            length = (u * u + v * v + 1.0) * shorter
            t = ids[y, x]
            if t < 0:
                red, green, blue = _sky_at(wx, wy, wz, sky)
            else:
                depth = 1.0 / inverse_z[y, x]
                px, py, pz = cx + wx * depth, cy + wy * depth, cz + wz * depth
                far = depth * length
                ix, iy, iz = -wx * shorter, -wy * shorter, -wz * shorter
                e0 = edges[t, 0] * u + edges[t, 1] * v + edges[t, 2]
                e1 = edges[t, 3] * u + edges[t, 4] * v + edges[t, 5]
                e2 = edges[t, 6] * u + edges[t, 7] * v + edges[t, 8]
                k = depth * edges[t, 12]
                e0 *= k
                e1 *= k
                e2 *= k
                a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
                nx = attributes[a, 2] * e0 + attributes[b, 2] * e1 + attributes[c, 2] * e2
                ny = attributes[a, 3] * e0 + attributes[b, 3] * e1 + attributes[c, 3] * e2
                nz = attributes[a, 4] * e0 + attributes[b, 4] * e1 + attributes[c, 4] * e2
                k = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
                nx *= k
                ny *= k
                nz *= k
                red = attributes[a, 5] * e0 + attributes[b, 5] * e1 + attributes[c, 5] * e2
                green = attributes[a, 6] * e0 + attributes[b, 6] * e1 + attributes[c, 6] * e2
                blue = attributes[a, 7] * e0 + attributes[b, 7] * e1 + attributes[c, 7] * e2
                kind = materials[t]
                facing = nx * ix + ny * iy + nz * iz
                gloss, own, glass = kinds[kind, GLOSS], kinds[kind, GLOW] * glow, 0.0
                texture = int(kinds[kind, TEXTURE])
                if texture >= 0:
                    s = attributes[a, 0] * e0 + attributes[b, 0] * e1 + attributes[c, 0] * e2
                    r = attributes[a, 1] * e0 + attributes[b, 1] * e1 + attributes[c, 1] * e2
                    # Texels under a pixel: between those along and across a slanted surface.
                    size = kinds[kind, DENSITY] * far * footprint / np.sqrt(max(abs(facing), 0.06))
                    level = 0
                    while size > 1.4 and level < table.shape[1] - 1:
                        size *= 0.5
                        level += 1
                    start, wide, high = table[texture, level, 0], table[texture, level, 1], table[texture, level, 2]
                    tx, ty = np.float32(s * wide - 0.5), np.float32(r * high - 0.5)
                    fx, fy = tx - np.floor(tx), ty - np.floor(ty)
                    x0 = int(np.floor(tx)) & (wide - 1)
                    x1 = (x0 + 1) & (wide - 1)
                    y0 = int(np.floor(ty)) & (high - 1)
                    y1 = start + ((y0 + 1) & (high - 1)) * wide
                    y0 = start + y0 * wide
                    red *= linear[int(_texel(texels, 0, fx, fy, x0, x1, y0, y1))]
                    green *= linear[int(_texel(texels, 1, fx, fy, x0, x1, y0, y1))]
                    blue *= linear[int(_texel(texels, 2, fx, fy, x0, x1, y0, y1))]
                    if kinds[kind, GLASS] > 0:
                        glass = 1.0 - _texel(texels, 3, fx, fy, x0, x1, y0, y1) * (1.0 / 255)
                        gloss += 0.85 * glass
                        # Rooms are lit where the glass says so: see `textures`.
                        own += max(glass - 0.45, 0.0) * glow * kinds[kind, GLASS] * (0.12 + 1.6 * (red + green))
                if facing < 0:
                    nx, ny, nz, facing = -nx, -ny, -nz, -facing
                is_ground = nz > 0.8 and pz < 0.4
                # The sun, and what stands in its way.
                to_sun = nx * sun[0, 0] + ny * sun[0, 1] + nz * sun[0, 2]
                through = kinds[kind, TRANSLUCENT]
                lit = max(to_sun, 0.0) * (1 - through) + through * (0.5 + 0.5 * abs(to_sun))
                if lit > 0 and sun[1, 0] > 0:
                    off = 0.03 + 0.05 * (1 - max(to_sun, 0.0))
                    qx, qy, qz = px + nx * off - sun[4, 0], py + ny * off - sun[4, 1], pz + nz * off - sun[4, 2]
                    mx = qx * sun[2, 0] + qy * sun[2, 1] + qz * sun[2, 2]
                    my = qx * sun[3, 0] + qy * sun[3, 1] + qz * sun[3, 2]
                    mz = px * sun[0, 0] + py * sun[0, 1] + pz * sun[0, 2]
                    free = _shadow(mx, my, mz, still, 0.12)
                    if free > 0:
                        free = min(free, _shadow(mx - moving_at[0], my - moving_at[1], mz, moving, 0.05))
                    lit *= free
                # The sky above, the light that comes back from the ground, and corners that see less of both.
                open_sky = 0.55 + 0.45 * nz
                if pz < 2.5:
                    open_sky *= 0.62 + 0.38 * min(1.0, max(pz, 0.0) * 0.4 + max(nz, 0.0))
                if is_ground:
                    gx, gy = (px - ground_x) * ground_scale, (py - ground_y) * ground_scale
                    column, row = int(gx), int(gy)
                    if 0 <= column < ground.shape[1] - 1 and 0 <= row < ground.shape[0] - 1:
                        fx, fy = gx - column, gy - row
                        above = ground[row, column] * (1 - fx) + ground[row, column + 1] * fx
                        below = ground[row + 1, column] * (1 - fx) + ground[row + 1, column + 1] * fx
                        open_sky *= 1.0 - (above + (below - above) * fy)
                bounce = (0.5 - 0.5 * nz) * 0.35
                light_r = ambient_r * (open_sky + bounce * 1.05) + sun[1, 0] * lit
                light_g = ambient_g * (open_sky + bounce) + sun[1, 1] * lit
                light_b = ambient_b * (open_sky + bounce * 0.85) + sun[1, 2] * lit
                # Lamps of the street, and what they leave on wet ground.
                mirror_r, mirror_g, mirror_b = 0.0, 0.0, 0.0
                shiny = gloss
                if is_ground and wet > 0:
                    shiny += wet * 0.75
                    red *= 1 - 0.62 * wet
                    green *= 1 - 0.62 * wet
                    blue *= 1 - 0.62 * wet
                twice = 2 * facing
                rx, ry, rz = twice * nx - ix, twice * ny - iy, twice * nz - iz
                if lamp_light > 0:
                    for i in range(lamps.shape[0]):
                        lx, ly, lz = lamps[i, 0] - px, lamps[i, 1] - py, lamps[i, 2] - pz
                        square = lx * lx + ly * ly + lz * lz
                        if square > 400.0:
                            continue
                        near = 1.0 / np.sqrt(square + 0.01)
                        down = min(max(lz * near, 0.0) * 1.6 + 0.15, 1.0)
                        strength = lamp_light * down * max((nx * lx + ny * ly + nz * lz) * near, 0.08) / (square + 2.0)
                        light_r += strength
                        light_g += strength * 0.72
                        light_b += strength * 0.40
                        if shiny > 0.02:
                            along = (rx * lx + ry * ly + rz * lz) * near
                            if along > 0.9:
                                peak = along**120 * lamp_light * 0.06
                                mirror_r += peak
                                mirror_g += peak * 0.72
                                mirror_b += peak * 0.40
                red *= light_r
                green *= light_g
                blue *= light_b
                if shiny > 0.01:
                    fresnel = 1 - min(facing, 1.0)
                    fresnel = fresnel * fresnel * fresnel
                    part = shiny * (0.16 + 0.84 * fresnel)
                    sr, sg, sb = _sky_at(rx, ry, max(rz, 0.0), sky)
                    # Downwards, and low along the street, houses are mirrored rather than sky.
                    dim = 0.25 if rz < 0 else min((0.22 if is_ground else 0.35) + rz * (0.9 if is_ground else 1.6), 1.0)
                    red += (sr * dim - red) * part + mirror_r * shiny
                    green += (sg * dim - green) * part + mirror_g * shiny
                    blue += (sb * dim - blue) * part + mirror_b * shiny
                    if sun[1, 0] > 0 and gloss > 0:
                        along = rx * sun[0, 0] + ry * sun[0, 1] + rz * sun[0, 2]
                        if along > 0.97:
                            peak = along**400 * gloss * 6 * (1 if lit > 0 else 0)
                            red += peak
                            green += peak
                            blue += peak
                if own > 0:
                    red += own * 1.0
                    green += own * 0.74
                    blue += own * 0.42
                clear = max(1.0 - 0.25 * far * haze, 0.0)  # its fourth power is near enough to exp(-far * haze)
                clear *= clear
                clear *= clear
                red = haze_r + (red - haze_r) * clear
                green = haze_g + (green - haze_g) * clear
                blue = haze_b + (blue - haze_b) * clear
            e = exposure * vignette[y, x]
            out[y, x, 0] = tones[min(int(np.sqrt(max(red, 0.0) * e) * (TONES / 2)), TONES - 1)]
            out[y, x, 1] = tones[min(int(np.sqrt(max(green, 0.0) * e) * (TONES / 2)), TONES - 1)]
            out[y, x, 2] = tones[min(int(np.sqrt(max(blue, 0.0) * e) * (TONES / 2)), TONES - 1)]


@kernel
def soften(rows: Array, picture: Array, out: Array) -> None:
    """Stairs along edges become slopes, (h, w, 3) uint8: a pixel that differs from its neighbours takes of them."""
    height, width = picture.shape[0], picture.shape[1]
    for y in range(rows[0], rows[1]):
        for x in range(width):
            if y == 0 or x == 0 or y == height - 1 or x == width - 1:
                for c in range(3):
                    out[y, x, c] = picture[y, x, c]
                continue
            here, up, down = int(picture[y, x, 1]), int(picture[y - 1, x, 1]), int(picture[y + 1, x, 1])
            left, right = int(picture[y, x - 1, 1]), int(picture[y, x + 1, 1])
            lowest, highest = min(here, up, down, left, right), max(here, up, down, left, right)
            contrast = highest - lowest
            if contrast < 14:
                for c in range(3):
                    out[y, x, c] = picture[y, x, c]
                continue
            # The more a pixel stands out, the more of its neighbours it takes: half of it at most.
            weight = min(contrast * 4, 128)
            for c in range(3):
                around = int(picture[y - 1, x, c]) + int(picture[y + 1, x, c])
                around += int(picture[y, x - 1, c]) + int(picture[y, x + 1, c])
                own = int(picture[y, x, c])
                out[y, x, c] = (own * (256 - weight) + (around * weight) // 4) >> 8


@kernel
def look(
    ids: Array, inverse_z: Array, ray_u: Array, ray_v: Array, upwards: Array, objects: Array, boxes: Array,
    shares: Array, histogram: Array,
) -> None:  # fmt: skip
    """Boxes (k, 4), visible pixels (k,) and histograms (k, bins) of the distance along the ground, per object.

    Args:
        upwards: (3,) how far up in the world each axis of the camera goes.
        objects: (m,) object of each triangle, or -1.
    """
    bins = histogram.shape[1]
    for k in range(boxes.shape[0]):
        boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3] = 1 << 20, 1 << 20, -1, -1
        shares[k] = 0
        for i in range(bins):
            histogram[k, i] = 0
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            t = ids[y, x]
            if t < 0:
                continue
            k = objects[t]
            if k < 0:
                continue
            boxes[k, 0], boxes[k, 1] = min(boxes[k, 0], x), min(boxes[k, 1], y)
            boxes[k, 2], boxes[k, 3] = max(boxes[k, 2], x), max(boxes[k, 3], y)
            shares[k] += 1
            u, v = ray_u[y, x], ray_v[y, x]
            up = u * upwards[0] + v * upwards[1] + upwards[2]
            distance = np.sqrt(max(u * u + v * v + 1.0 - up * up, 1e-9)) / inverse_z[y, x]
            i = int(np.log(distance * 10.0) * 50.0)
            histogram[k, min(max(i, 0), bins - 1)] += 1
