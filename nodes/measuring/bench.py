"""`command=bench`: how fast the application's own models are, as configured, on this machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from graph.build import Recipe
from graph.errors import CauceError, ConfigError
from graph.report import write
from nodes.measuring import pictures, sweep, tables
from nodes.measuring.machine import environment
from nodes.measuring.pictures import Picture
from nodes.measuring.scenarios import Bench as Feeding
from nodes.measuring.scenarios import Until
from nodes.measuring.subject import Kind, each, failed, loaded
from nodes.ops import checks
from nodes.ops.progress import progress

FILE, COMPARISON = "bench.json", "comparison.json"


class Bench:
    """Measures detector and depth in scenarios, shows a table, writes bench.json.

    Args:
        detector: The node to measure; None: off. The same for `depth`.
        out: Where the report goes.
        sweep: The sweep that this is a job of.
        frames: A folder of images, a video, "noise", or null: frames of the computed street.
        count: How many frames are fed, again and again.
        size_px: Side of frames that are made.
        warm_up: {count, seconds}: what comes first and is not noted.
        single_stream: {count, seconds}: end, whichever is later; null: leave this scenario out.
        offline: The same.
        paced: The same, and `fps` of the camera.
        batches: Sizes of batches for the engine alone, each until the end of `offline`.
    """

    needs_graph = False
    built_later = ("detector", "depth")

    def __init__(
        self,
        *,
        detector: Recipe | None,
        depth: Recipe | None,
        out: str,
        sweep: Mapping[str, Any] | None,
        frames: str | None,
        count: int,
        size_px: int,
        warm_up: Mapping[str, Any],
        single_stream: Mapping[str, Any] | None,
        offline: Mapping[str, Any] | None,
        paced: Mapping[str, Any] | None,
        batches: Sequence[int],
    ) -> None:
        self.subjects, self.out, self.sweep = each(detector, depth), Path(out), sweep
        self.frames, self.count, self.size_px = frames, count, size_px
        self.warm_up, self.batches = warm_up, list(batches)
        given = {"single_stream": single_stream, "offline": offline, "paced": paced}
        self.scenarios = {name: dict(end) for name, end in given.items() if end is not None}

    def execute(self, graph: Any) -> Mapping[str, Any]:
        """Measure all of it; the report. CauceError at the end, when everything is shown, if a model failed."""
        problems = list(self._problems())
        if self.sweep is None:
            problems += [p for kind, recipe in self.subjects for p in recipe.problems(kind)]
        if problems:
            raise ConfigError(problems)
        report: dict[str, Any] = {"command": "bench", "words": sys.argv[1:], "environment": environment(), "models": []}
        with progress(vanishes=True) as stage:
            found = self._pictures()
            for kind, recipe in self.subjects:
                told = stage(f"{recipe.config.get('name')}")
                try:
                    report["models"].append(self._measured(kind, recipe, found, told))
                except CauceError as e:
                    report["models"].append(failed(kind, recipe, e))
        self._finish(report)
        errors = [m["error"] for m in report["models"] if m.get("error")]
        if errors:
            raise CauceError("\n".join(errors))
        return report

    def score(self, report: Mapping[str, Any]) -> float | None:
        """What a sweep optimises: the median milliseconds of a frame, of all models together."""
        medians = [flat(m)["median_ms"] for m in report["models"]]
        return None if None in medians else sum(medians)

    def _problems(self) -> list[str]:
        wrong = (
            [] if self.subjects else ["command: detector and depth are both off; choose one, such as detector=yolo11n"]
        )
        for key in ("count", "size_px"):
            wrong += [f"command.{p}" for p in checks.count_problems(vars(self), key)]
        for name, end in {"warm_up": self.warm_up, **self.scenarios}.items():
            least = 0 if name == "warm_up" else 1
            for key, low in (("count", least), ("seconds", 0)):
                wrong += [f"command.{name}.{p}" for p in checks.number_problems(end, key, low=low)]
            if name == "paced":
                wrong += [f"command.{name}.{p}" for p in checks.number_problems(end, "fps", low=0.01, high=10_000)]
        if not self.scenarios:
            wrong.append("command: single_stream, offline and paced are all off; leave one of them on")
        wrong += [f"command.batches: {b!r} is no whole number, 1 or more" for b in self.batches
                  if not isinstance(b, int) or b < 1]  # fmt: skip
        return wrong

    def _pictures(self) -> list[Picture]:
        if self.frames is None:
            return pictures.street(self.count, self.size_px)
        if self.frames == "noise":
            return pictures.noise(self.count, self.size_px)
        return pictures.read(self.frames, self.count)

    def _measured(self, kind: Kind, recipe: Recipe, found: Sequence[Picture], told: Any) -> dict[str, Any]:
        if problems := list(recipe.problems(kind)):
            raise ConfigError(problems)
        frames = [picture.frame() for picture in found]
        with loaded(kind, recipe) as subject:
            feeding = Feeding(subject, frames, told)
            feeding.warm_up(until(self.warm_up))
            done: dict[str, Any] = {}
            if end := self.scenarios.get("single_stream"):
                done["single_stream"] = feeding.single_stream(until(end))
            if end := self.scenarios.get("offline"):
                done["offline"] = feeding.offline(until(end))
                if self.batches:
                    done["batches"] = feeding.batches(self.batches, until(end))
                if (beside := feeding.beside(until(end))) is not None:
                    done["beside"] = beside
            if end := self.scenarios.get("paced"):
                done["paced"] = feeding.paced(until(end), float(end["fps"]))
            warnings = done.get("single_stream", {}).pop("warnings", [])
            source = self.frames or "the computed street"
            fed = {"of": source, "count": len(frames), "size_wh": list(frames[0].size_wh)}
            return {**subject.facts(), "frames": fed, "scenarios": done, "warnings": warnings}

    def _finish(self, report: dict[str, Any]) -> None:
        """Show and keep the report, and the comparison with the jobs before."""
        job = sweep.Sweep.parse(self.sweep)
        report |= {"job": job.number if job else None, "job_words": list(job.words) if job else []}
        write(self.out / FILE, report)
        out = tables.console()
        tables.environment(report["environment"], out)
        for m in report["models"]:
            if not m.get("error"):
                tables.model(m, out)
        if job is not None:
            rows = sweep.rows(job.reports(FILE), flat)
            show(rows, out)
            out.print(f"{sweep.keep(job, COMPARISON, rows)}", markup=False, soft_wrap=True)
        out.print(f"{self.out / FILE}", markup=False, soft_wrap=True)


def until(end: Mapping[str, Any]) -> Until:
    """The end of a scenario, from its configuration."""
    return Until(int(end["count"]), float(end["seconds"]))


def flat(m: Mapping[str, Any]) -> sweep.Row:
    """The row of one model in a comparison."""
    scenarios = m.get("scenarios", {})
    single, offline = scenarios.get("single_stream"), scenarios.get("offline")
    parts = single["parts"] if single else {}
    whole = parts.get("end_to_end", {})
    rate = offline or single or scenarios.get("paced") or {}
    return {
        "kind": m["kind"],
        "name": m["name"],
        "backend": m["backend"],
        "device": m.get("device"),
        "provider": m.get("provider"),
        "precision": m.get("precision"),
        "engine_ms": parts.get("engine", {}).get("median"),
        "median_ms": whole.get("median"),
        "p90_ms": whole.get("p90"),
        "p99_ms": whole.get("p99"),
        "per_s": rate.get("per_s"),
        "peak_bytes": m.get("memory", {}).get("peak_bytes"),
        "artifact_bytes": m.get("artifact_bytes"),
        "error": m.get("error"),
    }


def show(rows: Sequence[sweep.Row], out: Any) -> None:
    """The comparison; ratios are of the medians, to the first of its kind: 0.50x takes half the time."""
    t = tables.table("comparison", ["model", "engine ms", "median ms", "p99 ms", "ratio", "per s", "memory"])
    last = None
    for row in rows:
        if last is not None and row["kind"] != last:
            t.add_section()
        last = row["kind"]
        t.add_row(tables.named(row), *_figures(row))
    out.print(t)
    for line in sweep.told(rows):
        out.print(line, markup=False, soft_wrap=True)
    tables.show_errors(rows, out)


def _figures(row: sweep.Row) -> tuple[str, ...]:
    if row["error"]:
        return ("FAILED", *["-"] * 5)
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}x"
    times = (tables.ms(row[key]) for key in ("engine_ms", "median_ms", "p99_ms"))
    return *times, ratio, tables.figure(row["per_s"]), tables.megabytes(row["peak_bytes"])
