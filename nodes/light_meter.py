"""Warns when the scene is too dark for the detector to be trusted."""

from __future__ import annotations

from graph import Node
from nodes.messages import Frame, Utterance


class LightMeter(Node):
    """Speaks once each time the mean luma (0..255) falls below `min_luma`."""

    def __init__(self, min_luma: float = 30.0) -> None:
        self.min_luma, self.dark = min_luma, False

    def process(self, image: Frame) -> Utterance | None:
        """A warning, at the first of a row of dark frames."""
        was_dark, self.dark = self.dark, bool(image.pixels[::8, ::8].mean() < self.min_luma)
        return Utterance("It is dark.") if self.dark and not was_dark else None
