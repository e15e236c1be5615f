"""Decides what is worth saying, and says it once: only what is new, more, or nearer. Knows neither pixels nor sound.

All times are capture times, so a lossless run says the same words each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

from graph import Node, Stamp
from graph.errors import nearest
from nodes.messages import Hazard, Hazards, Priority, Utterance
from nodes.ops import checks
from nodes.ops.lateness import Change, Lateness
from nodes.ops.presence import Glance, Presence
from nodes.phrases import Style, languages, phrases

Verbosity = Literal["quiet", "normal", "detailed"]
Reason = Literal["new", "nearer", "more", "gone"]

STYLES = ("words", "clock", "degrees")
VERBOSITIES = ("quiet", "normal", "detailed")
SPOKEN: Mapping[str, frozenset[Reason]] = {
    "quiet": frozenset(("new",)),
    "normal": frozenset(("new", "nearer", "more")),
    "detailed": frozenset(("new", "nearer", "more", "gone")),
}
"""What is said at which verbosity; what is urgent is said at all of them."""
MAX_AGE_MS: Mapping[Priority, float] = {1: 700.0, 2: 2000.0, 3: 4000.0}
VISION = "vision"
"""The key of what is said of vision itself."""
VISION_AGE_MS = 10_000.0
SLACK = 1.2
"""Something counts as farther away again only when it is so many times beyond the border of a zone."""


SIDE = "@"


@dataclass(frozen=True, slots=True)
class News:
    """Something that is worth saying."""

    key: str
    """The class, or the class and the side where it is."""
    reason: Reason
    priority: Priority
    count: int
    level: int
    group: Sequence[Hazard]
    """Those of the class in this frame, most urgent first; empty when they are gone."""

    @property
    def name(self) -> str:
        """The class."""
        return self.key.partition(SIDE)[0]

    @property
    def urgency(self) -> tuple[float, float]:
        """Key by which news are sorted: smaller is more urgent."""
        return self.priority, min((h.distance_m for h in self.group if h.distance_m is not None), default=inf)


class Narrate(Node):
    """Speaks of a class when it appears, when there are more of it for a while, and when it comes nearer.

    Args:
        language: Of the words; the files of nodes/phrases.
        direction: "words" (slightly left), "clock" (at eleven o'clock), or "degrees".
        verbosity: "quiet" says what is new and what is urgent; "normal" also what is more or nearer; "detailed" also
            that something is gone.
        classes: What to speak of; null: everything.
        within_m: Classes that are spoken of only nearer than this, where their distance is known: {kerb: 3}.
        confirm_s: For how long something must be seen, in most frames, before it is spoken of.
        forget_s: For how long it must be gone before it counts as new again: flicker is no news.
        more_s: For how long there must be more of a class before that is news.
        cooldown_s: Between two utterances on the same class, unless the second is urgent.
        pause_s: Between any two utterances, unless the second is urgent.
        zones_m: Distances at which something that comes nearer is news again.
        near: Nearness (0..1) from which something of unknown distance is called near.
        late_s: Age from which what is seen is too old to walk by: "vision is late", and later "vision is back".
            The same when nothing comes for so long. null: nothing is said of it.
    """

    def __init__(
        self,
        language: str = "en",
        *,
        direction: Style = "words",
        verbosity: Verbosity = "normal",
        classes: Sequence[str] | None = None,
        within_m: Mapping[str, float] | None = None,
        confirm_s: float = 0.4,
        forget_s: float = 2.5,
        more_s: float = 1.5,
        cooldown_s: float = 5.0,
        pause_s: float = 1.0,
        zones_m: Sequence[float] = (1.5, 3.0, 6.0),
        near: float = 0.8,
        late_s: float | None = 1.0,
    ) -> None:
        self.language, self.direction, self.spoken = language, direction, SPOKEN[verbosity]
        self.classes = None if classes is None else frozenset(classes)
        self.within_m = dict(within_m or {})
        self.confirm_ns, self.forget_ns, self.more_ns = (int(s * 1e9) for s in (confirm_s, forget_s, more_s))
        self.cooldown_ns, self.pause_ns = int(cooldown_s * 1e9), int(pause_s * 1e9)
        self.zones_m, self.near = tuple(zones_m), near
        self.known: dict[str, Presence] = {}
        self.last_said_ns: int | None = None
        self.lateness = None if late_s is None else Lateness(int(late_s * 1e9))
        self.idle_after_s = late_s

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        language = params.get("language", "en")
        if language not in languages():
            yield f"language: is {language!r}{nearest(language, languages())}"
        yield from checks.word_problems(params, "direction", STYLES)
        yield from checks.word_problems({"verbosity": "normal", **params}, "verbosity", VERBOSITIES)
        yield from checks.names_problems(params, "classes")
        yield from checks.numbers_by_name_problems(params, "within_m", "{kerb: 3}")
        for key in ("confirm_s", "forget_s", "more_s", "cooldown_s", "pause_s"):
            yield from checks.number_problems(params, key, low=0)
        zones = params.get("zones_m", [])
        if not checks.is_list(zones) or not all(checks.is_number(z) and z > 0 for z in zones):
            yield f"zones_m: is {zones!r}; expected distances in metres, such as [1.5, 3, 6]"
        yield from checks.number_problems(params, "near", low=0, high=1)
        if params.get("late_s", 1.0) is not None:
            yield from checks.number_problems(params, "late_s", low=0)

    def setup(self) -> None:
        """Read the words."""
        self.phrases = phrases(self.language)

    def process(self, hazards: Hazards, stamp: Stamp, sides: Hazards | None = None) -> Utterance | None:
        """What to say of this frame, if anything; `sides` is what other cameras see beside the wearer.

        Somebody at the left is other news than somebody ahead or at the right, and is told of apart.
        """
        if self.lateness is not None and stamp.is_live:
            change = self.lateness.seen(stamp.now_ns(), stamp.age_ns())
            if change is not None:
                return self._tell(change, stamp)
        now_ns = stamp.captured_ns
        groups: dict[str, list[Hazard]] = {}
        beside = () if sides is None else sides.items
        keyed = [(h.name, h) for h in hazards.items] + [(f"{h.name}{SIDE}{_side(h)}", h) for h in beside]
        for key, hazard in keyed:
            if self._matters(hazard):
                groups.setdefault(key, []).append(hazard)
        for name in groups:
            self.known.setdefault(name, Presence())
        found = (self._news(name, groups.get(name, []), now_ns=now_ns) for name in self.known)
        news = [n for n in found if n is not None and (n.priority == 1 or n.reason in self.spoken)]
        if not news:
            return None
        first = min(news, key=lambda n: n.urgency)
        if first.priority > 1 and self.last_said_ns is not None and now_ns - self.last_said_ns < self.pause_ns:
            return None
        return self._say(first, now_ns)

    def idle(self, stamp: Stamp) -> Utterance | None:
        """Nothing has come for `late_s`."""
        change = self.lateness.silent() if self.lateness is not None else None
        return None if change is None else self._tell(change, stamp)

    def _tell(self, change: Change, stamp: Stamp) -> Utterance:
        """Of vision itself; it is heard before anything else, and however old the frame is."""
        why = "nothing came" if not stamp.age_ns() // 10**6 else f"what is seen is {stamp.age_ns() / 1e9:.1f} s old"
        text = self.phrases.vision(change)
        return Utterance(text, 1, self.language, VISION, VISION_AGE_MS, why=f"vision {change}: {why}")

    def _matters(self, h: Hazard) -> bool:
        if self.classes is not None and h.name not in self.classes:
            return False
        return h.distance_m is None or h.distance_m <= self.within_m.get(h.name, inf)

    def _news(self, name: str, group: list[Hazard], *, now_ns: int) -> News | None:
        """What is new about a class, if anything."""
        p = self.known[name]
        glance = Glance(now_ns, len(group), self._level(group))
        count, level = p.look(glance, confirm_ns=self.confirm_ns, forget_ns=self.forget_ns)
        if not group:
            return self._gone(name, now_ns)
        p.last_seen_ns = now_ns
        level = max(level, 0 if group[0].priority == 1 else 1)  # an alarm names the one that is urgent now
        reason = self._reason(p, group, count=count, level=level, now_ns=now_ns) if count else None
        # Urgent is what most of the last frames call urgent: one wrong measurement raises no alarm.
        priority: Priority = 1 if level == 0 else 2 if group[0].priority < 3 else 3
        return None if reason is None else News(name, reason, priority, count, level, group)

    def _reason(self, p: Presence, group: list[Hazard], *, count: int, level: int, now_ns: int) -> Reason | None:
        if not p.said_count:
            return "new"
        self._follow(p, group, count=count, now_ns=now_ns)
        is_cool = p.said_ns is None or now_ns - p.said_ns >= self.cooldown_ns
        if level < p.said_level and (is_cool or level == 0):
            return "nearer"
        if level == 0 and p.is_another(group[0].track_id, now_ns=now_ns):
            return "new"
        most = self.phrases.most_counted + 1
        more_ns = p.lasts_ns("more", min(count, most) > min(p.said_count, most), now_ns=now_ns)
        return "more" if is_cool and more_ns >= self.more_ns else None

    def _follow(self, p: Presence, group: list[Hazard], *, count: int, now_ns: int) -> None:
        """Fewer, or farther away for a while: from now on the contrary is news again."""
        if p.lasts_ns("fewer", count < p.said_count, now_ns=now_ns) > self.forget_ns:
            p.said_count = count
        far = self._level(group, slack=SLACK)
        is_measured = any(h.distance_m is not None or h.nearness is not None for h in group)
        if p.lasts_ns("farther", is_measured and far > p.said_level, now_ns=now_ns) > self.forget_ns:
            p.said_level = far

    def _gone(self, name: str, now_ns: int) -> News | None:
        p = self.known[name]
        if not p.said_count or now_ns - p.last_seen_ns <= self.forget_ns:
            return None
        p.said_count = 0
        p.since_ns.clear()
        if SIDE in name:
            return None  # who left at the side may be ahead now
        return News(name, "gone", 3, 0, len(self.zones_m) + 1, ())

    def _level(self, group: Sequence[Hazard], slack: float = 1.0) -> int:
        if any(h.priority == 1 for h in group):
            return 0
        distances = [h.distance_m for h in group if h.distance_m is not None]
        if distances:
            return 1 + sum(min(distances) > zone * slack for zone in self.zones_m)
        return len(self.zones_m) + 1 - any(self._is_near(h, slack) for h in group)

    def _is_near(self, h: Hazard, slack: float = 1.0) -> bool:
        return h.nearness is not None and h.nearness * slack >= self.near

    def _say(self, news: News, now_ns: int) -> Utterance:
        p = self.known[news.key]
        p.said_count, p.said_level, p.said_ns = news.count, news.level, now_ns
        p.said_id = news.group[0].track_id if news.group else None
        self.last_said_ns = now_ns
        p.since_ns.clear()
        max_age_ms = MAX_AGE_MS[news.priority]
        if not news.group:
            why = f"gone: {news.name}, not seen for {self.forget_ns / 1e9:g} s"
            return Utterance(self.phrases.gone(news.name), 3, self.language, news.name, max_age_ms, why=why)
        first = news.group[0]
        text = self.phrases.describe(
            news.name,
            count=1 if news.priority == 1 else news.count,  # of many, the urgent one is what counts
            distance_m=first.distance_m,
            near=self._is_near(first),
            bearing_deg=first.bearing_deg,
            style=self.direction,
        )
        bearing = first.bearing_deg
        return Utterance(text, news.priority, self.language, news.key, max_age_ms, bearing, _why(news))


def _side(h: Hazard) -> str:
    return "left" if h.bearing_deg < 0 else "right"


def _why(news: News) -> str:
    first = news.group[0]
    distance = "distance unknown" if first.distance_m is None else f"{first.distance_m:.1f} m"
    if first.nearness is not None:
        distance = f"nearness {first.nearness:.2f}"
    measured = f"conf {first.conf:.2f}, {distance}, {first.bearing_deg:+.0f} deg"
    contact = f", contact in {first.ttc_s:.1f} s" if first.ttc_s < inf else ""
    return f"{news.reason}: {news.count} x {news.name}, {measured}{contact}"
