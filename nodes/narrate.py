"""Decides what is worth saying, and says it once: only what is new, more, or nearer. Knows neither pixels nor sound.

All times are capture times, so a lossless run says the same words each time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from statistics import median_low
from typing import Any

from graph import Node, Stamp
from graph.errors import nearest
from nodes.messages import Hazard, Hazards, Priority, Utterance
from nodes.ops import checks
from nodes.phrases import Style, languages, phrases

STYLES = ("words", "clock", "degrees")
MAX_AGE_MS: Mapping[Priority, float] = {1: 700.0, 2: 2000.0, 3: 4000.0}


@dataclass(slots=True)
class Presence:
    """What is known and what was said of one class."""

    counts: deque[tuple[int, int]] = field(default_factory=deque)
    """Capture time and number seen, of the last frames."""
    last_seen_ns: int = 0
    last_said_ns: int | None = None
    said_count: int = 0
    said_zone: int = 0
    more_since_ns: int | None = None


class Narrate(Node):
    """Speaks of a class when it appears, when there are more of it for a while, and when it comes nearer.

    Args:
        language: Of the words; the files of nodes/phrases.
        direction: "words" (slightly left), "clock" (at eleven o'clock), or "degrees".
        classes: What to speak of; null: everything.
        confirm_s: For how long something must be seen, in most frames, before it is spoken of.
        forget_s: For how long it must be gone before it counts as new again: flicker is no news.
        more_s: For how long there must be more of a class before that is news.
        cooldown_s: Between two utterances on the same class, unless the second is urgent.
        pause_s: Between any two utterances, unless the second is urgent.
        zones_m: Distances at which something that comes nearer is news again.
    """

    def __init__(
        self,
        language: str = "en",
        *,
        direction: Style = "words",
        classes: Sequence[str] | None = None,
        confirm_s: float = 0.4,
        forget_s: float = 2.5,
        more_s: float = 1.5,
        cooldown_s: float = 5.0,
        pause_s: float = 1.0,
        zones_m: Sequence[float] = (1.5, 3.0, 6.0),
    ) -> None:
        self.language, self.direction = language, direction
        self.classes = None if classes is None else frozenset(classes)
        self.confirm_ns, self.forget_ns, self.more_ns = (int(s * 1e9) for s in (confirm_s, forget_s, more_s))
        self.cooldown_ns, self.pause_ns = int(cooldown_s * 1e9), int(pause_s * 1e9)
        self.zones_m = tuple(sorted(zones_m))
        self.known: dict[str, Presence] = {}
        self.last_said_ns: int | None = None

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        language = params.get("language", "en")
        if language not in languages():
            yield f"language: is {language!r}{nearest(language, languages())}"
        yield from checks.word_problems(params, "direction", STYLES)
        yield from checks.names_problems(params, "classes")
        for key in ("confirm_s", "forget_s", "more_s", "cooldown_s", "pause_s"):
            yield from checks.number_problems(params, key, low=0)

    def setup(self) -> None:
        """Read the words."""
        self.phrases = phrases(self.language)

    def process(self, hazards: Hazards, stamp: Stamp) -> Utterance | None:
        """What to say of this frame, if anything."""
        now_ns = stamp.captured_ns
        by_name = {n: list(g) for n, g in groupby(sorted(hazards.items, key=lambda h: h.name), lambda h: h.name)}
        if self.classes is not None:
            by_name = {n: g for n, g in by_name.items() if n in self.classes}
        for name in by_name:
            self.known.setdefault(name, Presence())
        news = [n for name, p in self.known.items() if (n := self._news(p, by_name.get(name, []), now_ns)) is not None]
        if not news:
            return None
        priority, reason, group = min(news, key=lambda n: n[0])
        if priority > 1 and self.last_said_ns is not None and now_ns - self.last_said_ns < self.pause_ns:
            return None
        return self._say(priority, reason, group, now_ns)

    def _news(self, p: Presence, group: list[Hazard], now_ns: int) -> tuple[Priority, str, list[Hazard]] | None:
        """Priority and reason, if there is something new to say of a class."""
        count = self._confirmed(p, len(group), now_ns)
        if group:
            p.last_seen_ns = now_ns
        elif now_ns - p.last_seen_ns > self.forget_ns:
            p.said_count, p.more_since_ns = 0, None
        if not group or not count:
            return None
        zone, priority = self._zone(group), group[0].priority
        if not p.said_count:
            return priority, "new", group
        if zone < p.said_zone and (priority == 1 or self._is_cool(p, now_ns)):
            return priority, "nearer", group
        if count <= p.said_count:
            p.more_since_ns = None
            return None
        p.more_since_ns = now_ns if p.more_since_ns is None else p.more_since_ns
        if now_ns - p.more_since_ns >= self.more_ns and self._is_cool(p, now_ns):
            return priority, "more", group
        return None

    def _confirmed(self, p: Presence, count: int, now_ns: int) -> int:
        """How many were seen in most of the last frames."""
        p.counts.append((now_ns, count))
        while now_ns - p.counts[0][0] > self.confirm_ns and len(p.counts) > 3:
            p.counts.popleft()
        long_enough = len(p.counts) >= 3 and now_ns - p.counts[0][0] >= 0.5 * self.confirm_ns
        return median_low(c for _, c in p.counts) if long_enough else 0

    def _is_cool(self, p: Presence, now_ns: int) -> bool:
        return p.last_said_ns is None or now_ns - p.last_said_ns >= self.cooldown_ns

    def _zone(self, group: list[Hazard]) -> int:
        distances = [h.distance_m for h in group if h.distance_m is not None]
        return sum(min(distances) > z for z in self.zones_m) if distances else len(self.zones_m)

    def _say(self, priority: Priority, reason: str, group: list[Hazard], now_ns: int) -> Utterance:
        first = group[0]
        p = self.known[first.name]
        p.said_count, p.said_zone = len(group), self._zone(group)
        p.last_said_ns = self.last_said_ns = now_ns
        p.more_since_ns = None
        text = self.phrases.describe(
            first.name,
            count=len(group),
            distance_m=first.distance_m,
            bearing_deg=first.bearing_deg,
            style=self.direction,
        )
        distance = f"{first.distance_m:.1f} m" if first.distance_m is not None else "distance unknown"
        why = f"{reason}: {len(group)} x {first.name}, conf {first.conf:.2f}, {distance}, {first.bearing_deg:+.0f} deg"
        return Utterance(text, priority, self.language, first.name, MAX_AGE_MS[priority], first.bearing_deg, why)
