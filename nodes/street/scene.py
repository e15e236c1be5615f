"""What a scene holds: who walks where and when, in which light. Plain data, from YAML or drawn by lot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from graph.errors import nearest
from nodes.ops import checks
from nodes.street.city import KERB_X, PITCH_M, THINGS

Path3 = tuple[tuple[float, float, float], ...]
"""Places on the way: seconds, x and y in metres; straight and even in between."""

ACTORS = ("person", "cyclist", "car")
WALK_MPS = 1.3
LIGHTS = ("night", "rain", "crowd", "clouds", "sway")


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody or something that moves."""

    kind: Literal["person", "cyclist", "car"]
    path: Path3
    seed: int = 0
    """What it looks like."""
    colour: tuple[float, float, float] | None = None
    """Linear, of the clothes or the paint; None: by `seed`."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A thing that stands at (x, y)."""

    kind: str
    at: tuple[float, float]
    facing_deg: float = 0.0
    size: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """A walk down the street."""

    seed: int
    duration_s: float
    walk: Path3
    actors: tuple[Actor, ...] = ()
    things: tuple[Placed, ...] = ()
    night: float = 0.0
    rain: float = 0.0
    clouds: float = 0.3
    sway: float = 1.0
    """How much the head bobs and looks about: 0 not at all, 1 as people do."""
    furnished: bool = True
    """Whether trees, lamps, parked cars and the like are placed by lot."""
    crowd: float = field(default=0.0)
    """What the actors by lot were drawn with."""

    @classmethod
    def random(cls, seed: int, *, night: float = 0.0, rain: float = 0.0, crowd: float = 0.5) -> Scene:
        """A scene of 60 seconds drawn by lot; the same seed gives the same scene. `crowd` 1: 40 people on the way."""
        return cls.parse({"seed": seed, "night": night, "rain": rain, "crowd": crowd, "clouds": None})

    @classmethod
    def load(cls, path: str | Path, **changes: Any) -> Scene:
        """The scene of a YAML file, with some of its entries changed."""
        return cls.parse({**read(path), **{k: v for k, v in changes.items() if v is not None}})

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Scene:
        """The scene that plain data describes. ValueError with all its mistakes, a line each."""
        mistakes = list(problems(plain))
        if mistakes:
            raise ValueError("\n".join(mistakes))
        seed, duration = int(plain.get("seed", 0)), float(plain.get("duration_s", 60.0))
        rng = np.random.default_rng([seed, 2])
        clouds = plain.get("clouds", 0.3)
        drawn = float(rng.choice([0.05, 0.25, 0.45, 0.9], p=[0.3, 0.3, 0.2, 0.2]))
        rain, crowd = float(plain.get("rain", 0.0)), float(plain.get("crowd", 0.0))
        walk = _walk(plain.get("walk") or {}, duration, drift=float(rng.normal(0, 0.25)))
        actors = [_actor(a, i) for i, a in enumerate(plain.get("actors") or ())]
        actors += _passers_by(rng, walk, duration, crowd)
        return cls(
            seed=seed,
            duration_s=duration,
            walk=walk,
            actors=tuple(actors),
            things=tuple(_placed(t) for t in plain.get("things") or ()),
            night=float(plain.get("night", 0.0)),
            rain=rain,
            clouds=max(drawn if clouds is None else float(clouds), 0.9 * rain),
            sway=float(plain.get("sway", 1.0)),
            furnished=bool(plain.get("furnished", True)),
            crowd=crowd,
        )


def read(path: str | Path) -> dict[str, Any]:
    """The plain data of a scene's YAML file; ValueError where it is none."""
    try:
        plain = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        raise ValueError(f"cannot read {path}: {' '.join(str(e).split())}") from None
    if not isinstance(plain, dict):
        raise ValueError(f"{path} holds {type(plain).__name__}; expected the entries of a scene, such as 'seed: 7'")
    return plain


