"""How things are said, in each language: the words are data (one YAML file a language), the grammar is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

Style = Literal["words", "clock", "degrees"]

AHEAD_DEG, SLIGHTLY_DEG, FAR_DEG = 6.0, 20.0, 50.0
"""Up to these bearings something is ahead, slightly aside, aside; beyond the last it is far aside."""


def languages() -> tuple[str, ...]:
    """The languages there are, such as ("en", "es")."""
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files(__name__).iterdir() if f.name.endswith(".yaml")))


@cache
def phrases(language: str) -> Phrases:
    """The phrases of a language; KeyError where there is none."""
    if language not in languages():
        raise KeyError(f"there is no language {language!r}; there is: {', '.join(languages())}")
    return Phrases(yaml.safe_load((files(__name__) / f"{language}.yaml").read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class Phrases:
    """One language."""

    words: Mapping[str, Any]

    def describe(
        self,
        name: str,
        *,
        count: int = 1,
        distance_m: float | None = None,
        near: bool = False,
        bearing_deg: float = 0.0,
        style: Style = "words",
    ) -> str:
        """What is where: "person, two metres, slightly left"; of several, the nearest: "three people, nearest ...".

        `near` says so of something whose distance in metres is unknown.
        """
        direction = self.direction(bearing_deg, style)
        where = [direction]
        if distance_m is not None:
            where = [self.distance(distance_m), direction]
        elif near:
            where = [str(self.words["near"]), direction]
        if count > 1:
            nearest = self.words["nearest"][self._gender(name)]
            return ", ".join([self.counted(count, name), f"{nearest} {where[0]}", *where[1:]])
        if where == [self.words["direction"]["ahead"]]:
            return str(self.words["only_ahead"]).format(name=self.name(name))
        return ", ".join([self.name(name), *where])

    def gone(self, name: str) -> str:
        """That there is none of `name` any more."""
        return str(self.words["gone"]).format(names=self.name(name, 2))

    def vision(self, change: Literal["late", "back"]) -> str:
        """That what is seen is old, or is of now again."""
        return str(self.words["vision"][change])

    def distance(self, metres: float) -> str:
        """A distance, rounded as it is known: half metres under 3 m, whole ones beyond."""
        halves = max(1, round(metres * 2)) if metres < 2.75 else 2 * round(metres)
        whole, rest = divmod(halves, 2)
        if not whole:
            return str(self.words["distance"]["half"])
        key = ("one" if whole == 1 else "many") + ("_half" if rest else "")
        return str(self.words["distance"][key]).format(n=self.number(whole))

    def direction(self, bearing_deg: float, style: Style = "words") -> str:
        """A bearing in words, on the clock face (12 is straight ahead), or in degrees, rounded to five."""
        if style == "clock":
            hour = round(bearing_deg / 30) % 12 or 12
            return str(self.words["clock_hours"].get(hour) or self.words["clock"].format(n=self.number(hour)))
        side, size = "left" if bearing_deg < 0 else "right", abs(bearing_deg)
        if style == "degrees" and (fives := 5 * round(size / 5)):
            return str(self.words["degrees"][side]).format(n=fives)
        if style == "degrees" or size < AHEAD_DEG:
            return str(self.words["direction"]["ahead"])
        how = "slightly_" if size < SLIGHTLY_DEG else "far_" if size > FAR_DEG else ""
        return str(self.words["direction"][how + side])

    def number(self, n: int) -> str:
        """A whole number in words, where it is small."""
        numbers: Sequence[str] = self.words["numbers"]
        return numbers[n] if n < len(numbers) else str(n)

    @property
    def most_counted(self) -> int:
        """More than this are "several"."""
        return int(self.words["most_counted"])

    def counted(self, n: int, name: str) -> str:
        """How many of what: "three people", "several people"."""
        number = self.number(n) if n <= self.most_counted else self.words["several"][self._gender(name)]
        return f"{number} {self.name(name, n)}"

    def name(self, name: str, n: int = 1) -> str:
        """What `n` of the class `name` are called; a class without words keeps its name."""
        known = self.words["names"].get(name, [name])
        if n == 1:
            return str(known[0])
        return str(known[1]) if len(known) > 1 else str(known[0]) + str(self.words["plural"])

    def _gender(self, name: str) -> str:
        known = self.words["names"].get(name, ())
        return str(known[2]) if len(known) > 2 else "m"
