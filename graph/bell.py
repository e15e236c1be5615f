"""What wakes the thread of one worker: a ring from a thread beside it, or a message from another process."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread

MOST_EVENTS = 16  # at once; the others are still there


class Bell:
    """Wakes the thread of one worker. Ringing is cheap, never blocks, and is allowed anywhere, destructors included."""

    __slots__ = ("_queue", "rung")

    def __init__(self) -> None:
        self._queue: SimpleQueue[None] = SimpleQueue()
        self.rung = False

    def ring(self) -> None:
        """Wake the waiter now, or let its next wait return at once. Rings add up to one."""
        if not self.rung:
            self.rung = True
            self._queue.put(None)

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait for a ring. Whatever was written before the ring is visible to the waiter afterwards."""
        try:
            self._queue.get(timeout=timeout_s)
        except Empty:
            pass
        self.rung = False

    def leave(self) -> None:
        """The worker will not wait any more, but what comes must still be taken in."""

    def close(self) -> None:
        """Release what the bell holds; nobody waits any more."""


class SocketBell(Bell):
    """A bell that also listens to sockets: whoever waits for it reads them, with no thread in between to wake.

    While the worker is at work a thread beside it listens in its place to those that are urgent, so what is newest is
    known, and captures end, during a long step. Both wait on the same epoll instance, edge-triggered: one event wakes
    one of them, and the kernel chooses who came last. That is the worker whenever it waits: the thread beside it stays
    away until the worker has something to do again. The sockets that are not urgent are armed when the worker waits
    and has a use for what may come, for one event.
    """

    __slots__ = (
        "_alone",
        "_armed",
        "_closed",
        "_epoll",
        "_event",
        "_is_parked",
        "_listeners",
        "_patient",
        "_thread",
        "_waits",
    )

    def __init__(self, name: str, *, has_help: bool = True) -> None:
        super().__init__()
        self._epoll = select.epoll()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._event, select.EPOLLIN | select.EPOLLET)
        self._listeners: dict[int, Callable[[], None]] = {}
        self._alone: dict[int, Callable[[], None]] = {}
        self._patient: list[tuple[int, Callable[[], bool]]] = []
        self._armed: set[int] = set()
        """Those of them that are armed, or have just had their event."""
        self._waits = self._closed = self._is_parked = False
        self._thread = Thread(target=self._listen, name=f"cauce-{name}-post", daemon=True) if has_help else None
        if self._thread is not None:
            self._thread.start()

    def watch(
        self,
        fd: int,
        listener: Callable[[], None],
        *,
        is_urgent: bool,
        when: Callable[[], bool] = lambda: True,
        alone: Callable[[], None] | None = None,
    ) -> None:
        """Call `listener`, in the thread that waits or in one beside it, when there is something to read at `fd`.

        Where it is not urgent, only while the worker has nothing else to do, and `when` says that it would help.
        In its place `alone` is called where the thread that waits was woken by this and nothing else: it may step.
        """
        self._listeners[fd] = listener
        if alone is not None:
            self._alone[fd] = alone
        if is_urgent:
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)
        else:
            self._armed.discard(fd)
            self._epoll.register(fd, 0)
            self._patient = [*self._patient, (fd, when)]
            self.ring()

    def forget(self, fd: int) -> None:
        """End what `watch` began, before `fd` is closed."""
        self._alone.pop(fd, None)
        self._armed.discard(fd)
        if self._listeners.pop(fd, None) is not None:
            self._patient = [other for other in self._patient if other[0] != fd]
            self._epoll.unregister(fd)

    def ring(self) -> None:
        """See `Bell.ring`."""
        if not self.rung:
            self.rung = True
            if self._waits:
                os.eventfd_write(self._event, 1)

    def wait(self, timeout_s: float | None = None) -> None:
        """See `Bell.wait`."""
        self._waits = True  # from here on a ring writes the event; one from before is seen on the next line
        events = None
        if not self.rung:
            for fd, when in self._patient:
                if fd not in self._armed and when():
                    self._arm(fd)
            events = self._epoll.poll(timeout_s, MOST_EVENTS)
        self._waits = False
        if self._is_parked:
            self._is_parked = False
            self._queue.put(None)
        if events:
            self.rung = True  # what the listeners put into mailboxes need not wake the thread that runs them
            if len(events) == 1 and (listener := self._alone.get(events[0][0])) is not None:
                self._armed.discard(events[0][0])
                listener()
            else:
                self._tell(events)
        self.rung = False

    def leave(self) -> None:
        """See `Bell.leave`: from now on everything is urgent."""
        patient, self._patient = self._patient, []
        for fd, _ in patient:
            try:
                self._epoll.modify(fd, select.EPOLLIN | select.EPOLLET)
            except OSError:  # it was forgotten at this very moment
                pass

    def close(self) -> None:
        """See `Bell.close`."""
        self._closed = True
        self._queue.put(None)
        self._epoll.modify(self._event, select.EPOLLIN)  # level-triggered: it stays, for whoever looks
        os.eventfd_write(self._event, 1)
        if self._thread is not None:
            self._thread.join()
        self._epoll.close()
        os.close(self._event)

    def _arm(self, fd: int) -> None:
        self._armed.add(fd)  # before it is: its event may come at once, and to the other thread
        try:
            self._epoll.modify(fd, select.EPOLLIN | select.EPOLLONESHOT)
        except OSError:  # it was forgotten at this very moment
            self._armed.discard(fd)

    def _listen(self) -> None:
        while not self._closed:
            events = self._epoll.poll()
            if self._closed:
                return
            self._tell(events)
            self.rung = True  # what was heard may be what the worker waits for from the next moment on
            self._is_parked = True  # before it looks whether the worker waits, which looks at this after it has waited
            if self._waits and not self._closed:
                # The worker was faster. It must look at what was read, and arm again what has had its one event. From
                # here on the kernel would choose this thread for every event, so it stays away while the worker waits.
                os.eventfd_write(self._event, 1)
                self._queue.get()
            self._is_parked = False

    def _tell(self, events: list[tuple[int, int]]) -> None:
        for fd, _ in events:
            self._armed.discard(fd)
            listener = self._listeners.get(fd)
            if listener is not None:
                listener()