def problems(plain: Mapping[str, Any]) -> Iterator[str]:
    """All mistakes of a scene's plain data: "key: what is wrong, what was expected"."""
    known = {"seed", "duration_s", "walk", "actors", "things", "furnished", *LIGHTS}
    for key in plain:
        if key not in known:
            yield f"{key}: a scene has no such entry{nearest(str(key), sorted(known))}"
    seed = plain.get("seed", 0)
    if type(seed) is not int or seed < 0:
        yield f"seed: is {seed!r}; expected a whole number, 0 or more"
    yield from checks.number_problems(plain, "duration_s", low=0.1, high=3600)
    for key in LIGHTS:
        if plain.get(key) is not None:
            yield from checks.number_problems(plain, key, low=0, high=2 if key in ("crowd", "sway") else 1)
    walk = plain.get("walk") or {}
    if not isinstance(walk, Mapping):
        yield f"walk: is {walk!r}; expected {{speed_mps: 1.3}} or {{path: [[0, 0, 2], [10, 0, 15]]}}"
    else:
        yield from (f"walk.{p}" for p in _walk_problems(walk))
    for key, check in (("actors", _actor_problems), ("things", _thing_problems)):
        entries = plain.get(key) or ()
        if not checks.is_list(entries):
            yield f"{key}: is {entries!r}; expected a list"
            continue
        for i, entry in enumerate(entries):
            if isinstance(entry, Mapping):
                yield from (f"{key}[{i}].{p}" for p in check(entry))
            else:
                yield f"{key}[{i}]: is {entry!r}; expected entries such as {{kind: person}}"


def _walk_problems(walk: Mapping[str, Any]) -> Iterator[str]:
    for key in walk:
        if key not in ("path", "speed_mps", "x", "y"):
            yield f"{key}: there is no such entry{nearest(str(key), ['path', 'speed_mps', 'x', 'y'])}"
    if "path" in walk:
        yield from _path_problems(walk["path"])
    for key, low in (("speed_mps", 0.0), ("x", -inf), ("y", -inf)):
        yield from checks.number_problems(walk, key, low=low)


def _actor_problems(actor: Mapping[str, Any]) -> Iterator[str]:
    for key in actor:
        if key not in ("kind", "path", "seed", "colour"):
            yield f"{key}: there is no such entry{nearest(str(key), ['kind', 'path', 'seed', 'colour'])}"
    if actor.get("kind") not in ACTORS:
        yield f"kind: is {actor.get('kind')!r}{nearest(str(actor.get('kind')), ACTORS)}"
    yield from _path_problems(actor.get("path"))
    colour: Any = actor.get("colour")
    if colour is not None and not (checks.is_list(colour) and len(colour) == 3 and all(map(checks.is_number, colour))):
        yield f"colour: is {colour!r}; expected red, green and blue light, each 0 to 1"


def _thing_problems(entry: Mapping[str, Any]) -> Iterator[str]:
    known = ("kind", "at", "facing_deg", "height_m", "reach_m", "count")
    for key in entry:
        if key not in known:
            yield f"{key}: there is no such entry{nearest(str(key), known)}"
    if entry.get("kind") not in THINGS:
        yield f"kind: is {entry.get('kind')!r}{nearest(str(entry.get('kind')), THINGS)}"
    at: Any = entry.get("at")
    if not (checks.is_list(at) and len(at) == 2 and all(map(checks.is_number, at))):
        yield f"at: is {at!r}; expected x and y in metres, such as [0.5, 12]"
    yield from checks.number_problems(entry, "facing_deg", low=-inf)
    for key in ("height_m", "reach_m", "count"):
        yield from checks.number_problems(entry, key, low=0)


def _path_problems(path: Any) -> Iterator[str]:
    fits = checks.is_list(path) and len(path) > 0 and all(
        checks.is_list(p) and len(p) == 3 and all(map(checks.is_number, p)) for p in path
    )  # fmt: skip
    if not fits:
        yield f"path: is {path!r}; expected places as [seconds, x, y], such as [[0, 0.5, 20], [10, 0.5, 8]]"
    elif any(later[0] <= earlier[0] for earlier, later in pairwise(path)):
        yield f"path: is {path!r}; expected times that grow"


def _path(plain: Sequence[Sequence[float]]) -> Path3:
    return tuple((float(t), float(x), float(y)) for t, x, y in plain)


