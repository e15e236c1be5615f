"""Streams of a stand-in GPU: queues of work whose order is free, but for what streams and events demand.

`at_once` runs work when it is enqueued. `late` runs it only when somebody waits for it, and then no more than that:
whoever forgot to wait for an event sees the memory as it was before. A `Random` runs anything that may run at any time.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from random import Random
from threading import RLock

Schedule = str | Random


class Streams:
    """The work of all streams. An event is a number; each time it is recorded counts."""

    def __init__(self, schedule: Schedule = "at_once") -> None:
        self.schedule = schedule
        self.lock = RLock()
        self._queues: dict[int, deque] = defaultdict(deque)
        self._recorded: dict[int, int] = defaultdict(int)
        self._reached: dict[int, int] = defaultdict(int)
        self._where: dict[tuple[int, int], int] = {}

    def work(self, stream: int, run: Callable[[], None]) -> None:
        """Enqueue work."""
        self._add(stream, ("work", run, 0))

    def record(self, event: int, stream: int) -> None:
        """Enqueue a mark."""
        with self.lock:
            self._recorded[event] += 1
            count = self._recorded[event]
            self._where[event, count] = stream
            self._add(stream, ("record", event, count))

    def order(self, stream: int, event: int) -> None:
        """Let the stream wait for the event as it was recorded last; for none where it never was."""
        with self.lock:
            self._add(stream, ("wait", event, self._recorded[event]))

    def is_done(self, event: int) -> bool:
        """Whether the event is reached."""
        with self.lock:
            self._pump()
            return self._reached[event] >= self._recorded[event]

    def finish_event(self, event: int, count: int | None = None) -> None:
        """Run what the event needs, and nothing else."""
        with self.lock:
            count = self._recorded[event] if count is None else count
            while self._reached[event] < count:
                self._step(self._where[event, count])

    def finish_stream(self, stream: int) -> None:
        """Run all that is on the stream."""
        with self.lock:
            while self._queues[stream]:
                self._step(stream)

    def finish(self) -> None:
        """Run everything."""
        for stream in list(self._queues):
            self.finish_stream(stream)

    def pending(self) -> int:
        """How much work has not run yet."""
        with self.lock:
            return sum(kind == "work" for queue in self._queues.values() for kind, _, _ in queue)

    def _add(self, stream: int, entry: tuple) -> None:
        with self.lock:
            self._queues[stream].append(entry)
            if self.schedule == "at_once":
                self.finish_stream(stream)
            self._pump()

    def _pump(self) -> None:
        """With a random schedule, run some of what may run."""
        if not isinstance(self.schedule, Random):
            return
        for _ in range(self.schedule.randrange(4)):
            free = [s for s, queue in self._queues.items() if queue and not self._is_blocked(queue[0])]
            if not free:
                return
            self._step(self.schedule.choice(free))

    def _is_blocked(self, entry: tuple) -> bool:
        kind, event, count = entry
        return kind == "wait" and self._reached[event] < count

    def _step(self, stream: int) -> None:
        kind, what, count = self._queues[stream].popleft()
        if kind == "work":
            what()
        elif kind == "wait":
            self.finish_event(what, count)
        else:
            self._reached[what] = max(self._reached[what], count)
