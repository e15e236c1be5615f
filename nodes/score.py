"""Compares what the graph told with what really was there, where that is known: how right, how complete, how early."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from graph import Node, Stamp
from nodes.messages import Hazard, Hazards, Truth, Utterance
from nodes.ops import checks
from nodes.ops.boxes import overlaps

NEAR_M, SEEN = 8.0, 0.5
"""Errors and misses are counted for what is nearer than this, and hidden by less than half."""
SAME_IOU, ANY_IOU = 0.5, 0.1
"""Overlap from which a box is that object's, and below which there is nothing at all."""
SAID_WITHIN_DEG, SAID_WITHIN_S = 12.0, 1.0
MEMORY_S = 3.0
AHEAD_DEG = 35.0


@dataclass(slots=True)
class _Tally:
    """Everything that is counted, over the run."""

    frames: int = 0
    seconds: float = 0.0
    bearing_deg: list[float] = field(default_factory=list)
    distance: list[float] = field(default_factory=list)
    there: int = 0
    found: int = 0
    hazards: int = 0
    nothing_there: int = 0
    words: int = 0
    false_words: list[tuple[float, str]] = field(default_factory=list)
    leads_s: list[float] = field(default_factory=list)
    unsaid: list[tuple[float, str]] = field(default_factory=list)


