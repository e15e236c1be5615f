"""`command=export`: makes the files that a backend loads before they are needed: exports, converts, builds, calibrates.

What is made is kept in the cache, where the backend finds it; a run that needs it and does not find it makes it itself,
but for int8, which is only ever made here, on frames of the user's own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from engines.base import Array, Engine, Exporter, Model, ModelSpec
from graph.build import Recipe
from graph.errors import ConfigError
from nodes.measuring import pictures
from nodes.measuring.subject import Kind, each, told
from nodes.ops import checks
from nodes.ops.progress import progress

PRECISIONS = ("fp32", "fp16", "bf16", "int8")


class Export:
    """Makes and keeps what the chosen backend loads for detector and depth.

    Args:
        detector: The node whose model is exported; None: off. The same for `depth`.
        sampler: The engine that frames go through for calibration, in fp32.
        precision: fp32, fp16 or int8; None: the backend's own.
        frames: For int8: a folder of images, or a video, of the camera that it will be used with.
        count: At most so many of them, evenly spread.
        to: A folder that gets a copy of each file; None: they are in the cache only.
    """

    needs_graph = False
    built_later = ("detector", "depth", "sampler")

    def __init__(
        self,
        *,
        detector: Recipe | None,
        depth: Recipe | None,
        sampler: Recipe,
        precision: str | None,
        frames: str | None,
        count: int,
        to: str | None,
    ) -> None:
        self.subjects, self.sampler = each(detector, depth), sampler
        self.precision, self.frames, self.count = precision, frames, count
        self.to = Path(to).expanduser() if to else None

    def execute(self, graph: Any) -> Mapping[str, Any]:
        """Make all files; name, path, bytes and seconds of each."""
        if problems := list(self._problems()):
            raise ConfigError(problems)
        made: list[dict[str, Any]] = []
        with progress() as stage:
            for kind, recipe in self.subjects:
                name = str(recipe.config.get("name"))
                began = monotonic()
                with told(name):
                    path = self._made(kind, recipe, stage(name))
                    copy = self._copied(path, name)
                size = path.stat().st_size
                made.append({"name": name, "path": str(copy or path), "bytes": size, "seconds": monotonic() - began})
        for file in made:
            print(f"{file['name']}: {file['bytes'] / 1e6:.1f} MB in {file['seconds']:.1f} s: {file['path']}")
        return {"files": made, "bytes": sum(file["bytes"] for file in made)}

    def score(self, made: Mapping[str, Any]) -> float:
        """What a sweep optimises: the bytes of all files."""
        return float(made["bytes"])

    def _problems(self) -> Sequence[str]:
        wrong = [f"command.{p}" for p in checks.count_problems(vars(self), "count")]
        if not self.subjects:
            wrong.append("command: detector and depth are both off; choose one, such as detector=yolo12n")
        if self.precision not in (None, *PRECISIONS):
            wrong.append(f"command.precision: is {self.precision!r}; expected {', '.join(PRECISIONS)}, or null")
        if self.precision == "int8" and not self.frames:
            wrong.append(
                "command.frames: is not given, and int8 is calibrated on frames of your own camera; "
                "set it to a folder of images or a video"
            )
        for kind, recipe in self.subjects:
            wrong += recipe.problems(kind)
        return wrong

    def _made(self, kind: Kind, recipe: Recipe, shown: Callable[[float, str], None]) -> Path:
        engine: Exporter = recipe.part("engine").build()
        if not hasattr(engine, "prepare"):
            raise ConfigError([f"backend: {type(engine).__name__} makes no files; choose onnx, openvino or trt"])
        if self.precision != "int8":
            shown(0.0, "exporting")
            return engine.prepare(_spec_of(recipe), precision=self._wanted())
        assert self.frames is not None
        shown(0.0, "reading frames")
        spec, samples = self._samples(recipe)
        return engine.prepare(
            spec,
            precision="int8",
            samples=samples,
            origin=Path(self.frames).name,
            told=lambda n: shown(min(n / len(samples), 1.0), "calibrating"),
        )

    def _wanted(self) -> Any:
        return self.precision

    def _samples(self, recipe: Recipe) -> tuple[ModelSpec, list[Array]]:
        """What the node asks its engine for, and what it feeds its model with, for each frame."""
        assert self.frames is not None
        found = pictures.read(self.frames, None)
        chosen = found[:: max(1, len(found) // self.count)][: self.count]
        engine = _Sampler(self.sampler.build())
        node = recipe.build(engine=engine)
        node.setup()
        try:
            for picture in chosen:
                node.process(picture.frame())
        finally:
            node.close()
        assert engine.spec is not None
        return engine.spec, engine.samples

    def _copied(self, path: Path, name: str) -> Path | None:
        if self.to is None:
            return None
        self.to.mkdir(parents=True, exist_ok=True)
        to = self.to / path.name
        part = to.with_name(f".{to.name}.part")
        shutil.copyfile(path, part)
        return part.replace(to)


class _Asked(Exception):
    """What a node asks an engine for; it goes no further."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec


class _Asking:
    def load(self, spec: ModelSpec) -> Model:
        raise _Asked(spec)


def _spec_of(recipe: Recipe) -> ModelSpec:
    """What the node asks its engine for."""
    try:
        recipe.build(engine=_Asking()).setup()
    except _Asked as asked:
        return asked.spec
    raise ConfigError([f"{recipe.config.get('_target_')} loads no model; choose a detector or a depth that does"])


class _Sampler:
    """Loads models of `engine`, and keeps what they are fed with."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.samples = engine, list[Array]()
        self.spec: ModelSpec | None = None

    def load(self, spec: ModelSpec) -> Model:
        self.spec = spec
        model, samples = self.engine.load(spec), self.samples

        class Sampled:
            inputs, outputs, metadata, placement = model.inputs, model.outputs, model.metadata, model.placement

            def __call__(self, *inputs: Array) -> tuple[Array, ...]:
                samples.append(inputs[0].copy())
                return model(*inputs)

            def close(self) -> None:
                model.close()

        return Sampled()
