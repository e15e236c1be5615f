"""How things are said, in each language: the words are data (one YAML file a language), the grammar is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

Style = Literal["words", "clock", "degrees"]


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
        self, name: str, *, count: int, distance_m: float | None, bearing_deg: float, style: Style = "words"
    ) -> str:
        """What is where: "person, two metres, slightly left"; of several, the nearest: "three people, nearest ..."."""
        where = [*([self.distance(distance_m)] if distance_m is not None else []), self.direction(bearing_deg, style)]
        if count == 1:
            return ", ".join([self._name(name, 1), *where])
        nearest = self.words["nearest"][self._gender(name)]
        return ", ".join([f"{self.count(count, name)} {self._name(name, count)}", f"{nearest} {where[0]}", *where[1:]])

    def distance(self, metres: float) -> str:
        """A distance, rounded as it is known: half metres under 3 m, whole ones beyond."""
        steps = round(metres * 2) if metres < 2.75 else 2 * round(metres)
        words = self.words["distance"]
        whole, half = divmod(max(1, steps), 2)
        if not whole:
            return str(words["half"])
        template = words["one_half" if half else "one"] if whole == 1 else words["many_half" if half else "many"]
        return str(template).format(n=self.number(whole))

    def direction(self, bearing_deg: float, style: Style = "words") -> str:
        """A bearing in words, on the clock face (12 is straight ahead), or in degrees."""
        if style == "clock":
            hour = round(bearing_deg / 30) % 12 or 12
            return str(self.words["clock"]).format(n=self.number(hour))
        side = "left" if bearing_deg < 0 else "right"
        size = abs(bearing_deg)
        if style == "degrees":
            return str(self.words["degrees"][side]).format(n=round(size))
        if size < 6:
            return str(self.words["direction"]["ahead"])
        return str(self.words["direction"][("slightly_" if size < 20 else "far_" if size > 50 else "") + side])

    def number(self, n: int) -> str:
        """A whole number in words, where it is small."""
        numbers: Sequence[str] = self.words["numbers"]
        return numbers[n] if n < len(numbers) else str(n)

    def count(self, n: int, name: str) -> str:
        """How many of `name`."""
        return str(self.words["several"][self._gender(name)]) if n > self.words["most_counted"] else self.number(n)

    def _name(self, name: str, n: int) -> str:
        known = self.words["names"].get(name)
        if known is None:
            return name if n == 1 else name + self.words["plural"]
        singular, plural = known[0], known[1] if len(known) > 1 else known[0] + self.words["plural"]
        return str(singular if n == 1 else plural)

    def _gender(self, name: str) -> str:
        known = self.words["names"].get(name, ())
        return str(known[2]) if len(known) > 2 else "m"
