"""Compares what the graph told with what really was there, where that is known: how right, how complete, how early."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import cos, inf, radians, sin
from pathlib import Path
from typing import Any

import numpy as np

from graph import Node, Stamp
from nodes.messages import Hazard, Hazards, Truth, Utterance
from nodes.ops import checks
from nodes.ops.approach import nearest_pass
from nodes.ops.boxes import overlaps

NEAR_M, SEEN = 8.0, 0.5
"""Errors and misses are counted for what is nearer than this, and hidden by less than half."""
SAME_IOU, ANY_IOU = 0.5, 0.1
"""Overlap from which a box is that object's, and below which there is nothing at all."""
SAID_WITHIN_DEG, SAID_WITHIN_S = 12.0, 1.0
CLOSE_S, LASTS_S = 2.0, 0.4
"""A contact counts once it was about to happen within so short a time, and was so for a while: a turn of the head is
over sooner."""


@dataclass(slots=True)
class _Contact:
    """An object that the wearer was about to touch, or to pass within reach."""

    name: str
    first_ns: int
    last_ns: int
    """Between these it was about to happen."""
    at_ns: int
    """When it would happen, as foreseen last."""


@dataclass(slots=True)
class _Tally:
    """Everything that is counted, over the run."""

    frames: int = 0
    seconds: float = 0.0
    bearing_deg: list[float] = field(default_factory=list)
    distance: list[float] = field(default_factory=list)
    there: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    hazards: int = 0
    nothing_there: int = 0
    words: int = 0
    false_words: list[tuple[float, str]] = field(default_factory=list)
    contacts: dict[int, _Contact] = field(default_factory=dict)
    said_ns: dict[int, int] = field(default_factory=dict)


