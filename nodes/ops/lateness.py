"""Tells when what is seen has become too old to walk by, and when it can be trusted again. Knows no clock."""

from __future__ import annotations

from typing import Literal

CONFIRM_NS = int(0.5e9)  # one late frame is a hiccup
STEADY_NS = int(1e9)  # for so long all must be in time before that is said

Change = Literal["late", "back"]


class Lateness:
    """Whether vision is late: nothing but frames older than `limit_ns` for a while, or none at all."""

    def __init__(self, limit_ns: int) -> None:
        self.limit_ns = limit_ns
        self.is_late = False
        self._since_ns: int | None = None
        """Since when all frames have been late, or while it is late, since when all have been in time."""

    def seen(self, now_ns: int, age_ns: int) -> Change | None:
        """Note a frame that is `age_ns` old at `now_ns`; what is to be said of it."""
        if (age_ns > self.limit_ns) == self.is_late:
            self._since_ns = None
            return None
        if self._since_ns is None:
            self._since_ns = now_ns
        if now_ns - self._since_ns < (STEADY_NS if self.is_late else CONFIRM_NS):
            return None
        self._since_ns = None
        self.is_late = not self.is_late
        return "late" if self.is_late else "back"

    def silent(self) -> Change | None:
        """Note that no frame has come for `limit_ns`; what is to be said of it."""
        self._since_ns = None
        if self.is_late:
            return None
        self.is_late = True
        return "late"
