"""What waits in the loop of an actor: for news from other threads, and for its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from graph.bell import Bell


def post(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: Any) -> None:
    """Have the loop call `function`; callable from any thread and from destructors."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:  # the actor is ending
        pass


class LoopBell(Bell):
    """Wakes what waits in the loop."""

    __slots__ = ("_loop", "_news")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._news: list[asyncio.Future[None]] = []

    def ring(self) -> None:
        """See `Bell.ring`."""
        if not self.rung:
            self.rung = True
            post(self._loop, self._wake)

    def _wake(self) -> None:
        self.rung = False
        news, self._news = self._news, []
        for future in news:
            if not future.done():
                future.set_result(None)

    async def heard(self) -> None:
        """Wait for the next ring."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._news.append(future)
        await future


class Turns:
    """Numbered calls, carried out in their order: Ray may begin them in another one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._next, self._bell = 0, LoopBell(loop)

    async def come(self, number: int) -> None:
        """Wait until it is the turn of this one; what it does before it waits for anything else, it does in order."""
        while number != self._next:
            await self._bell.heard()
        self._next += 1
        self._bell.ring()
