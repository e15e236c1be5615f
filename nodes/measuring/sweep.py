"""One table over the jobs of a sweep (`main.py -m`): each job leaves its report, and shows all that are there so far.

A job that fails leaves a row with its error; the others are as good as before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graph.report import write

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sweep:
    """The sweep that a job belongs to, as main.py fills it in."""

    folder: Path
    number: int
    words: tuple[str, ...]
    """Overrides that make this job."""

    @classmethod
    def parse(cls, value: Mapping[str, Any] | None) -> Sweep | None:
        """From the configuration; None where there is no sweep."""
        if value is None:
            return None
        # Hydra writes a colon as the command line must.
        words = tuple(str(word).replace("\\:", ":") for word in value["words"])
        return cls(Path(value["folder"]), int(value["number"]), words)

    def reports(self, file: str) -> list[dict[str, Any]]:
        """Reports of this job and of those before it, in order. What a later number left is of an older sweep."""
        paths = [self.folder / str(number) / file for number in range(self.number + 1)]
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]


def rows(reports: Sequence[Mapping[str, Any]], flat: Callable[[Mapping[str, Any]], Row]) -> list[Row]:
    """One row for each model of each report, by kind, with its ratios to the first of its kind.

    `flat` makes a row of a model's report. `job` is the job's number, None outside of sweeps; `job_words` are those in
    which it differs from others. The first of a kind is the first that was measured.
    """
    words = [set(report.get("job_words", ())) for report in reports]
    shared = set.intersection(*words) if words else set()
    found = [
        {**flat(m), "job": report.get("job"), "job_words": [w for w in report.get("job_words", ()) if w not in shared]}
        for report in reports
        for m in report["models"]
    ]
    kinds = list(dict.fromkeys(row["kind"] for row in found))
    ordered = [row for kind in kinds for row in found if row["kind"] == kind]
    for row in ordered:
        for ratio, key in (("ratio", "median_ms"), ("rate_ratio", "per_s")):
            first = next((r[key] for r in ordered if r["kind"] == row["kind"] and r[key] is not None), None)
            row[ratio] = _ratio(row[key], first)
    return ordered


def told(found: Sequence[Row]) -> list[str]:
    """What the numbers of jobs stand for, a line each."""
    jobs = {row["job"]: " ".join(row["job_words"]) for row in found if row["job"] is not None}
    return [f"#{job} {words}" for job, words in sorted(jobs.items())]


def keep(sweep: Sweep, file: str, found: Sequence[Row]) -> Path:
    """Write the comparison beside the jobs."""
    path = sweep.folder / file
    write(path, {"rows": list(found)})
    return path


def _ratio(value: float | None, first: float | None) -> float | None:
    return value / first if value is not None and first else None
