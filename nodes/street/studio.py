"""One camera on the stage: its picture, what is true in it, and the depth of each pixel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from nodes.messages import Detections, Truth
from nodes.street import light as lights
from nodes.street import rig
from nodes.street.city import CLASS_NAMES
from nodes.street.raster import TILE, fill, prepare
from nodes.street.scene import Scene
from nodes.street.shade import look, shade, soften
from nodes.street.stage import Moment, Solid, Stage
from nodes.street.walk import HeadPose

STEPS_PER_RADIAN = 256
BODY_M = 0.3
"""Radius of the wearer's own body."""
NEAR_SHARE = 0.12
"""An object is as far away as the nearest so many of its pixels."""
BINS = 400
MIN_BLUR_PX = 0.8
BANDS = 6
"""For each thread."""


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """What one camera saw at one time, and the truth about it."""

    pixels: npt.NDArray[np.uint8]
    """(h, w, 3) RGB, or (h, w) gray; black where the lens sees nothing."""
    depth: npt.NDArray[np.float32]
    """(h, w) metres along the optical axis; inf is sky, 0 is what the lens does not see; empty if unwanted."""
    truth: Truth


class Studio:
    """A camera of the glasses in a scene. `shoot` gives the same at the same time, in any order; one thread at a time.

    Args:
        scene: The scene, or a stage that several cameras share.
        size_wh: Size of the RGB camera's picture, square; 1408 is the sensor's.
        mount: Another camera of the rig.
        threads: How many threads draw.
    """

    def __init__(
        self,
        scene: Scene | Stage,
        size_wh: tuple[int, int] = (704, 704),
        *,
        mount: rig.Mount | None = None,
        threads: int = 2,
    ) -> None:
        self.stage = scene if isinstance(scene, Stage) else Stage(scene)
        self.mount = mount or rig.rgb(size_wh)
        self.camera = self.mount.camera
        self.width, self.height = self.camera.size_wh
        self.threads = threads
        self._look_through()
        shape = (self.height, self.width)
        self.inverse_z, self.ids = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
        self.touched = np.zeros(shape, np.int16)
        self.raw = np.zeros((*shape, 3), np.uint8)
        self.tones, self.linear = lights.tones(), lights.linear()
        rng = np.random.default_rng([self.stage.scene.seed, 7])
        grain = rng.normal(0, self.stage.light.grain, (shape[0] + 97, shape[1] + 89, 3))
        self.grain = np.clip(np.round(grain), -127, 127).astype(np.int8)
        self.mask = np.repeat(np.where(self.is_seen, 255, 0).astype(np.uint8)[..., None], 3, axis=2)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads, "street")

    def close(self) -> None:
        """End the threads."""
        if "_pool" in self.__dict__:
            self._pool.shutdown()

    def _look_through(self) -> None:
        """The ray of each pixel, and the lens as a table for bounds."""
        columns, rows = np.meshgrid(np.arange(self.width), np.arange(self.height))
        rays = self.camera.unproject(np.column_stack([columns.ravel(), rows.ravel()]))
        is_seen = (np.isfinite(rays[:, 2]) & (rays[:, 2] > 0.05)).reshape(self.height, self.width)
        with np.errstate(invalid="ignore", divide="ignore"):
            u, v = (np.where(is_seen.ravel(), rays[:, i] / rays[:, 2], 0.0) for i in (0, 1))
        self.ray_u, self.ray_v = (a.reshape(is_seen.shape).astype(np.float32) for a in (u, v))
        self.is_seen = is_seen
        self.shortening = (1 / np.sqrt(self.ray_u**2 + self.ray_v**2 + 1)).astype(np.float32)
        self.tiles = _tiles(self.ray_u, self.ray_v)
        first = np.where(is_seen.any(axis=1), is_seen.argmax(axis=1), self.width)
        last = np.where(is_seen.any(axis=1), self.width - 1 - is_seen[:, ::-1].argmax(axis=1), -1)
        self.seen = np.column_stack([first, last]).astype(np.int32)
        angle = np.arctan(np.hypot(self.ray_u, self.ray_v))
        widest = float(angle[is_seen].max())
        # Radius over the angle from the axis, a mean of all directions; beyond what the lens sees it goes straight on.
        steps = np.arange(int(np.pi * STEPS_PER_RADIAN) + 4) / STEPS_PER_RADIAN
        inside = steps[steps < widest * 0.98]
        around = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        sines = np.sin(inside)[:, None]
        points = np.stack(
            [
                sines * np.cos(around),
                sines * np.sin(around),
                np.broadcast_to(np.cos(inside)[:, None], (len(inside), 16)),
            ],
            axis=2,
        )
        centre = self.camera.project(np.array([[0.0, 0.0, 1.0]]))[0]
        pixels = self.camera.project(points.reshape(-1, 3)).reshape(len(inside), 16, 2) - centre
        radii = np.hypot(pixels[..., 0], pixels[..., 1])
        mean = np.nanmean(radii, axis=1)
        straight = np.stack([np.cos(around), np.sin(around)], axis=1) * mean[:, None, None]
        margin = float(np.nanmax(np.abs(pixels - straight))) + 1.0
        slope = (mean[-1] - mean[-9]) / 8
        beyond = mean[-1] + slope * np.arange(1, len(steps) - len(inside) + 1)
        table = np.concatenate([mean, beyond])
        head = [centre[0], centre[1], STEPS_PER_RADIAN, margin]
        self.lens = np.concatenate([head, table]).astype(np.float32)
        self.footprint = 1.0 / float(mean[8] * STEPS_PER_RADIAN / 8)
        fall = np.clip(angle / max(widest, 1e-6), 0, 1)
        rim = np.clip((widest - angle) / (0.012 * widest), 0, 1)
        self.vignette = (
            ((1 - 0.32 * fall**2.5) * rim).astype(np.float32)
            if self._is_round
            else (1 - 0.3 * fall**2).astype(np.float32)
        )

    @property
    def _is_round(self) -> bool:
        return bool(not self.is_seen[0, 0])

    def shoot(
        self,
        t: float,
        moment: Moment | None = None,
        *,
        with_depth: bool = True,
        out: npt.NDArray[np.uint8] | None = None,
    ) -> Shot:
        """The picture at time `t` in seconds, with depth and truth.

        `moment`: the stage then, if it is known; `out`: where the pixels are to be written, of the picture's shape.
        """
        stage, pose = self.stage, self.stage.wearer.pose(t)
        moment = stage.at(t) if moment is None else moment
        rotation = pose.rotation @ self.mount.rotation
        position = pose.position + pose.rotation @ self.mount.offset
        counts = self._draw(moment, rotation, position)
        pixels = self._expose(t, rotation, out)
        depth = self._depth() if with_depth else np.zeros((0, 0), np.float32)
        truth = self._truth(moment, pose, rotation=rotation, position=position, counts=counts)
        return Shot(pixels, depth, truth)

    def _depth(self) -> npt.NDArray[np.float32]:
        with np.errstate(divide="ignore"):
            depth: npt.NDArray[np.float32] = np.float32(1.0) / self.inverse_z
        depth[~self.is_seen] = 0.0
        return depth

    def _draw(
        self, moment: Moment, rotation: npt.NDArray[np.float64], position: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int32]:
        """Draw into `ids`, `inverse_z` and `raw`; how many pixels each object would have alone."""
        stage, triangles = self.stage, moment.triangles
        s = stage.surfaces
        points = np.empty_like(moment.points)
        for part in moment.spans:
            points[part] = (moment.points[part] - position) @ rotation
        flags = s.flags[triangles.materials]
        textures = s.kinds[triangles.materials, 0].astype(np.int32)
        count = len(triangles.faces)
        edges, spans = np.empty((count, 13), np.float32), np.empty((count, 4), np.int32)
        size = np.array([self.width, self.height], np.int32)
        halves = [slice(i * count // self.threads, (i + 1) * count // self.threads) for i in range(self.threads)]
        self._each(lambda h: prepare(points, triangles.faces[h], flags[h], self.lens, size, edges[h], spans[h]), halves)
        bands = 1 if self.threads == 1 else BANDS * self.threads
        counts = np.zeros((bands, len(moment.solids)), np.int32)
        pose = np.concatenate([rotation, position[None]]).astype(np.float32)
        light = stage.light
        scene = light.packed(self.footprint, moment.ground_at, 1 / 0.1)
        lamps = stage.lamps
        if len(lamps):
            near = np.argsort(np.abs(lamps[:, 1] - position[1] - 6))[:8]
            lamps = np.ascontiguousarray(lamps[near])
        # Some parts of a picture are more work than others: more bands than threads, each takes the next.
        cuts = np.linspace(0, self.height, bands + 1).astype(np.int64)

        def band(i: int) -> None:
            rows = cuts[i : i + 2]
            fill(rows, self.ray_u, self.ray_v, self.tiles, self.seen, edges, spans, triangles.faces, flags,
                 triangles.objects, textures, moment.attributes, s.texels, s.table, self.inverse_z, self.ids,
                 self.touched, counts[i])  # fmt: skip
            shade(rows, self.ray_u, self.ray_v, self.shortening, self.seen, edges, triangles.faces,
                  moment.attributes, triangles.materials, s.kinds, s.texels, s.table, self.linear, self.inverse_z,
                  self.ids, light.sky, pose, stage.sun, stage.still_sun, moment.moving_sun, moment.moving_at,
                  moment.ground, lamps, scene, self.vignette, self.tones, self.raw)  # fmt: skip

        self._each(band, range(bands))
        total: npt.NDArray[np.int32] = counts.sum(axis=0, dtype=np.int32)
        return total

    def _each(self, work: Any, parts: Any) -> None:
        if self.threads == 1:
            for part in parts:
                work(part)
        else:
            list(self._pool.map(work, parts))

    def _expose(
        self, t: float, rotation: npt.NDArray[np.float64], out: npt.NDArray[np.uint8] | None
    ) -> npt.NDArray[np.uint8]:
        """Edges softened, blurred by the head's turning, with the sensor's noise."""
        picture = np.empty_like(self.raw)
        cuts = np.linspace(0, self.height, self.threads + 1).astype(np.int64)
        self._each(lambda i: soften(cuts[i : i + 2], self.raw, picture), range(self.threads))
        light = self.stage.light
        turning = self.mount.rotation.T @ self.stage.wearer.turning(t)
        shift = np.array([-turning[1], turning[0]]) * light.exposure_s / self.footprint
        length = float(np.hypot(*shift))
        if length > MIN_BLUR_PX:
            reach = int(np.ceil(length / 2))
            along = np.linspace(-0.5, 0.5, 4 * reach + 1)[:, None] * shift + reach
            trace = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
            np.add.at(trace, (np.round(along[:, 1]).astype(int), np.round(along[:, 0]).astype(int)), 1.0)
            picture = np.asarray(cv2.filter2D(picture, -1, trace / trace.sum()), np.uint8)
        if self.mount.is_gray:
            picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
        frame = round(t * 1000)
        y, x = frame * 31 % 97, frame * 17 % 89
        grain = self.grain[y : y + self.height, x : x + self.width]
        if self.mount.is_gray:
            grain = grain[..., 0]
        if light.wet > 0:
            picture = self._rained_on(picture, t)
        noisy = cv2.add(picture, grain, dtype=cv2.CV_8U)
        mask = self.mask[..., 0] if self.mount.is_gray else self.mask
        return np.asarray(cv2.bitwise_and(noisy, mask, dst=out), np.uint8)

    @cached_property
    def _drops(self) -> npt.NDArray[np.uint8]:
        """Falling drops as streaks, on a sheet larger than the picture."""
        rng = np.random.default_rng([self.stage.scene.seed, 8])
        height, width = self.height * 2, self.width + 64
        sheet = np.zeros((height, width), np.uint8)
        scale = self.height / 704
        for _ in range(int(1500 * self.stage.light.wet)):
            x, y = int(rng.integers(width)), int(rng.integers(height))
            length, level = rng.uniform(6, 26) * scale, int(rng.uniform(10, 46))
            end = (int(x + length * 0.12), int(y + length))
            cv2.line(sheet, (x, y), end, level, max(1, round(scale * rng.uniform(0.6, 1.6))), cv2.LINE_AA)
        return sheet

    def _rained_on(self, picture: npt.NDArray[np.uint8], t: float) -> npt.NDArray[np.uint8]:
        frame = round(t * 1000)
        y, x = self.height - frame * 37 % self.height, frame * 13 % 64
        drops = self._drops[y : y + self.height, x : x + self.width]
        drops = drops if self.mount.is_gray else np.repeat(drops[..., None], 3, axis=2)
        return np.asarray(cv2.add(picture, drops), np.uint8)

    def _truth(
        self, moment: Moment, pose: HeadPose, *, rotation: npt.NDArray[np.float64], position: npt.NDArray[np.float64],
        counts: npt.NDArray[np.int32],
    ) -> Truth:  # fmt: skip
        solids = moment.solids
        k = len(solids)
        boxes, shares = np.empty((k, 4), np.int32), np.empty(k, np.int32)
        histogram = np.empty((k, BINS), np.int32)
        upwards = rotation[2].astype(np.float32)
        look(self.ids, self.inverse_z, self.ray_u, self.ray_v, upwards, moment.triangles.objects, boxes, shares,
             histogram)  # fmt: skip
        rows = np.flatnonzero(shares > 0)
        xyxy = boxes[rows].astype(np.float32)
        xyxy[:, 2:] += 1
        total = np.cumsum(histogram[rows], axis=1)
        bins = (total >= np.maximum(NEAR_SHARE * shares[rows], 1)[:, None]).argmax(axis=1)
        distance = np.exp((bins + 0.5) / 50.0) / 10.0
        rays = self.camera.unproject((xyxy[:, :2] + xyxy[:, 2:]) / 2 - 0.5) @ rotation.T
        bearing = np.degrees(np.arctan2(rays[:, 0], rays[:, 1]) - pose.heading)
        bearing = (bearing + 180) % 360 - 180
        chosen = [solids[i] for i in rows]
        relative = np.array([s.velocity - pose.velocity for s in chosen], float).reshape(-1, 2)
        c, sn = np.cos(pose.heading), np.sin(pose.heading)
        right = relative @ np.array([c, -sn])
        ahead = relative @ np.array([sn, c])
        return Truth(
            Detections(
                xyxy,
                np.ones(len(rows), np.float32),
                np.array([s.class_id for s in chosen], np.int32),
                CLASS_NAMES,
                (self.width, self.height),
                self.camera,
            ),
            visible=np.clip(shares[rows] / np.maximum(counts[rows], 1), 0, 1).astype(np.float32),
            distance_m=distance.astype(np.float32),
            bearing_deg=np.nan_to_num(bearing).astype(np.float32),
            velocity=np.column_stack([right, np.zeros(len(rows)), ahead]).astype(np.float32),
            ttc_s=np.array([contact_s(s, position[:2], pose.velocity) for s in chosen], np.float32),
            track_id=rows.astype(np.int32),
            position=position,
            rotation=rotation,
            speed_mps=float(np.hypot(*pose.velocity)),
        )


def _tiles(u: npt.NDArray[np.float32], v: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Least and greatest u and v of each tile, (., ., 4)."""
    pad = [(0, -side % TILE) for side in u.shape]
    blocks = [np.pad(a, pad, mode="edge") for a in (u, v)]
    rows, columns = blocks[0].shape[0] // TILE, blocks[0].shape[1] // TILE
    cut = [b.reshape(rows, TILE, columns, TILE) for b in blocks]
    return np.stack([f(c, axis=(1, 3)) for c in cut for f in (np.min, np.max)], axis=2)


def contact_s(solid: Solid, place: npt.NDArray[np.float64], velocity: npt.NDArray[np.float64]) -> float:
    """Seconds until a body of `BODY_M` at `place` (2,) touches the solid, if both keep their velocity; inf: never."""
    way = velocity - solid.velocity
    enter, leave = 0.0, np.inf
    for axis in range(2):
        low, high = solid.low[axis] - BODY_M - place[axis], solid.high[axis] + BODY_M - place[axis]
        if abs(way[axis]) < 1e-6:
            if low > 0 or high < 0:
                return float("inf")
            continue
        first, last = sorted((low / way[axis], high / way[axis]))
        enter, leave = max(enter, first), min(leave, last)
    return float(enter) if enter <= leave else float("inf")
