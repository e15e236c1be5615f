"""Stamps as a graph gives them to its nodes."""

from time import monotonic_ns

from graph import Stamp


def recorded(origin: str, seq: int, captured_ns: int) -> Stamp:
    """Of a capture that has just entered a lossless run: its time is media time, and it is not old."""
    return Stamp(origin, seq, captured_ns, captured_ns - monotonic_ns())
