"""`command=train`: the two networks of the street again, from nothing. Needs the extra `train`."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from graph.errors import ConfigError, nearest
from nodes.ops.progress import progress
from nodes.training import card
from nodes.training.evaluate import evaluate, weights_of
from nodes.training.frames import FrameSettings, load, render
from nodes.training.loop import Budget

NETWORKS = ("detector", "depth")
FILES = {"detector": "street_yolo12n.onnx", "depth": "street_depth.onnx"}
NEEDS = ("torch", "ultralytics", "onnx", "onnxslim", "pycocotools")
ROOT = Path(__file__).resolve().parents[2]


class Train:
    """Renders frames, trains, exports, evaluates and writes the model card. Goes on where it was interrupted.

    Args:
        what: Which networks: detector, depth. Empty: only evaluate the files that are there.
        schedule: One of `schedules`: how many frames, epochs and minutes.
        out: Where the ONNX files go.
        work: Where frames and checkpoints are kept.
        card: The model card.
        engine: Runs the exported files for the evaluation.
        detector: Parameters of the detector node, depth: of the depth node, but for the weights.
        device: "auto", "cpu" or "cuda".
    """

    needs_graph = False

    def __init__(
        self,
        *,
        what: Sequence[str],
        schedule: str,
        schedules: Mapping[str, Mapping[str, Any]],
        out: str,
        work: str,
        card: str,
        engine: Any,
        detector: Mapping[str, Any],
        depth: Mapping[str, Any],
        device: str = "auto",
        seed: int = 0,
        workers: int | None = None,
    ) -> None:
        self.what, self.schedule, self.schedules = tuple(what), schedule, schedules
        self.out, self.work = ROOT / Path(out).expanduser(), Path(work).expanduser()
        self.card = ROOT / Path(card).expanduser()
        self.engine, self.detector, self.depth = engine, dict(detector), dict(depth)
        self.device, self.seed, self.workers = device, seed, workers or os.cpu_count() or 1

    def execute(self, graph: Any) -> Mapping[str, Any]:
        """Do all of it; the figures of the evaluation."""
        self._check()
        settings = self.schedules[self.schedule]
        frames = FrameSettings(**settings["frames"])
        test = FrameSettings(**settings["test"])
        report_path = self.out / "street.json"
        made = json.loads(report_path.read_text())["made"] if report_path.exists() else {}
        with progress() as stage:
            if self.what:
                made |= self._train(frames, settings, stage)
            told = stage("evaluating, scenes")
            evaluation = self._evaluate(test, lambda done, total: told(done / total, ""))
        files = {name: weights_of(self.out / name) for name in FILES.values()}
        report = {"made": made, "evaluation": evaluation, "files": files}
        report_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        card.write(self.card, report)
        for key in ("mAP50-95", "person AP50-95", "AbsRel", "delta1"):
            print(f"{key}: {evaluation[key]}")
        print(f"{self.card}")
        return evaluation

    def score(self, figures: Mapping[str, Any]) -> float:
        """What a sweep optimises: mAP50-95."""
        return float(figures["mAP50-95"])

    def _check(self) -> None:
        unknown = [name for name in self.what if name not in NETWORKS]
        mistakes = [f"command.what: there is no network {name!r}{nearest(name, NETWORKS)}" for name in unknown]
        if self.schedule not in self.schedules:
            mistakes.append(f"command.schedule: is {self.schedule!r}{nearest(self.schedule, self.schedules)}")
        if self.device not in ("auto", "cpu", "cuda"):
            mistakes.append(f"command.device: is {self.device!r}; expected auto, cpu or cuda")
        needed = NEEDS if self.what else ("pycocotools",)
        missing = [name for name in needed if find_spec(name) is None]
        if missing:
            mistakes.append(f"command: training needs {', '.join(missing)}; install the extra: uv sync --extra train")
        mistakes += [
            f"command.what: is {list(self.what)}, but {self.out / FILES[name]} is not there to be evaluated with it; "
            "train both: command.what=[detector,depth]"
            for name in NETWORKS
            if name not in self.what and not (self.out / FILES[name]).is_file()
        ]
        if mistakes:
            raise ConfigError(mistakes)

    def _train(self, frames: FrameSettings, settings: Mapping[str, Any], stage: Any) -> dict[str, Any]:
        import torch

        from nodes.street import CLASS_NAMES
        from nodes.training import depth, detector

        device = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        told = stage("rendering, scenes")
        paths = render(
            "train", frames, self.work, workers=self.workers, progress=lambda d, n: told(d / n, f"{d} of {n}")
        )
        loaded = load(paths)
        made: dict[str, Any] = {
            "schedule": self.schedule, "seed": self.seed, "machine": f"{_machine()}, {device}", "versions": _versions(),
            "detector_px": frames.detector_px, "depth_px": frames.depth_px,
            "full": ", ".join(f"{self.schedules['full'][n]['epochs']} epochs of {n}" for n in NETWORKS),
        }  # fmt: skip
        for name in self.what:
            budget = Budget(**settings[name])
            # What was begun goes on only as it was begun.
            key = hashlib.sha256(json.dumps([asdict(budget), self.seed, device]).encode()).hexdigest()[:8]
            place = paths[0].parent / f"{self.schedule}-{key}"
            place.mkdir(parents=True, exist_ok=True)
            told = stage(f"training {name}")

            def report(share: float, loss: float, step_s: float, told: Any = told) -> None:
                told(share, f"loss {loss:.3f}, {step_s:.2f} s a step")

            if name == "detector":
                done = detector.train(
                    loaded, CLASS_NAMES, budget=budget, seed=self.seed, device=device, work=place, report=report
                )
                detector.write(done.network, CLASS_NAMES, size_px=frames.detector_px, path=self.out / FILES["detector"])
            else:
                done = depth.train(loaded, budget=budget, seed=self.seed, device=device, work=place, report=report)
                depth.write(done.network, size_px=frames.depth_px, path=self.out / FILES["depth"])
            made[name] = {
                "frames": len(loaded), "scenes": frames.scenes, "batch": budget.batch, "rate": budget.rate,
                "epochs": round(done.steps * budget.batch / len(loaded), 2), "minutes": round(done.seconds / 60, 1),
            }  # fmt: skip
        return made

    def _evaluate(self, settings: FrameSettings, progress: Callable[[int, int], None]) -> dict[str, Any]:
        detector = {**self.detector, "weights": str(self.out / FILES["detector"])}
        depth = {**self.depth, "weights": str(self.out / FILES["depth"])}
        return evaluate(self.engine, detector, depth, settings, progress=progress)


def _machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores"


def _versions() -> dict[str, str]:
    found = {}
    for name in ("torch", "ultralytics", "onnx", "onnxruntime", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
