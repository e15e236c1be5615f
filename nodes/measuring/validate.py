"""`command=validate`: whether the application's own models are right, and how fast. Wrong but fast fails."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from graph.build import Recipe
from graph.errors import CauceError, ConfigError, nearest
from graph.report import write
from nodes.measuring import chart, judge, pictures, sweep, verdicts
from nodes.measuring.comparison import Comparison
from nodes.measuring.layers import differing
from nodes.measuring.machine import environment
from nodes.measuring.pictures import Picture
from nodes.measuring.scenarios import Bench, Until
from nodes.measuring.subject import Kind, Subject, each, failed, loaded
from nodes.ops import checks
from nodes.ops.progress import progress

FILE, CHART, COMPARISON = "validate.json", "validate.png", "comparison.json"


class Validate:
    """Compares detector and depth with a reference backend and with the truth; writes validate.json and validate.png.

    Args:
        detector: The node to validate; None: off. The same for `depth`.
        out: Where the report goes.
        sweep: The sweep that this is a job of.
        reference: The backend to compare with, one of `references`.
        references: Engines by the name of their backend.
        reference_weights: Files by kind ("detector", "depth") for the reference, where it needs others.
        frames: A folder of images, a video, or null: frames of the computed street, whose truth is known.
        count: How many frames at most; None: all that there are.
        size_px: Side of frames that are made.
        labels: What is in the frames, a JSON file in the form of COCO.
        depth_truth: A folder with the depth of the frames.
        min_conf: Least confidence of boxes that are paired with those of the reference.
        iou: Least overlap of two boxes that are the same.
        speed: {count, seconds, warm_up}: how long is timed, whichever is later, after so many frames.
        limits: By precision ("fp32", ...): see `judge.Limits`.
        layers: Whether to look for the first layer that differs.
        layer_threshold: Least relative mean square error that is a difference.
    """

    needs_graph = False
    built_later = ("detector", "depth", "references")

    def __init__(
        self,
        *,
        detector: Recipe | None,
        depth: Recipe | None,
        out: str,
        sweep: Mapping[str, Any] | None,
        reference: str,
        references: Mapping[str, Recipe],
        reference_weights: Mapping[str, Any],
        frames: str | None,
        count: int | None,
        size_px: int,
        labels: str | None,
        depth_truth: str | None,
        min_conf: float,
        iou: float,
        speed: Mapping[str, Any],
        limits: Mapping[str, Mapping[str, Any]],
        layers: bool,
        layer_threshold: float,
    ) -> None:
        self.subjects, self.out, self.sweep = each(detector, depth), Path(out), sweep
        self.reference, self.references, self.reference_weights = reference, references, reference_weights
        self.frames, self.count, self.size_px = frames, count, size_px
        self.labels, self.depth_truth = labels, depth_truth
        self.min_conf, self.iou, self.speed, self.limits = min_conf, iou, speed, limits
        self.layers, self.layer_threshold = layers, layer_threshold

    def execute(self, graph: Any) -> Mapping[str, Any]:
        """Compare all of it; the report. CauceError at the end, when everything is shown, for what is not right."""
        problems = list(self._problems())
        if self.sweep is None:
            problems += [p for kind, recipe in self.subjects for p in recipe.problems(kind)]
        if problems:
            raise ConfigError(problems)
        report: dict[str, Any] = {"command": "validate", "words": sys.argv[1:], "environment": environment()}
        report["models"] = []
        with progress(vanishes=True) as stage:
            found = self._pictures()
            for kind, recipe in self.subjects:
                told = stage(f"{recipe.config.get('name')}")
                try:
                    report["models"].append(self._validated(kind, recipe, found, told))
                except CauceError as e:
                    row = failed(kind, recipe, e)
                    report["models"].append({**row, "verdict": "FAIL", "violations": [row["error"]]})
        self._finish(report)
        wrong = [f"  {m['name']} on {m['backend']}: {v}" for m in report["models"] for v in m["violations"]]
        if wrong:
            raise CauceError("\n".join(["validation failed:", *wrong]))
        return report

    def score(self, report: Mapping[str, Any]) -> float | None:
        """What a sweep optimises: the median milliseconds of a frame, of all models together."""
        medians = [flat(m)["median_ms"] for m in report["models"]]
        return None if None in medians else sum(medians)

    def _problems(self) -> list[str]:
        wrong = [] if self.subjects else ["detector and depth are both off; choose one, such as detector=yolo11n"]
        if self.reference not in self.references:
            wrong.append(f"reference: is {self.reference!r}{nearest(self.reference, self.references)}")
        wrong += [] if self.count is None else checks.count_problems(vars(self), "count")
        wrong += checks.count_problems(vars(self), "size_px")
        for key in ("min_conf", "iou"):
            wrong += checks.number_problems(vars(self), key, low=0, high=1)
        wrong += checks.number_problems(vars(self), "layer_threshold", low=0)
        wrong += [f"speed.{p}" for p in checks.count_problems(self.speed, "count")]
        wrong += [f"speed.{p}" for k in ("seconds", "warm_up") for p in checks.number_problems(self.speed, k, low=0)]
        wrong += [f"limits.{name}.{p}" for name, limits in self.limits.items() for p in judge.Limits.problems(limits)]
        if "fp32" not in self.limits:
            wrong.append("limits.fp32: is missing; it holds for every precision that has no limits of its own")
        if self.frames is None and (self.labels or self.depth_truth):
            wrong.append("frames: is null, but labels or depth_truth are given; set it to the folder of their images")
        if self.labels and find_spec("pycocotools") is None:
            wrong.append("labels: average precision needs pycocotools; run: pip install pycocotools")
        return [f"command.{problem}" for problem in wrong]

    def _pictures(self) -> list[Picture]:
        if self.frames is None:
            return pictures.street(self.count or 24, self.size_px)
        found = pictures.read(self.frames, self.count)
        if self.labels:
            found = pictures.labelled(found, self.labels)
        return pictures.with_depth(found, self.depth_truth) if self.depth_truth else found

    def _validated(self, kind: Kind, recipe: Recipe, found: Sequence[Picture], told: Any) -> dict[str, Any]:
        if problems := list(recipe.problems(kind)):
            raise ConfigError(problems)
        with loaded(kind, recipe, looks=True) as subject:
            figures: dict[str, Any] = {"violations": []}
            try:
                figures["speed"] = self._timed(subject, found, told)
            except CauceError as e:
                figures |= {"speed": None, "speed_error": str(e)}
            figures = {**subject.facts(), **figures}
            with self._reference(kind, recipe) as reference:
                compared = Comparison(subject, reference, min_conf=self.min_conf, iou=self.iou)
                figures |= compared.over(found, told, needs_labels=self.labels is not None)
                if self.layers:
                    figures["layers"] = differing(subject, reference, found[0].frame(), self.layer_threshold, told)
        limits = self.limits.get(figures["precision"]) or self.limits["fp32"]
        figures["limits"] = dict(limits)
        figures["violations"] = judge.violations(figures, judge.Limits(**limits))
        figures["verdict"] = "FAIL" if figures["violations"] else "PASS"
        return figures

    def _timed(self, subject: Subject, found: Sequence[Picture], told: Callable[[float, str], None]) -> dict[str, Any]:
        """Speed as `bench` measures it, on the first frames."""
        feeding = Bench(subject, [picture.frame() for picture in found[:8]], told)
        subject.model.looks = False
        try:
            feeding.warm_up(Until(int(self.speed["warm_up"]), 0.0))
            return feeding.single_stream(Until(int(self.speed["count"]), float(self.speed["seconds"])))
        finally:
            subject.model.looks = True

    @contextmanager
    def _reference(self, kind: Kind, recipe: Recipe) -> Any:
        """The same node on the reference backend."""
        chosen = self.references[self.reference]
        others = [name for name in self.references if name != self.reference]
        hint = f"; another reference may do: command.reference={others[0]}" if others else ""
        if problems := list(chosen.problems("")):
            raise CauceError(f"command.reference={self.reference}: {'; '.join(p.lstrip('.') for p in problems)}{hint}")
        changes = {"engine": chosen.config}
        if weights := self.reference_weights.get(kind):
            changes["weights"] = weights
        try:
            reference = Subject(kind, Recipe({**recipe.config, **changes}, recipe.builder))
        except CauceError as e:
            raise CauceError(
                f"command.reference={self.reference}: {e}; if it needs another file: "
                f"command.reference_weights.{kind}=FILE{hint}"
            ) from e
        try:
            yield reference
        finally:
            reference.close()

    def _finish(self, report: dict[str, Any]) -> None:
        """Show and keep the report, and the comparison with the jobs before."""
        job = sweep.Sweep.parse(self.sweep)
        report |= {"job": job.number if job else None, "job_words": list(job.words) if job else []}
        write(self.out / FILE, report)
        rows = sweep.rows([report] if job is None else job.reports(FILE), flat)
        chart.write(self.out / CHART, sweep.rows([report], flat))
        paths = [self.out / FILE, self.out / CHART]
        if job is not None:
            paths += [sweep.keep(job, COMPARISON, rows), chart.write(job.folder / CHART, rows)]
        verdicts.show(report, rows, paths)


def flat(m: Mapping[str, Any]) -> sweep.Row:
    """The row of one model in a comparison."""
    speed = m.get("speed") or {}
    whole = speed.get("parts", {}).get("end_to_end", {})
    boxes, depth, scores = m.get("boxes") or {}, m.get("depth") or {}, m.get("scores") or {}
    truth, limits = m.get("depth_truth") or {}, m.get("limits") or {}
    return {
        "kind": m["kind"],
        "name": m["name"],
        **{key: m.get(key) for key in ("backend", "device", "provider", "precision", "artifact_bytes", "verdict")},
        "median_ms": whole.get("median"),
        "p90_ms": whole.get("p90"),
        "p99_ms": whole.get("p99"),
        "per_s": speed.get("per_s"),
        "peak_bytes": m.get("memory", {}).get("peak_bytes"),
        "f1": boxes.get("f1"),
        "boxes": boxes.get("reference"),
        "f1_limit": limits.get("f1"),
        "absrel": judge.depth_difference(m),
        "delta1": depth.get("delta1"),
        "absrel_limit": limits.get("absrel"),
        "map": scores.get("model", {}).get("mAP50-95"),
        "map50": scores.get("model", {}).get("mAP50"),
        "map_loss": scores.get("loss"),
        "truth_absrel": truth.get("model", {}).get("AbsRel"),
        "truth_loss": truth.get("loss"),
        "violations": list(m.get("violations", ())),
        "error": m.get("error"),
    }
