"""A model under test: the application's own node around it, as configured, with a stopwatch in its engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Literal

from engines.base import EngineError, Weights
from engines.weights import fetch
from graph.build import Recipe
from graph.errors import CauceError, ConfigError
from nodes.measuring import machine
from nodes.measuring.stopwatch import Call, Clock, StopwatchEngine, StopwatchModel
from nodes.messages import Frame

Kind = Literal["detector", "depth"]


class Subject:
    """A loaded node. `CauceError` says what keeps it from loading or from processing a frame.

    `looks`: whether values that are not finite are counted, which takes time that is not noted as the engine's.
    """

    def __init__(self, kind: Kind, recipe: Recipe, *, clock: Clock = perf_counter_ns, looks: bool = False) -> None:
        self.kind, self.recipe, self.clock = kind, recipe, clock
        self.name = str(recipe.config.get("name"))
        before, begun = machine.resident_bytes(), clock()
        self.is_peak_own = machine.forget_peak()
        with told(self.name):
            self.engine = StopwatchEngine(recipe.part("engine").build(), clock=clock, looks=looks)
            self.node = recipe.build(engine=self.engine)
            self.node.setup()
        self.load_s = (clock() - begun) / 1e9
        after = machine.resident_bytes()
        self.loaded_bytes = after - before if after is not None and before is not None else None

    @property
    def model(self) -> StopwatchModel:
        """The model inside."""
        assert self.engine.model is not None, "the node loaded no model"
        return self.engine.model

    def process(self, frame: Frame) -> tuple[Any, int, Call, int]:
        """What the node makes of a frame, and when it began, the engine's call, and when it ended."""
        self.model.last = None
        begun = self.clock()
        with told(self.name):
            message = self.node.process(frame)
        ended = self.clock()
        assert self.model.last is not None, "the node did not call its model"
        return message, begun, self.model.last, ended

    def facts(self) -> dict[str, Any]:
        """What it is, where it really runs, and what it takes."""
        at, path = self.model.placement, self.path()
        return {
            "kind": self.kind,
            "name": self.name,
            "backend": at.backend,
            "requested_device": at.requested_device,
            "device": at.device,
            "gpu": machine.gpu(at.device),
            "provider": at.provider,
            "precision": at.precision,
            "reason": at.reason,
            "fallback": at.fallback,
            "size_wh": list(self.node.size_wh),
            "artifact": None if path is None else str(path),
            "artifact_bytes": None if path is None else _size(path),
            "load_s": self.load_s,
            "memory": {
                "peak_bytes": machine.peak_bytes(),
                "peak_is_of": "this model" if self.is_peak_own else "the whole process",
                "loaded_bytes": self.loaded_bytes,
            },
        }

    def path(self) -> Path | None:
        """The file that was loaded; None for random weights."""
        return self.model.placement.path or self.weights_path()

    def weights_path(self) -> Path | None:
        """The file of the configured weights, which has been fetched; None for random ones."""
        weights = Weights.parse(self.recipe.config.get("weights"))
        return None if weights.random else fetch(weights)

    def close(self) -> None:
        """Release the model."""
        self.node.close()


@contextmanager
def told(who: str) -> Iterator[None]:
    """What engines, nodes and missing packages say, as the framework's own error."""
    try:
        yield
    except CauceError:
        raise
    except (EngineError, ValueError, TypeError, OSError, ImportError) as e:
        text = str(e)
        raise CauceError(text if text.startswith(who) else f"{who}: {text}") from e


@contextmanager
def loaded(kind: Kind, recipe: Recipe, **options: Any) -> Iterator[Subject]:
    """A subject that is closed at the end."""
    subject = Subject(kind, recipe, **options)
    try:
        yield subject
    finally:
        subject.close()


def each(detector: Recipe | None, depth: Recipe | None) -> list[tuple[Kind, Recipe]]:
    """Those of the two that are on."""
    both: Mapping[Kind, Recipe | None] = {"detector": detector, "depth": depth}
    return [(kind, recipe) for kind, recipe in both.items() if recipe is not None]


def failed(kind: Kind, recipe: Recipe, error: Exception) -> dict[str, Any]:
    """What is known of a model that could not be measured."""
    target = str((recipe.config.get("engine") or {}).get("_target_"))
    backend = target.split(".")[1] if target.count(".") > 1 else target
    told = "; ".join(error.problems) if isinstance(error, ConfigError) else str(error)
    return {"kind": kind, "name": str(recipe.config.get("name")), "backend": backend, "error": told}


def _size(path: Path) -> int:
    """Bytes of a file, or of a folder; of an OpenVINO .xml with the .bin beside it."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    beside = path.with_suffix(".bin")
    extra = beside.stat().st_size if path.suffix == ".xml" and beside.is_file() else 0
    return path.stat().st_size + extra
