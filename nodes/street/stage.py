"""A scene set up: all that stands, in one list of triangles along the street, and all that moves, posed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from nodes.street import things
from nodes.street.city import CLASS_NAMES, FAR_WALL_X, WALL_X, Piece, city, ground_z, thing
from nodes.street.light import light
from nodes.street.mesh import Floats, Mesh, joined
from nodes.street.people import Body, person
from nodes.street.raster import fill_sun
from nodes.street.scene import Actor, Scene
from nodes.street.surfaces import VARIETY, surfaces
from nodes.street.walk import Track, Wearer

BEHIND_M, AHEAD_M = 9.0, 85.0
SHADOW_M, GROUND_M = 0.05, 0.1
"""Size of a texel of the shadow map, and of the map of what hides the sky from the ground."""
LONG_M = 12.0
WINDOW = 880
"""Side of the map of moving shadows, in texels."""
STAMPED_M = 30.0
"""Farther away nobody sees how the ground darkens under feet."""


@dataclass(frozen=True, slots=True, eq=False)
class Solid:
    """An object that the truth tells of, as a box over the ground."""

    class_id: int
    low: npt.NDArray[np.float64]
    """(2,) least x and y."""
    high: npt.NDArray[np.float64]
    velocity: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Triangles:
    """Triangles with what the kernels want of each."""

    faces: npt.NDArray[np.int32]
    materials: npt.NDArray[np.int16]
    objects: npt.NDArray[np.int32]

    def part(self, first: int, last: int) -> Triangles:
        """Some of them."""
        return Triangles(self.faces[first:last], self.materials[first:last], self.objects[first:last])


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """Everything at one time. The next `Stage.at` takes its arrays back."""

    points: Floats
    """(n, 3) corners in the world: those that stand, then those that move."""
    attributes: Floats
    """(n, 8)"""
    triangles: Triangles
    spans: tuple[slice, slice]
    """The corners that are needed, of those that stand and of those that move."""
    solids: list[Solid]
    moving_sun: Floats
    moving_at: npt.NDArray[np.float32]
    ground: Floats
    ground_at: npt.NDArray[np.float64]


class _Mover:
    """An actor with its mesh."""

    def __init__(self, actor: Actor, stage: Stage) -> None:
        rng = np.random.default_rng([actor.seed, 5])
        self.kind, self.track = actor.kind, Track(actor.path)
        self.body: Body | None = None
        self.solid: Mesh | None = None
        if actor.kind == "car":
            self.solid = things.car(rng, stage.surfaces, colour=actor.colour)
        else:
            self.body = person(rng, stage.surfaces, coat=actor.colour)
        if actor.kind == "cyclist":
            self.solid = things.bicycle(rng, stage.surfaces)
        names = {"car": ["car"], "person": ["person"], "cyclist": ["bicycle", "person"]}[actor.kind]
        self.classes = [CLASS_NAMES.index(name) for name in names]

    def parts(self, t: float) -> list[tuple[Mesh, Floats, Floats]]:
        """Each object's mesh with its corners and normals in the world."""
        place, heading = self.track.place(t), -self.track.heading(t)
        at = (place[0], place[1], ground_z(place[0], place[1]))
        out = []
        if self.solid is not None:
            moved = self.solid.moved(at, yaw=heading)
            out.append((moved, moved.corners, moved.normals))
        if self.body is not None:
            speed = float(np.hypot(*self.track.velocity(t, over_s=0.4)))
            is_riding = self.kind == "cyclist"
            phase = 2 * np.pi * self.track.gone_m(t) / (4.5 if is_riding else self.body.stride_m)
            corners, normals = self.body.posed(phase, swing=min(speed / 1.2, 1.2), riding=is_riding)
            if is_riding:
                corners = corners + np.array([0, -0.25, 0.06], np.float32)
            c, s = np.cos(heading), np.sin(heading)
            turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float32)
            out.append((self.body.mesh, (corners @ turn.T + np.asarray(at, np.float32)), normals @ turn.T))
        return out


