"""All errors of the framework.

    CauceError            the base: its text is for people and stands alone
    ├── ConfigError       mistakes in what was written, all of them at once; nothing has started
    ├── NodeError         a node failed in setup, process or finish; ends the run unless its policy says otherwise
    │   ├── WrongMessage  a node returned, or was given, something else than its ports and contracts say
    │   ├── Stalled       a node did not return in time and its policy is to stop
    │   └── WorkerDied    the process of a node ended, and its policy is to stop
    ├── WorkerError       a worker cannot start: what it works in is not there
    ├── Standstill        inputs of a lossless graph wait for each other without room
    ├── OutOfDescriptors  a process may have no more files, sockets and memory open
    └── ServerError       the metrics cannot be served where they were asked for

Each of them ends the program with exit code 1 and its text as the last line.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graph.node import Stamp


class CauceError(Exception):
    """Base of all errors that people are told without a traceback."""

    is_for_people = True


class ConfigError(CauceError):
    """Every mistake found in a configuration, each as "config.key: what is wrong, what was expected"."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        super().__init__("\n".join([f"the configuration has {count}:", *(f"  {p}" for p in problems)]))


class NodeError(CauceError):
    """A node failed: which one, doing what, at which capture, and why."""

    def __init__(self, node: str, doing: str, cause: str, *, stamp: Stamp | None = None) -> None:
        self.node, self.doing, self.cause, self.stamp = node, doing, cause, stamp
        where = f" at {stamp.origin}#{stamp.seq}" if stamp else ""
        super().__init__(f"nodes.{node}: {doing} failed{where}: {cause}")

    def __reduce__(self) -> Any:
        """Errors of process workers reach the run by pickle."""
        return _restored, (type(self), self.node, self.doing, self.cause, self.stamp)


class WrongMessage(NodeError):
    """A message that does not fit the port it came from or goes to."""


class Stalled(NodeError):
    """A node that did not return."""


class WorkerDied(NodeError):
    """The process of a node is gone."""


def _restored(kind: type[NodeError], node: str, doing: str, cause: str, stamp: Stamp | None) -> NodeError:
    return kind(node, doing, cause, stamp=stamp)


class WorkerError(CauceError):
    """A worker cannot start: which one, and why."""

    def __init__(self, worker: str, cause: str) -> None:
        self.worker, self.cause = worker, cause
        super().__init__(f"placement.{worker}: the worker cannot start: {cause}; or take placement=threads")

    def __reduce__(self) -> Any:
        """It may come from another process."""
        return type(self), (self.worker, self.cause)


class Standstill(CauceError):
    """Nothing moves any more in a lossless run: what is full, or lets nothing in."""

    def __init__(self, limits: Sequence[str]) -> None:
        self.limits = list(limits)
        what = "".join(f"\n  {limit}" for limit in limits) or "\n  no edge is full"
        super().__init__(
            "the graph stands still: inputs that are processed together wait for each other, and there is no room for "
            f"what they wait for; raise what is too small for that, or leave it out:{what}"
        )

    def __reduce__(self) -> Any:
        """It may come from another process."""
        return type(self), (self.limits,)


class ServerError(CauceError):
    """A server cannot listen where it was asked to."""


class OutOfDescriptors(CauceError):
    """A process may have no more files, sockets and memory open."""

    def __init__(self, limit: int, most: int) -> None:
        self.limit, self.most = limit, most
        enough = min(max(1024, 4 * limit), most)
        remedy = f"run `ulimit -n {enough}` before" if enough > limit else "raise its hard limit (RLIMIT_NOFILE)"
        super().__init__(
            f"a process may have {limit} file descriptors open, and more are needed; {remedy}, or take "
            "placement=threads, which needs fewer"
        )

    def __reduce__(self) -> Any:
        """It may come from another process."""
        return type(self), (self.limit, self.most)


def in_words(e: BaseException) -> str:
    """An exception in one line; errors that are written for people speak for themselves."""
    error = translated(e)
    return str(error) if getattr(error, "is_for_people", False) else f"{type(e).__name__}: {e}"


def translated(e: BaseException) -> BaseException:
    """The same error, as one of ours where it is one that any part may meet."""
    if not isinstance(e, OSError) or e.errno != errno.EMFILE:
        return e
    from resource import RLIMIT_NOFILE, getrlimit

    return OutOfDescriptors(*getrlimit(RLIMIT_NOFILE))


def nearest(word: object, known: Iterable[str]) -> str:
    """The end of an error message: the nearest right word, else all right words."""
    names = [str(name) for name in known]
    close = difflib.get_close_matches(str(word), names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is: {', '.join(sorted(names))}" if names else "; there is none"
