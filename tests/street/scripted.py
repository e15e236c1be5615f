"""Small scenes in which everything is known."""

from functools import cache
from typing import Any

from nodes.street import Scene, Stage, Studio, rig

EMPTY: dict[str, Any] = {"seed": 1, "duration_s": 20, "furnished": False, "crowd": 0, "sway": 0, "clouds": 0}
STANDING = {"walk": {"path": [[0, 0.0, 10.0]]}}
"""At (0, 10), looking along the street."""
EYE_M = 1.62


def scene(**entries: Any) -> Scene:
    return Scene.parse(EMPTY | STANDING | entries)


def person(*path: list[float], seed: int = 1) -> dict[str, Any]:
    return {"kind": "person", "path": list(path), "seed": seed}


@cache
def empty_stage() -> Stage:
    return Stage(scene())


def shot(t: float = 0.0, side: int = 256, mount: rig.Mount | None = None, **entries: Any) -> Any:
    stage = Stage(scene(**entries)) if entries else empty_stage()
    studio = Studio(stage, (side, side), mount=mount, threads=1)
    return studio.shoot(t), studio


def of_class(truth: Any, name: str) -> list[int]:
    """Rows of a class, nearest first."""
    rows = [i for i in range(len(truth)) if truth.detections.name(i) == name]
    return sorted(rows, key=lambda i: truth.distance_m[i])