class Score(Node):
    """Writes to `path` how right the graph was.

    Bearing and distance of each hazard are compared with those of the object of its class whose box it overlaps by
    half; distances nearer than 8 m only. A hazard is false where no object of any class overlaps it by a tenth. An
    utterance is false where, within a second before it, nothing of its class was within 12 degrees of its bearing. The
    lead of a warning is the time from the words to the moment of contact with the object, as both went when less than
    2 s were left, even if one of them then stepped aside.

    Args:
        path: A JSON file; null: none.
        classes: Of which objects a warning is expected; null: all.
        path_half_width_m: What passes no farther than this from the wearer counts as contact.
    """

    def __init__(
        self, path: str | None = None, *, classes: Sequence[str] | None = None, path_half_width_m: float = 0.6
    ) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self.classes = None if classes is None else frozenset(classes)
        self.path_half_width_m = path_half_width_m
        self.tally = _Tally()
        self.recent: deque[tuple[int, Truth]] = deque()
        self.last_words: Utterance | None = None
        self.first_ns: int | None = None

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        yield from checks.names_problems(params, "classes")
        yield from checks.number_problems(params, "path_half_width_m", low=0)

    def process(self, hazards: Hazards, truth: Truth, stamp: Stamp, utterance: Utterance | None = None) -> None:
        """Count one frame. An utterance may be given with many frames; it counts once."""
        now_ns, t = stamp.captured_ns, self.tally
        self.first_ns = now_ns if self.first_ns is None else self.first_ns
        t.frames, t.seconds = t.frames + 1, (now_ns - self.first_ns) / 1e9
        self.recent.append((now_ns, truth))
        while now_ns - self.recent[0][0] > SAID_WITHIN_S * 1e9:
            self.recent.popleft()
        self._compare(hazards.items, truth)
        if utterance is not None and utterance is not self.last_words:
            self.last_words = utterance
            self._hear(utterance, now_ns)
        self._foresee(truth, now_ns)

    def _compare(self, hazards: Sequence[Hazard], truth: Truth) -> None:
        t, objects = self.tally, truth.detections
        overlap = overlaps(np.array([h.xyxy for h in hazards], np.float32).reshape(-1, 4), objects.xyxy)
        names = np.array([objects.name(k) for k in range(len(truth))], object)
        found = np.zeros(len(truth), bool)
        for i, hazard in enumerate(hazards):
            t.hazards += 1
            t.nothing_there += not (overlap[i] >= ANY_IOU).any()
            matched = np.where(names == hazard.name, overlap[i], 0.0)
            if not len(matched) or matched.max() < SAME_IOU:
                continue
            k = int(matched.argmax())
            found[k] = True
            if truth.visible[k] < SEEN:
                continue
            t.bearing_deg.append(abs(hazard.bearing_deg - float(truth.bearing_deg[k])))
            if hazard.distance_m is not None and truth.distance_m[k] < NEAR_M:
                t.distance.append(abs(hazard.distance_m / float(truth.distance_m[k]) - 1))
        for k in np.flatnonzero((truth.distance_m < NEAR_M) & (truth.visible >= SEEN)).tolist():
            t.there[names[k]] = t.there.get(names[k], 0) + 1
            t.found[names[k]] = t.found.get(names[k], 0) + int(found[k])

    def _hear(self, utterance: Utterance, now_ns: int) -> None:
        """Find what an utterance is about, in the last second."""
        names = self.recent[-1][1].detections.class_names
        if utterance.key not in names or utterance.why.startswith("gone"):
            return
        self.tally.words += 1
        meant = False
        for _, truth in self.recent:
            for k in np.flatnonzero(np.abs(truth.bearing_deg - utterance.bearing_deg) <= SAID_WITHIN_DEG):
                if truth.detections.name(int(k)) == utterance.key:
                    meant = True
                    self.tally.said_ns.setdefault(int(truth.track_id[k]), now_ns)
        if not meant:
            self.tally.false_words.append((round(self.tally.seconds, 2), utterance.text))

    def _foresee(self, truth: Truth, now_ns: int) -> None:
        """Note what is on its way to the wearer, and when it will be there."""
        for k in range(len(truth)):
            name = truth.detections.name(k)
            if self.classes is not None and name not in self.classes:
                continue
            left_s = min(float(truth.ttc_s[k]), self._passing_s(truth, k))
            if left_s <= CLOSE_S:
                new = _Contact(name, now_ns, now_ns, now_ns)
                contact = self.tally.contacts.setdefault(int(truth.track_id[k]), new)
                contact.last_ns, contact.at_ns = now_ns, now_ns + int(left_s * 1e9)

    def _passing_s(self, truth: Truth, k: int) -> float:
        """Seconds until object `k` passes the wearer within reach; inf: it does not."""
        distance, turn = float(truth.distance_m[k]), radians(float(truth.bearing_deg[k]))
        to_right, _, onwards = truth.velocity[k].tolist()
        left_s, passes_m = nearest_pass((distance * sin(turn), distance * cos(turn)), (to_right, onwards))
        return left_s if left_s > 0 and abs(passes_m) <= self.path_half_width_m else inf

    def _warnings(self) -> tuple[list[float], list[tuple[float, str]]]:
        """Leads in seconds; and when there was contact with what that was not spoken of before."""
        leads, unsaid = [], []
        for number, contact in sorted(self.tally.contacts.items(), key=lambda item: item[1].at_ns):
            said_ns = self.tally.said_ns.get(number)
            if contact.last_ns - contact.first_ns < LASTS_S * 1e9:
                continue
            if said_ns is not None and said_ns < contact.at_ns:
                leads.append((contact.at_ns - said_ns) / 1e9)
            else:
                unsaid.append((round((contact.at_ns - (self.first_ns or 0)) / 1e9, 2), contact.name))
        return leads, unsaid

    def figures(self) -> dict[str, Any]:
        """Everything that was counted, as plain data; None where there was nothing to count."""
        t = self.tally
        minutes, there = t.seconds / 60, sum(t.there.values())
        leads, unsaid = self._warnings()
        return {
            "frames": t.frames,
            "seconds": round(t.seconds, 2),
            "bearing_error_deg": {**_spread(t.bearing_deg), "within_1": _share(t.bearing_deg, 1.0)},
            "distance_error": {**_spread(t.distance), "within_15_percent": _share(t.distance, 0.15)},
            "found": round(sum(t.found.values()) / there, 3) if there else None,
            "found_by_class": {name: [t.found[name], t.there[name]] for name in sorted(t.there)},
            "false_hazards_per_minute": round(t.nothing_there / minutes, 2) if minutes else None,
            "hazards": t.hazards,
            "words": t.words,
            "false_words": t.false_words,
            "false_words_per_minute": round(len(t.false_words) / minutes, 2) if minutes else None,
            "lead_s": {**_spread(leads), "least": round(min(leads), 2) if leads else None},
            "unsaid": unsaid,
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
            told["warned before contact"] = f"{lead['median']:.1f} s (least {lead['least']:.1f})"
        told["contacts unsaid"] = f"{len(f['unsaid'])} of {lead['n'] + len(f['unsaid'])}"
        return {"figures": told}

    def close(self) -> None:
        """Write the file."""
        if self.path is not None and self.tally.frames:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.figures(), indent=1) + "\n", encoding="utf-8")


def _share(values: Sequence[float], limit: float) -> float | None:
    """Part of the values that are no greater than `limit`."""
    return round(sum(v <= limit for v in values) / len(values), 3) if values else None


def _spread(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"n": 0, "median": None, "p95": None}
    median, p95 = np.percentile(values, [50, 95])
    return {"n": len(values), "median": round(float(median), 3), "p95": round(float(p95), 3)}