class Stage:
    """A scene set up. Making it takes some seconds, in which `go_on` is called often; each `at` some milliseconds."""

    def __init__(self, scene: Scene, *, go_on: Callable[[], None] = lambda: None) -> None:
        self.scene = scene
        self.surfaces = surfaces(scene.seed % VARIETY)
        self.light = light(scene)
        self.wearer = Wearer(scene)
        self.flags = self.surfaces.flags
        end = max(self.wearer.track.ys)
        pieces = []
        for piece in city(scene.seed, end + 20, self.surfaces, furnished=scene.furnished):
            pieces.append(piece)
            go_on()
        rng = np.random.default_rng([scene.seed, 6])
        for placed in scene.things:
            size = dict(placed.size)
            pieces.append(thing(rng, placed.kind, placed.at, self.surfaces, facing_deg=placed.facing_deg, **size))
        self.solids: list[Solid] = []
        self._set_up(pieces)
        self.movers = [_Mover(actor, self) for actor in scene.actors]
        go_on()
        self._bake_shadows(pieces)
        go_on()
        self._bake_ground(pieces)
        go_on()
        self._make_room()
        self.lamps = self._lamps(pieces)

    def _set_up(self, pieces: list[Piece]) -> None:
        """Sort all triangles along the street; those of an object stay together."""
        keys, numbers = [], []
        for piece in pieces:
            y = piece.mesh.corners[:, 1]
            count, number = len(piece.mesh.faces), -1
            if piece.class_name is not None:
                number = len(self.solids)
                low, high = piece.mesh.corners.min(axis=0), piece.mesh.corners.max(axis=0)
                class_id = CLASS_NAMES.index(piece.class_name)
                self.solids.append(Solid(class_id, low[:2].astype(float), high[:2].astype(float), np.zeros(2)))
            is_long = number < 0 and float(np.ptp(y)) > LONG_M
            middle = y[piece.mesh.faces].mean(axis=1) if is_long else np.full(count, (y.min() + y.max()) / 2)
            keys.append(middle)
            numbers.append(np.full(count, number, np.int32))
        whole = joined(piece.mesh for piece in pieces)
        key = np.concatenate(keys)
        order = np.argsort(key, kind="stable")
        # Corners in the order in which the sorted triangles use them.
        faces = whole.faces[order]
        used, first = np.unique(faces.ravel(), return_index=True)
        rank = np.argsort(first)
        place = np.empty(len(whole.corners), np.int32)
        place[used[rank]] = np.arange(len(used), dtype=np.int32)
        corners = used[rank]
        self.keys = key[order]
        self.still = Triangles(place[faces], whole.materials[order], np.concatenate(numbers)[order])
        self.points = np.ascontiguousarray(whole.corners[corners])
        self.attributes = _attributes(whole, whole.normals)[corners]

    def _make_room(self) -> None:
        """Room behind the corners that stand for all those that move."""
        self.still_count = len(self.points)
        count = sum(len(mesh.corners) for mover in self.movers for mesh, _, _ in mover.parts(0.0))
        self.points = np.concatenate([self.points, np.zeros((count, 3), np.float32)])
        self.attributes = np.concatenate([self.attributes, np.zeros((count, 8), np.float32)])

    def _to_sun_map(self, points: npt.NDArray[np.float32]) -> Floats:
        """Texels across and down, from an origin far away, and metres towards the sun."""
        mapped: Floats = (points @ self.sun_axes.T).astype(np.float32)
        return mapped

    def _bake_shadows(self, pieces: list[Piece]) -> None:
        to_sun = self.light.to_sun
        across = np.cross(to_sun, [0.0, 0.0, 1.0])
        across /= np.linalg.norm(across)
        up = np.cross(across, to_sun)
        self.sun_axes = np.stack([across / SHADOW_M, up / SHADOW_M, to_sun])
        corner = np.zeros(2)
        self.still_sun: Floats = np.full((2, 2), -1e9, np.float32)
        if self.light.sun[0] > 0:
            low, high = self.points.min(axis=0), self.points.max(axis=0)
            # Light reaches the eye from the street and its fronts only.
            way = self.wearer.track.ys
            ys = (max(low[1], min(way) - 60), min(high[1], max(way) + 100))
            ends = np.array([[x, y, z] for x in (FAR_WALL_X, WALL_X) for y in ys for z in (-0.2, 14.0)])
            mapped = self._to_sun_map(ends)
            corner = mapped[:, :2].min(axis=0)
            width, height = np.ceil(mapped[:, :2].max(axis=0) - corner).astype(int)
            self.still_sun = np.full((height, width), -1e9, np.float32)
            shading = joined(piece.mesh for piece in pieces if piece.shades)
            points = self._to_sun_map(shading.corners) - np.append(corner, 0).astype(np.float32)
            kinds = shading.materials
            s = self.surfaces
            fill_sun(points, shading.faces, s.flags[kinds], s.kinds[kinds, 0].astype(np.int32),
                     np.ascontiguousarray(shading.uv), s.texels, s.table, self.still_sun)  # fmt: skip
        self.sun_corner = corner
        origin = np.linalg.solve(self.sun_axes, np.append(corner, 0.0))
        sun = [to_sun, self.light.sun, self.sun_axes[0], self.sun_axes[1], origin]
        self.sun = np.array(sun, np.float32)

    def _bake_ground(self, pieces: list[Piece]) -> None:
        """How much of the sky each spot of the ground cannot see, for what stands on it."""
        low, high = self.points[:, 1].min(), self.points[:, 1].max()
        self.ground_at = np.array([FAR_WALL_X - 1, low])
        shape = (int((high - low) / GROUND_M) + 1, int((WALL_X + 1 - self.ground_at[0]) / GROUND_M))
        sharp = np.zeros(shape, np.float32)
        for piece in pieces:
            if piece.round_m > 0:
                corners = piece.mesh.corners
                low_part = corners[corners[:, 2] < corners[:, 2].min() + 0.6]
                a = (low_part[:, :2].min(axis=0) - self.ground_at) / GROUND_M
                b = (low_part[:, :2].max(axis=0) - self.ground_at) / GROUND_M
                cv2.rectangle(sharp, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), 0.85, -1)
        for x in (WALL_X, FAR_WALL_X):
            column = int((x - self.ground_at[0]) / GROUND_M)
            cv2.rectangle(sharp, (column - 2, 0), (column + 4, shape[0]), 0.6, -1)
        self.ground: Floats = np.maximum(
            cv2.GaussianBlur(sharp, (0, 0), 2.0), 0.8 * cv2.GaussianBlur(sharp, (0, 0), 5.0)
        )

    def _lamps(self, pieces: list[Piece]) -> Floats:
        heads = [p.mesh.corners.mean(axis=0) for p in pieces if p.class_name is None and self._is_lamp(p)]
        return np.array(heads, np.float32).reshape(-1, 3)

    def _is_lamp(self, piece: Piece) -> bool:
        return bool((piece.mesh.materials == self.surfaces["lamp"]).any())

    def at(self, t: float) -> Moment:
        """The stage at time `t`, around the wearer."""
        eye = self.wearer.track.place(t)
        first, last = np.searchsorted(self.keys, [eye[1] - BEHIND_M, eye[1] + AHEAD_M])
        still = self.still.part(int(first), int(last))
        low, high = (int(still.faces.min()), int(still.faces.max()) + 1) if len(still.faces) else (0, 0)
        faces, materials, objects = [still.faces], [still.materials], [still.objects]
        solids, at = list(self.solids), self.still_count
        casters: list[tuple[Mesh, Floats]] = []
        ground_at, ground = self._ground_around(eye)
        for mover in self.movers:
            place = mover.track.place(t)
            number = len(solids)
            way = mover.track.velocity(t)
            if not -BEHIND_M < place[1] - eye[1] < AHEAD_M:
                solids += [Solid(c, place, place, way) for c in mover.classes]
                continue
            for class_id, (mesh, corners, normals) in zip(mover.classes, mover.parts(t), strict=True):
                end = at + len(corners)
                self.points[at:end], self.attributes[at:end, 2:5] = corners, normals
                self.attributes[at:end, :2], self.attributes[at:end, 5:] = mesh.uv, mesh.colours
                faces.append(mesh.faces + np.int32(at))
                materials.append(mesh.materials)
                objects.append(np.full(len(mesh.faces), number, np.int32))
                low_xy, high_xy = corners[:, :2].min(axis=0), corners[:, :2].max(axis=0)
                solids.append(Solid(class_id, low_xy.astype(float), high_xy.astype(float), way))
                at = end
                number += 1
                casters.append((mesh, corners))
            if place[1] - eye[1] < STAMPED_M:
                _stamp(ground, (place - ground_at) / GROUND_M, mover.kind, mover.track.heading(t))
        moving_sun, moving_at = self._moving_shadows(eye, casters)
        triangles = Triangles(np.concatenate(faces), np.concatenate(materials), np.concatenate(objects))
        spans = (slice(low, high), slice(self.still_count, at))
        return Moment(self.points[:at], self.attributes[:at], triangles, spans, solids, moving_sun, moving_at, ground,
                      ground_at)  # fmt: skip

    def _ground_around(self, eye: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], Floats]:
        first = max(0, int((eye[1] - BEHIND_M - self.ground_at[1]) / GROUND_M))
        part = self.ground[first : first + int((BEHIND_M + 40) / GROUND_M)].copy()
        return self.ground_at + np.array([0.0, first * GROUND_M]), part

    def _moving_shadows(
        self, eye: npt.NDArray[np.float64], casters: list[tuple[Mesh, Floats]]
    ) -> tuple[Floats, npt.NDArray[np.float32]]:
        if not self.light.sun[0] > 0:
            return np.full((2, 2), -1e9, np.float32), np.zeros(2, np.float32)
        centre = self.sun_axes[:2] @ np.array([eye[0] - 2, eye[1] + 12, 0.0]) - self.sun_corner
        corner = np.floor(centre - WINDOW / 2)
        depth = np.full((WINDOW, WINDOW), -1e9, np.float32)
        s = self.surfaces
        for mesh, corners in casters:
            points = (corners @ self.sun_axes.T - np.append(self.sun_corner + corner, 0)).astype(np.float32)
            if points[:, 0].max() < 0 or points[:, 1].max() < 0 or points[:, :2].min() > WINDOW:
                continue
            fill_sun(points, mesh.faces, s.flags[mesh.materials], s.kinds[mesh.materials, 0].astype(np.int32), mesh.uv,
                     s.texels, s.table, depth)  # fmt: skip
        return depth, corner.astype(np.float32)


