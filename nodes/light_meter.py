"""Warns when the scene is too dark for the detector to be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from graph import Node
from nodes.messages import Frame, Utterance
from nodes.ops import checks


class LightMeter(Node):
    """Speaks once each time the mean luma (0..255) falls below `min_luma`."""

    def __init__(self, min_luma: float = 30.0) -> None:
        self.min_luma, self.dark = min_luma, False

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        yield from checks.number_problems(params, "min_luma", low=0, high=255)

    def process(self, image: Frame) -> Utterance | None:
        """A warning, at the first of a row of dark frames."""
        was_dark, self.dark = self.dark, bool(image.pixels[::8, ::8].mean() < self.min_luma)
        return Utterance("It is dark.") if self.dark and not was_dark else None
