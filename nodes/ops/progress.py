"""How far a long command is: bars on a terminal, elsewhere a line now and then. Knows no command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

PLAIN_EVERY_S = 20.0

Told = Callable[[float, str], None]
"""Called with the share that is done (0..1) and a few words."""


@contextmanager
def progress(*, vanishes: bool = False) -> Iterator[Callable[[str], Told]]:
    """Bars on the standard error, one a stage: call it with the stage's name, then tell what it gives.

    `vanishes`: whether the bars leave the screen at the end.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
               TextColumn("{task.fields[words]}"))  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=vanishes) as bars:

        def stage(name: str) -> Told:
            task, last = bars.add_task(name, total=1.0, words=""), [0.0]

            def told(share: float, words: str) -> None:
                bars.update(task, completed=share, words=words)
                if not console.is_terminal and monotonic() - last[0] > PLAIN_EVERY_S:
                    last[0] = monotonic()
                    console.print(f"{name}: {share:.0%} {words}", markup=False, highlight=False)

            return told

        yield stage