class Score(Node):
    """Writes to `path` how right the graph was.

    Bearing and distance of each hazard are compared with those of the object of its class whose box it overlaps by
    half; distances nearer than 8 m only. An utterance is false where, within a second before it, nothing of its class
    was within 12 degrees of its bearing. A warning's lead is the time from the words to the moment at which the object,
    ahead, is within `reach_m`.

    Args:
        path: A JSON file; null: none.
        classes: Of which objects a warning is expected before the wearer reaches them.
        reach_m: How near that is.
    """

    def __init__(self, path: str | None = None, *, classes: Sequence[str] | None = None, reach_m: float = 1.5) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self.classes = None if classes is None else frozenset(classes)
        self.reach_m = reach_m
        self.tally = _Tally()
        self.recent: deque[tuple[int, Truth]] = deque()
        self.said_ns: dict[int, int] = {}
        self.reached: set[int] = set()
        self.last_words: Utterance | None = None
        self.first_ns: int | None = None

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        yield from checks.names_problems(params, "classes")
        yield from checks.number_problems(params, "reach_m", low=0)

    def process(self, hazards: Hazards, truth: Truth, stamp: Stamp, utterance: Utterance | None = None) -> None:
        """Count one frame. An utterance may be given with many frames; it counts once."""
        now_ns, t = stamp.captured_ns, self.tally
        self.first_ns = now_ns if self.first_ns is None else self.first_ns
        t.frames, t.seconds = t.frames + 1, (now_ns - self.first_ns) / 1e9
        self.recent.append((now_ns, truth))
        while now_ns - self.recent[0][0] > MEMORY_S * 1e9:
            self.recent.popleft()
        self._compare(hazards.items, truth)
        if utterance is not None and utterance is not self.last_words:
            self.last_words = utterance
            self._hear(utterance, now_ns)
        self._reach(truth, now_ns)

    def _compare(self, hazards: Sequence[Hazard], truth: Truth) -> None:
        t, objects = self.tally, truth.detections
        overlap = overlaps(np.array([h.xyxy for h in hazards], np.float32).reshape(-1, 4), objects.xyxy)
        found = np.zeros(len(truth), bool)
        for i, hazard in enumerate(hazards):
            t.hazards += 1
            t.nothing_there += not (overlap[i] >= ANY_IOU).any()
            same = np.array([objects.name(k) == hazard.name for k in range(len(truth))], bool)
            matched = np.where(same, overlap[i], 0.0)
            if not len(matched) or matched.max() < SAME_IOU:
                continue
            k = int(matched.argmax())
            found[k] = True
            # What is cut by the edge of the lens has no middle that could be measured.
            if truth.visible[k] >= SEEN:
                t.bearing_deg.append(abs(hazard.bearing_deg - float(truth.bearing_deg[k])))
                if hazard.distance_m is not None and truth.distance_m[k] < NEAR_M:
                    t.distance.append(abs(hazard.distance_m / float(truth.distance_m[k]) - 1))
        near = (truth.distance_m < NEAR_M) & (truth.visible >= SEEN)
        t.there += int(near.sum())
        t.found += int((near & found).sum())

    def _hear(self, utterance: Utterance, now_ns: int) -> None:
        """Find what an utterance is about, in the last second."""
        names = self.recent[-1][1].detections.class_names
        if utterance.key not in names or utterance.why.startswith("gone"):
            return
        self.tally.words += 1
        meant = False
        for at_ns, truth in self.recent:
            if now_ns - at_ns > SAID_WITHIN_S * 1e9:
                continue
            for k in np.flatnonzero(np.abs(truth.bearing_deg - utterance.bearing_deg) <= SAID_WITHIN_DEG):
                if truth.detections.name(int(k)) == utterance.key:
                    meant = True
                    self.said_ns.setdefault(int(truth.track_id[k]), now_ns)
        if not meant:
            self.tally.false_words.append((round(self.tally.seconds, 2), utterance.text))

    def _reach(self, truth: Truth, now_ns: int) -> None:
        """Note what the wearer has come to, and how long before it was spoken of."""
        near = (truth.distance_m <= self.reach_m) & (np.abs(truth.bearing_deg) < AHEAD_DEG) & (truth.visible >= SEEN)
        for k in np.flatnonzero(near):
            track, name = int(truth.track_id[k]), truth.detections.name(int(k))
            if track in self.reached or (self.classes is not None and name not in self.classes):
                continue
            self.reached.add(track)
            if track in self.said_ns:
                self.tally.leads_s.append((now_ns - self.said_ns[track]) / 1e9)
            else:
                self.tally.unsaid.append((round(self.tally.seconds, 2), name))

    def figures(self) -> dict[str, Any]:
        """Everything that was counted, as plain data; None where there was nothing to count."""
        t = self.tally
        minutes = t.seconds / 60
        return {
            "frames": t.frames,
            "seconds": round(t.seconds, 2),
            "bearing_error_deg": _spread(t.bearing_deg),
            "distance_error": _spread(t.distance),
            "found": round(t.found / t.there, 3) if t.there else None,
            "false_hazards_per_minute": round(t.nothing_there / minutes, 2) if minutes else None,
            "hazards": t.hazards,
            "words": t.words,
            "false_words": t.false_words,
            "false_words_per_minute": round(len(t.false_words) / minutes, 2) if minutes else None,
            "lead_s": {**_spread(t.leads_s), "least": round(min(t.leads_s), 2) if t.leads_s else None},
            "reached_unsaid": t.unsaid,
        }

    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """The most important of it, in words, once something was counted."""
        if not self.tally.frames:
            return {}
        f = self.figures()
        bearing, distance, lead = f["bearing_error_deg"], f["distance_error"], f["lead_s"]
        told = {"found within 8 m": "nothing was there" if f["found"] is None else f"{f['found']:.0%}"}
        if bearing["n"]:
            told["bearing error"] = f"{bearing['median']:.1f} deg (p95 {bearing['p95']:.1f})"
        if distance["n"]:
            told["distance error"] = f"{distance['median']:.0%} (p95 {distance['p95']:.0%})"
        told["false words"] = f"{len(f['false_words'])} of {f['words']}"
        if lead["n"]:
            told["lead of warnings"] = f"{lead['median']:.1f} s (least {lead['least']:.1f})"
        told["reached unsaid"] = str(len(f["reached_unsaid"]))
        return {"figures": told}

    def close(self) -> None:
        """Write the file."""
        if self.path is not None and self.tally.frames:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.figures(), indent=1) + "\n", encoding="utf-8")


def _spread(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"n": 0, "median": None, "p95": None}
    median, p95 = np.percentile(values, [50, 95])
    return {"n": len(values), "median": round(float(median), 3), "p95": round(float(p95), 3)}
