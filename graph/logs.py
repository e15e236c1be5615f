"""Log records of a process or an actor are the run's: its handlers are the ones that were asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable


def hand_over(level: int, tell: Callable[[str, int, str], object]) -> None:
    """From now on, tell of each log record of `level` and above: its logger, its level and its text."""
    logging.basicConfig(level=level, format="%(message)s", handlers=[_Handler(tell)], force=True)


def take_over(worker: str, record: tuple[str, int, str]) -> None:
    """Log in the run what a worker has told."""
    name, level, text = record
    logging.getLogger(name).log(level, "[%s] %s", worker, text)


class _Handler(logging.Handler):
    def __init__(self, tell: Callable[[str, int, str], object]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        self._tell(record.name, record.levelno, self.format(record))
