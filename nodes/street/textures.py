"""Surfaces of the street, painted from noise: walls with windows, paving, asphalt, leaves, sky. RGBA, sides 2^n.

The fourth channel is opacity for leaves (128 and more is solid), and for facades 255 minus how much a texel is glass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Rng = np.random.Generator
Colour = Sequence[float]

LEVELS = 8


def noise(rng: Rng, size: tuple[int, int], cell: int, *, octaves: int = 4) -> npt.NDArray[np.float32]:
    """Smooth noise (h, w) around 0, of about unit deviation, that repeats at its borders; `cell` is its coarsest."""
    height, width = size
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        step = max(1, cell >> octave)
        grid = rng.standard_normal((max(1, height // step), max(1, width // step))).astype(np.float32)
        wrapped = np.pad(grid, 2, mode="wrap")
        big = cv2.resize(wrapped, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += big[2 * step : 2 * step + height, 2 * step : 2 * step + width] * np.float32(0.5**octave)
    return np.asarray(total / max(float(total.std()), 1e-6), np.float32)


def _image(colour: npt.ArrayLike, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    return np.broadcast_to(np.asarray(colour, np.float32), (*shape, 3)).copy()


def _finish(rgb: npt.NDArray[Any], alpha: npt.NDArray[Any] | None = None) -> Image:
    height, width = rgb.shape[:2]
    out = np.full((height, width, 4), 255, np.uint8)
    out[..., :3] = np.clip(rgb, 0, 255)
    if alpha is not None:
        out[..., 3] = np.clip(alpha, 0, 255)
    return out


def asphalt(rng: Rng) -> Image:
    """Road surface, 4 m a side: gravel, stains, a few cracks and tyre marks."""
    n = 512
    rgb = _image((92, 92, 96), (n, n))
    rgb += (noise(rng, (n, n), 2, octaves=1) * 9 + noise(rng, (n, n), 128) * 7)[..., None]
    mask = np.zeros((n, n), np.uint8)
    for _ in range(5):
        p = rng.integers(0, n, 2)
        heading = rng.uniform(0, 2 * np.pi)
        points = [p]
        for _ in range(40):
            heading += rng.normal(0, 0.35)
            points.append(points[-1] + 9 * np.array([np.cos(heading), np.sin(heading)]))
        cv2.polylines(mask, [np.array(points, np.int32)], False, 255, 1, cv2.LINE_AA)
    rgb -= (mask * 0.12)[..., None]
    return _finish(rgb)


def paving(rng: Rng) -> Image:
    """Pavement, 2 m a side: slabs of 50 by 50 cm in half bond, each its own shade, with joints and gum."""
    n, slab = 512, 128
    rgb = _image((176, 170, 160), (n, n))
    for row in range(4):
        shift = (row % 2) * slab // 2
        for column in range(4):
            shade = rng.normal(0, 8) + np.array([rng.normal(0, 2), 0, rng.normal(0, 2)])
            x0 = column * slab + shift
            for x in (x0, x0 - n):
                rgb[row * slab : (row + 1) * slab, max(x, 0) : max(min(x + slab, n), 0)] += shade
    rgb += (noise(rng, (n, n), 64) * 5 + noise(rng, (n, n), 2, octaves=1) * 5)[..., None]
    for row in range(4):
        shift = (row % 2) * slab // 2
        rgb[row * slab : row * slab + 3] *= 0.62
        rgb[row * slab + 3 : row * slab + 5] *= 1.08
        for column in range(4):
            x = (column * slab + shift) % n
            rgb[row * slab : (row + 1) * slab, x : x + 3] *= 0.62
    spots = np.zeros((n, n), np.uint8)
    for _ in range(14):
        cv2.circle(
            spots, tuple(int(v) for v in rng.integers(8, n - 8, 2)), int(rng.integers(2, 5)), 255, -1, cv2.LINE_AA
        )
    rgb -= (spots * 0.14)[..., None]
    return _finish(rgb)


def granite(rng: Rng) -> Image:
    """Kerb stones, 1 m a side."""
    n = 256
    rgb = (
        _image((188, 186, 184), (n, n))
        + (noise(rng, (n, n), 4, octaves=2) * 14 + noise(rng, (n, n), 64) * 6)[..., None]
    )
    rgb[:, :3] *= 0.55
    return _finish(rgb)


def plaster(rng: Rng) -> Image:
    """A white wall, 2 m a side, to be tinted."""
    n = 256
    rgb = (
        _image((226, 224, 220), (n, n))
        + (noise(rng, (n, n), 128) * 5 + noise(rng, (n, n), 4, octaves=2) * 4)[..., None]
    )
    return _finish(rgb)


def bark(rng: Rng) -> Image:
    """Bark, 1 m a side: furrows along the trunk."""
    n = 256
    stretched = cv2.resize(noise(rng, (n // 8, n), 16), (n, n), interpolation=cv2.INTER_CUBIC)
    rgb = _image((116, 98, 80), (n, n)) + (stretched * 22 + noise(rng, (n, n), 8) * 8)[..., None]
    return _finish(rgb)


def leaves(rng: Rng) -> Image:
    """A twig's worth of leaves on nothing, about 1 m a side, to be tinted."""
    n = 256
    rgb, alpha = _image((96, 120, 60), (n, n)), np.zeros((n, n), np.uint8)
    drawn = np.ascontiguousarray(rgb)
    for _ in range(150):
        radius = abs(rng.normal(0, 0.42)) * n / 2
        angle = rng.uniform(0, 2 * np.pi)
        centre = (
            int(n / 2 + min(radius, n * 0.45) * np.cos(angle)),
            int(n / 2 + min(radius, n * 0.45) * np.sin(angle)),
        )
        axes = (int(rng.uniform(9, 17)), int(rng.uniform(5, 8)))
        turn = float(rng.uniform(0, 360))
        shade = rng.uniform(0.72, 1.3)
        colour = (190 * shade, 214 * shade, 128 * shade)
        cv2.ellipse(drawn, centre, axes, turn, 0, 360, colour, -1, cv2.LINE_AA)
        cv2.ellipse(drawn, centre, axes, turn, 0, 360, tuple(0.8 * c for c in colour), 1, cv2.LINE_AA)
        cv2.ellipse(alpha, centre, axes, turn, 0, 360, 255, -1)
    return _finish(drawn, alpha)


