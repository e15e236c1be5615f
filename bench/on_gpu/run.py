"""One run of `bench/gpu.py`: its time, its results, and the file that holds them after every row."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FULL_S = 480.0
"""The seconds that the shares of the sections are written for."""


class NotRun(Exception):
    """A section or a row cannot be run here; the text says why."""


@dataclass
class Section:
    """What one section found."""

    status: str = "ok"
    reason: str = ""
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    not_run: list[dict[str, str]] = field(default_factory=list)
    traceback: str = ""


class Run:
    """What the sections share. `device` is "cpu" or "cuda:N"; `small` stands for tiny networks."""

    def __init__(self, to: Path, *, device: str, minutes: float, small: bool) -> None:
        self.device, self.small, self.minutes = device, small, minutes
        self.path = to / "gpu.json"
        self.cuda = device.startswith("cuda")
        self.sections: dict[str, Section] = {}
        self.finished = False
        self._began = time.monotonic()
        self._ends = self._began + minutes * 60
        self._section_ends = self._ends
        self._now = Section()

    def section(self, name: str, work: Callable[[Run], None], *, share_s: float, needs_gpu: bool) -> None:
        """Do one section, whatever becomes of it."""
        section = self._now = self.sections[name] = Section()
        begin = time.monotonic()
        self._section_ends = min(self._ends, begin + share_s * self.minutes * 60 / FULL_S)
        print(f"\n{name}", flush=True)
        try:
            if needs_gpu and not self.cuda:
                raise NotRun("no GPU")
            if self._ends - begin < 1 and not self.small:
                raise NotRun("no time left")
            work(self)
        except NotRun as e:
            section.status, section.reason = "not run", str(e)
            print(f"  not run: {e}")
        except Exception as e:
            section.status, section.reason = "failed", f"{type(e).__name__}: {e}"
            section.traceback = traceback.format_exc()
            print(f"  FAILED: {section.reason}")
        section.seconds = time.monotonic() - begin
        self.save()

    def left(self) -> float:
        """Seconds that this section still has."""
        return self._section_ends - time.monotonic()

    def require_time(self, seconds: float = 0.0) -> None:
        """NotRun where the section has fewer `seconds` left; never before its first row, nor with tiny networks."""
        if (
            not self.small
            and (self._now.rows or self._now.checks)
            and self.left() < seconds * self.minutes * 60 / FULL_S
        ):
            raise NotRun("no time left")

    def row(self, name: str, **values: Any) -> None:
        """Keep and print one result."""
        self._now.rows.append({"name": name, **values})
        print(f"  {name:<46}{'  '.join(_shown(values))}", flush=True)
        self.save()

    def check(self, name: str, is_right: bool, **detail: Any) -> None:
        """Keep and print whether something is right."""
        self._now.checks.append({"name": name, "is_right": bool(is_right), **detail})
        print(f"  {'right' if is_right else 'WRONG':<6}{name:<40}{'  '.join(_shown(detail))}", flush=True)
        self.save()

    def attempt(self, name: str, work: Callable[[], None]) -> None:
        """Do one part of a section: what it lacks is a note, and what breaks it does not keep the others from running.

        A part that breaks counts as a check that failed.
        """
        try:
            work()
        except NotRun as e:
            self._now.not_run.append({"name": name, "reason": str(e)})
            print(f"  not run: {name}: {e}", flush=True)
        except Exception as e:
            told = " ".join(f"{type(e).__name__}: {e}".split())
            self.check(name, False, error=told[:500], traceback=traceback.format_exc())

    def failures(self) -> list[str]:
        """Checks that failed, and sections that broke."""
        broken = [name for name, s in self.sections.items() if s.status == "failed"]
        wrong = [f"{name}: {c['name']}" for name, s in self.sections.items() for c in s.checks if not c["is_right"]]
        return broken + wrong

    def save(self) -> None:
        """Write all that is known by now, in one step."""
        found = {
            "format": 1,
            "device": self.device,
            "small": self.small,
            "minutes": self.minutes,
            "seconds": time.monotonic() - self._began,
            "finished": self.finished,
            "failures": self.failures(),
            "sections": {name: vars(section) for name, section in self.sections.items()},
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(found, indent=1, default=str))
        os.replace(part, self.path)


def _shown(values: Mapping[str, Any]) -> list[str]:
    """The values in short: of a summary the median, of a number three digits."""
    shown = []
    for name, value in values.items():
        if isinstance(value, Mapping) and "p50" in value:
            tail = f"/{value['p99']:.3f}" if value.get("p99") is not None else ""
            shown.append(f"{name} {value['p50']:.3f}{tail}")
        elif isinstance(value, float):
            shown.append(f"{name} {value:.3g}")
        elif name != "traceback" and value is not None:
            shown.append(f"{name} {value}")
    return shown
