"""What TensorRT says: kept, since it gives its reasons nowhere else, and made readable. Imports nothing of it."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

PLACES = re.compile(r"[\s.]*\(?\bIn \S+ at /\S+:\d+|\[\w+\.cpp:[^]]*\] ?|\bI[A-Z]\w+::\w+: |Error Code \d+: ")
"""Where in NVIDIA's sources something happened: of use to its authors only."""


class Log:
    """What TensorRT says. Every listener gets the errors and warnings of all threads while it listens."""

    def __init__(self) -> None:
        self._listeners: list[list[str]] = []
        self._lock = threading.Lock()

    def add(self, severity: str, message: str) -> None:
        """Take one message; called by TensorRT, from any thread."""
        logger.debug("TensorRT: %s: %s", severity, message)
        if severity.endswith("ERROR"):
            with self._lock:
                for listener in self._listeners:
                    listener.append(message)

    @contextmanager
    def listen(self) -> Iterator[list[str]]:
        """The errors that come until the end of the block."""
        messages: list[str] = []
        with self._lock:
            self._listeners.append(messages)
        try:
            yield messages
        finally:
            with self._lock:
                self._listeners = [listener for listener in self._listeners if listener is not messages]


def plain(messages: list[str]) -> str:
    """TensorRT's messages without the places in its sources, and none twice."""
    return "; ".join(dict.fromkeys(text for message in messages if (text := _plain(message))))


def _plain(message: str) -> str:
    text = " ".join(PLACES.sub("", message).split()).rstrip(".")
    extra = text.count(")") - text.count("(")
    return text[:-extra] if extra > 0 and text.endswith(")" * extra) else text + ")" * -extra