def cloth(rng: Rng, kind: int) -> Image:
    """Fabric, to be tinted: plain, striped, or checked."""
    n = 64
    rgb = _image((224, 224, 224), (n, n)) + (noise(rng, (n, n), 16) * 7)[..., None]
    if kind == 1:
        rgb[(np.arange(n) // 8) % 2 == 0] *= 0.55
    if kind == 2:
        rgb[(np.arange(n) // 16) % 2 == 0] *= 0.75
        rgb[:, (np.arange(n) // 16) % 2 == 0] *= 0.75
    return _finish(rgb)


def planks(rng: Rng) -> Image:
    """Wood, 1 m a side: five boards."""
    n = 256
    grain = cv2.resize(noise(rng, (n, n // 8), 16), (n, n), interpolation=cv2.INTER_CUBIC)
    rgb = _image((168, 120, 74), (n, n)) + (grain * 12)[..., None]
    for board in range(5):
        rgb[board * n // 5 : board * n // 5 + 3] *= 0.45
        rgb[board * n // 5 : (board + 1) * n // 5] *= rng.uniform(0.88, 1.1)
    return _finish(rgb)


def wall(rng: Rng, *, bricks: bool, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """A bare wall (h, w, 3) at 64 texels a metre: bricks, or plaster with streaks of rain."""
    height, width = shape
    if not bricks:
        streaks = cv2.resize(noise(rng, (8, width), 16), (width, height), interpolation=cv2.INTER_CUBIC)
        return _image((232, 230, 226), shape) + (
            noise(rng, shape, 128) * 5 + noise(rng, shape, 4, octaves=2) * 3 + streaks * 3
        )[..., None]  # fmt: skip
    rgb = _image((214, 206, 198), shape) + (noise(rng, shape, 8) * 5)[..., None]
    course, length = 8, 16
    shades = rng.normal(0, 13, (height // course + 1, width // length + 2, 1))
    hue = rng.normal(0, 5, (*shades.shape[:2], 3))
    for row in range(height // course):
        shift = (row % 2) * length // 2
        for column in range(-1, width // length + 1):
            x0, x1 = max(column * length + shift, 0), min(column * length + shift + length - 1, width)
            if x1 > x0:
                rgb[row * course + 1 : (row + 1) * course, x0:x1] = (
                    np.array([182, 104, 78]) + shades[row, column] + hue[row, column]
                )
    return np.asarray(rgb + (noise(rng, shape, 64) * 4 + noise(rng, shape, 2, octaves=1) * 5)[..., None], np.float32)


def _window(rgb: Any, glass: Any, at: tuple[int, int, int, int], rng: Rng, *, frame: Colour, shutters: bool) -> None:
    """One window into a facade: reveal, frame, panes with a reflection, curtains, sill, perhaps shutters."""
    x, y, w, h = at
    cv2.rectangle(rgb, (x - 4, y - 4), (x + w + 3, y + h + 3), tuple(0.82 * c for c in frame), -1)
    cv2.rectangle(rgb, (x, y), (x + w - 1, y + h - 1), (58, 62, 68), -1)
    fade = np.linspace(1.5, 0.75, h - 8)[:, None, None] * np.array([74, 92, 112])
    rgb[y + 4 : y + h - 4, x + 4 : x + w - 4] = fade
    inner = rgb[y + 4 : y + h - 4, x + 4 : x + w - 4]
    kind = rng.integers(0, 4)
    if kind == 1:  # a blind, drawn down in part
        down = int(rng.uniform(0.2, 0.8) * (h - 8))
        inner[:down] = (206, 200, 188)
        inner[2:down:4] *= 0.93
    elif kind == 2:  # curtains
        part = int(rng.uniform(0.12, 0.3) * (w - 8))
        for side in (slice(0, part), slice(-part, None)):
            inner[:, side] = np.array([212, 204, 196]) * (0.85 + 0.12 * np.sin(np.arange(part)))[None, :, None]
    glass[y + 4 : y + h - 4, x + 4 : x + w - 4] = 200 if rng.random() < 0.4 else 96
    for bar in (x + w // 2 - 2, x + 2, x + w - 5):
        cv2.rectangle(rgb, (bar, y + 2), (bar + 3, y + h - 3), frame, -1)
        glass[y + 2 : y + h - 2, bar : bar + 4] = 0
    for bar in (y + 2, y + h // 3, y + h - 5):
        cv2.rectangle(rgb, (x + 2, bar), (x + w - 3, bar + 3), frame, -1)
        glass[bar : bar + 4, x + 2 : x + w - 2] = 0
    rgb[y : y + 7, x : x + w] *= 0.6  # the reveal's shadow
    cv2.rectangle(rgb, (x - 8, y + h + 4), (x + w + 7, y + h + 10), (214, 210, 202), -1)
    rgb[y + h + 11 : y + h + 17, x - 8 : x + w + 8] *= 0.8
    if shutters:
        colour = rng.choice(np.array([[92, 116, 96], [96, 104, 122], [128, 92, 72], [180, 178, 170]]))
        for left in (x - 6 - w // 2, x + w + 6):
            x0, x1 = max(left, 0), min(left + w // 2, rgb.shape[1])
            rgb[y : y + h, x0:x1] = colour
            rgb[y + 2 : y + h : 6, x0:x1] *= 0.72


def storeys(rng: Rng) -> Image:
    """Two upper floors of a house, 8 m wide and 8 m high; row 0 is the bottom."""
    n = 512
    rgb, glass = wall(rng, bricks=bool(rng.random() < 0.4), shape=(n, n)), np.zeros((n, n), np.float32)
    columns, tall, shutters = int(rng.integers(3, 5)), int(rng.integers(96, 128)), bool(rng.random() < 0.4)
    pitch = n // columns
    wide = int(pitch * (0.36 if shutters else 0.46))
    frame = (236, 234, 228) if rng.random() < 0.7 else (74, 70, 66)
    for floor in range(2):
        top = floor * 256 + 70
        for column in range(columns):
            left = column * pitch + (pitch - wide) // 2
            _window(rgb, glass, (left, top, wide, tall), rng, frame=frame, shutters=shutters)
        cv2.rectangle(rgb, (0, floor * 256), (n, floor * 256 + 9), (222, 218, 210), -1)
        rgb[floor * 256 + 10 : floor * 256 + 18] *= 0.82
    return _finish(rgb[::-1], 255 - glass[::-1])


def ground_floor(rng: Rng) -> Image:
    """The ground floor of a house, 8 m wide and 4 m high, without its door; row 0 is the bottom."""
    height, width = 512, 1024
    small = wall(rng, bricks=bool(rng.random() < 0.35), shape=(height // 2, width // 2))
    rgb = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    rgb += (noise(rng, (height, width), 2, octaves=1) * 3)[..., None]
    glass = np.zeros((height, width), np.float32)
    if rng.random() < 0.55:  # a shop
        colour = rng.choice(np.array([[44, 66, 60], [96, 40, 40], [40, 52, 84], [60, 60, 62], [150, 112, 60]])).astype(
            float
        )
        rgb[60:] = colour + rng.normal(0, 2, (height - 60, width, 1))
        cv2.rectangle(rgb, (24, 64), (width - 24, 128), tuple(float(c) for c in colour * 1.35), -1)
        word = "".join(rng.choice(list("AEIORSTLMNVBC"), int(rng.integers(4, 8))))
        size = cv2.getTextSize(word, cv2.FONT_HERSHEY_TRIPLEX, 1.7, 3)[0][0]
        ink = np.zeros((height, width), np.uint8)
        cv2.putText(ink, word, ((width - size) // 2, 116), cv2.FONT_HERSHEY_TRIPLEX, 1.7, 255, 3, cv2.LINE_AA)
        rgb += (np.array([240, 226, 190]) - rgb) * (ink / 255)[..., None]
        for left, right in ((40, 400), (430, 700), (730, 990)):
            panes = rgb[150:430, left:right]
            panes[:] = np.linspace(1.0, 0.55, 280)[:, None, None] * np.array([70, 74, 80])
            tone = rng.uniform(0.5, 1.2, 3) * (120, 100, 80)
            for shelf in (110, 180, 268):  # goods on shelves
                panes[shelf : shelf + 5] = (104, 90, 74)
                x = int(rng.integers(4, 20))
                while x < right - left - 24:
                    w, h = int(rng.integers(10, 26)), int(rng.integers(16, 56))
                    shade = tone * rng.uniform(0.6, 1.35) + rng.normal(0, 16, 3)
                    panes[shelf - h : shelf, x : x + w] = np.clip(shade, 20, 200)
                    panes[shelf - h : shelf, x + w - 3 : x + w] *= 0.7
                    x += w + int(rng.integers(3, 26))
            panes *= 0.85
            glass[150:430, left:right] = 130
            cv2.rectangle(rgb, (left - 6, 144), (right + 6, 436), tuple(float(c) for c in colour * 0.6), 6)
    else:
        for left in (70, 390, 730):
            _window(rgb, glass, (left, 150, 170, 210), rng, frame=(236, 234, 228), shutters=False)
    # A plinth, dark from rain and feet.
    rgb[446:] = (150, 146, 140) + noise(rng, (height - 446, width), 16)[..., None] * 6
    rgb[446:452] *= 0.7
    rgb[380:] *= np.linspace(1, 0.78, height - 380)[:, None, None]
    glass[446:] = 0
    return _finish(rgb[::-1], 255 - glass[::-1])


def door(rng: Rng) -> Image:
    """A house door, 1 m wide and 2 m high, to be tinted; row 0 is the bottom."""
    height, width = 256, 128
    rgb, glass = _image((190, 188, 184), (height, width)), np.zeros((height, width), np.float32)
    rgb += (noise(rng, (height, width), 16) * 3)[..., None]
    cv2.rectangle(rgb, (0, 0), (width - 1, height - 1), (110, 108, 104), 7)
    panels = [(22, 26, 106, 96), (22, 116, 106, 160), (22, 180, 106, 236)]
    for i, (x0, y0, x1, y1) in enumerate(panels):
        cv2.rectangle(rgb, (x0, y0), (x1, y1), (128, 126, 122), 3)
        cv2.line(rgb, (x0, y1), (x1, y1), (226, 224, 220), 2)
        if i == 0 and rng.random() < 0.7:
            rgb[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4] = (70, 84, 100)
            glass[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4] = 170
    cv2.circle(rgb, (112, 138), 5, (236, 200, 110), -1, cv2.LINE_AA)
    return _finish(rgb[::-1], 255 - glass[::-1])


def sky(rng: Rng, *, sun: Sequence[float], night: float, cover: float) -> npt.NDArray[np.float32]:
    """Light of the sky (n, n, 3), linear: half an octahedron, laid flat, its top in the middle. `cover`: of clouds."""
    side = 512
    at = (np.arange(side) + 0.5) / side * 2 - 1
    p, q = np.meshgrid(at, at)
    x, y = (p - q) / 2, (p + q) / 2
    z = np.maximum(1 - np.abs(x) - np.abs(y), 0)
    length = np.sqrt(x * x + y * y + z * z)
    x, y, up = x / length, y / length, z / length
    to_sun = np.clip(x * sun[0] + y * sun[1] + up * sun[2], 0, 1)[..., None]
    zenith, horizon = np.array([0.16, 0.34, 0.78]), np.array([0.72, 0.83, 0.96])
    blend = np.clip(1 - up, 0, 1)[..., None] ** 3
    clear = zenith + (horizon - zenith) * blend
    clear = clear + np.array([1.0, 0.85, 0.6]) * (0.35 * to_sun**8 + 8 * to_sun**900)
    # Clouds lie on a plane above: seen flatter the lower they are.
    tile = noise(rng, (512, 512), 128, octaves=6)
    scale = 60 / (up + 0.12)
    columns, rows = (x * scale).astype(np.float32) % 512, (y * scale).astype(np.float32) % 512
    shape = cv2.remap(tile, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    thick = np.clip((shape + 3.2 * cover - 1.4) * 0.7, 0, 1)[..., None] * np.clip(up * 12, 0, 1)[..., None]
    white = np.array([1.0, 0.98, 0.96]) * (0.92 - 0.42 * cover * np.clip(shape, -0.5, 1.2)[..., None] * 0.6)
    day = clear * (1 - 0.6 * cover) + np.array([0.66, 0.70, 0.75]) * 0.6 * cover
    day = day + (white - day) * thick
    dark = np.array([0.012, 0.016, 0.034]) + np.array([0.05, 0.034, 0.022]) * blend + thick * 0.012
    return np.ascontiguousarray(day * (1 - night) + dark * night, np.float32)


def pack(images: Sequence[Image]) -> tuple[Image, npt.NDArray[np.int32]]:
    """All textures and their smaller levels in one array of texels (n, 4), and where each is (t, levels, 3)."""
    parts: list[Image] = []
    table = np.zeros((len(images), LEVELS, 3), np.int32)
    start = 0
    for i, image in enumerate(images):
        level_image = image
        for level in range(LEVELS):
            height, width = level_image.shape[:2]
            table[i, level] = start, width, height
            parts.append(level_image.reshape(-1, 4))
            start += height * width
            if min(height, width) > 1:
                smaller = cv2.resize(level_image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
                level_image = np.asarray(smaller, np.uint8)
    return np.concatenate(parts), table