def _walk(plain: Mapping[str, Any], duration: float, *, drift: float) -> Path3:
    if "path" in plain:
        return _path(plain["path"])
    x, y, speed = float(plain.get("x", 0.3)), float(plain.get("y", 2.0)), float(plain.get("speed_mps", WALK_MPS))
    if speed == 0:
        return ((0.0, x, y),)
    times = np.arange(0, duration + 8, 8.0)
    sideways = x + drift * np.sin(times * 0.19)
    return tuple((float(t), float(s), float(y + speed * t)) for t, s in zip(times, sideways, strict=True))


def _actor(plain: Mapping[str, Any], i: int) -> Actor:
    colour = plain.get("colour")
    return Actor(
        plain["kind"],
        _path(plain["path"]),
        int(plain.get("seed", 1000 + i)),
        None if colour is None else (float(colour[0]), float(colour[1]), float(colour[2])),
    )


def _placed(plain: Mapping[str, Any]) -> Placed:
    x, y = plain["at"]
    size = tuple((k, float(plain[k])) for k in ("height_m", "reach_m", "count") if k in plain)
    return Placed(plain["kind"], (float(x), float(y)), float(plain.get("facing_deg", 0.0)), size)


def _passers_by(rng: np.random.Generator, walk: Path3, duration: float, crowd: float) -> Iterator[Actor]:
    """People who come, go along, stop and cross, and vehicles, where the wearer will be."""
    if crowd <= 0:
        return
    times, xs, ys = np.array(walk).T

    def wearer(t: float) -> tuple[float, float]:
        return float(np.interp(t, times, xs)), float(np.interp(t, times, ys))

    for _ in range(round(40 * crowd)):
        met = rng.uniform(-2, duration + 8)
        x, y = wearer(met)
        speed, kind = rng.uniform(0.9, 1.6), rng.random()
        away = rng.uniform(0.7, 1.9) * rng.choice([-1, 1])
        lane = float(np.clip(x + away, -1.1, 2.1))
        if abs(lane - x) < 0.6:
            lane = x + (0.75 if x < 0.5 else -0.75)
        seed = int(rng.integers(1 << 30))
        if kind < 0.42:  # comes towards the wearer
            yield Actor("person", ((met - 30, lane, y + 30 * speed), (met + 30, lane, y - 30 * speed)), seed)
        elif kind < 0.56:  # is overtaken, or overtakes
            yield Actor("person", ((met - 30, lane, y - 30 * speed), (met + 30, lane, y + 30 * speed)), seed)
        elif kind < 0.72:  # stands, and goes on later
            wait = met + rng.uniform(0, 6)
            yield Actor("person", ((wait, lane, y), (wait + 30, lane, y + rng.choice([-1, 1]) * 30 * speed)), seed)
        elif kind < 0.86:  # crosses the pavement and the road some way ahead
            at, start = y + rng.uniform(3, 9), met - 4
            across = [
                (start, 2.2, at),
                (start + 5 / speed, KERB_X - 0.4, at + 0.8),
                (start + 15 / speed, -13.0, at + 2),
            ]
            turned = [(start + i * 8 / speed, x, y) for i, (_, x, y) in enumerate(reversed(across))]
            yield Actor("person", _path(across if rng.random() < 0.5 else turned), seed)
        else:  # walks on the other side
            way = rng.choice([-1, 1]) * 30 * speed
            side = rng.uniform(-14, -12)
            yield Actor("person", ((met - 30, side, y + 8 - way), (met + 30, side, y + 8 + way)), seed)
    vehicles: tuple[tuple[Literal["cyclist", "car"], int, float, float], ...]
    vehicles = (("cyclist", 5, 3.5, 6.0), ("car", 7, 6.0, 10.0))
    for vehicle, count, low, high in vehicles:
        for _ in range(round(count * min(crowd + 0.3, 1.5))):
            met, speed = rng.uniform(0, duration), rng.uniform(low, high)
            _, y = wearer(met)
            lane, way = (-4.9, 1) if rng.random() < 0.5 else (-8.2, -1)
            if vehicle == "cyclist":
                lane += 0.4 * way
            seed = int(rng.integers(1 << 30))
            reach = PITCH_M * 2
            start, end = met - reach / speed, met + reach / speed
            path = ((start, lane, y - way * reach), (end, lane, y + way * reach))
            yield Actor(vehicle, path, seed)