def _attributes(mesh: Mesh, normals: Floats) -> Floats:
    """(n, 8) texture coordinates, normal, colour."""
    return np.concatenate([mesh.uv, normals, mesh.colours], axis=1).astype(np.float32)


_HALF_M = {"person": (0.24, 0.2), "cyclist": (0.2, 0.8), "car": (0.9, 2.1)}


def _stamp(ground: Floats, at: npt.NDArray[np.float64], kind: str, heading: float) -> None:
    """Darken the ground around somebody who stands on it."""
    half = np.array(_HALF_M[kind]) / GROUND_M
    reach = int(half.max() + 9)
    column, row = int(at[0]), int(at[1])
    x0, x1 = max(column - reach, 0), min(column + reach, ground.shape[1])
    y0, y1 = max(row - reach, 0), min(row + reach, ground.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    x, y = np.meshgrid(np.arange(x0, x1) - at[0], np.arange(y0, y1) - at[1])
    c, s = np.cos(heading), np.sin(heading)
    across, along = np.abs(c * x - s * y), np.abs(s * x + c * y)
    outside = np.hypot(np.maximum(across - half[0], 0), np.maximum(along - half[1], 0))
    dark = (0.72 * np.exp(-outside / 3.0)).astype(np.float32)
    np.maximum(ground[y0:y1, x0:x1], dark, out=ground[y0:y1, x0:x1])
