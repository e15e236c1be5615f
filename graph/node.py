"""The one thing to learn: a node is a class with a `process` method, and its ports are the signature of `process`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import signature
from time import monotonic_ns
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    import numpy.typing as npt

T = TypeVar("T")

Contract = Mapping[str, Any]
"""What is known of the messages on a port, such as {"size_wh": (640, 480), "dtype": "uint8"}.

What a port emits is a mapping of single values; what a port expects may also name alternatives, as a frozenset.
A key that one side does not mention is not compared.
"""


FIGURES = "figures"
"""The topic of `Node.facts` that closes the summary."""


class EndOfStream(Exception):
    """Raised by a source when there is nothing more to read."""


class Stamp(NamedTuple):
    """Where and when a packet entered the graph. The runtime carries it to the last sink; nodes only read it."""

    origin: str
    """The source's output, such as "camera" or "aria.rgb"."""
    seq: int
    """Number of the capture within its origin; a gap means that the source lost some."""
    captured_ns: int
    """Capture time on the source's clock: the host's monotonic clock if live, media time if lossless."""
    offset_ns: int = 0
    """Source's clock minus the host's monotonic clock. Zero for a live source."""

    def now_ns(self) -> int:
        """The present moment on the clock of `captured_ns`."""
        return monotonic_ns() + self.offset_ns

    @property
    def is_live(self) -> bool:
        """Whether captures come as they happen, so that age is what it seems; in a lossless run it is not."""
        return self.offset_ns == 0

    def age_ns(self) -> int:
        """Time since the capture. In a lossless run: time since the packet entered the graph."""
        return monotonic_ns() + self.offset_ns - self.captured_ns


of_fields = tuple.__new__
"""Makes a NamedTuple of a class and its fields. Its own constructor is Python, and takes thrice as long."""


class Captured(NamedTuple, Generic[T]):
    """What a source returns: a message, when the device captured it, and the device's own count where it has one.

    A count that begins anew, as that of a device that was started again, is continued where it was.
    """

    message: T
    captured_ns: int
    seq: int | None = None


class Node:
    """Base of every node.

    The parameters of `process` are the input ports, its return type is the output: one message type, `X | None` where
    nothing may be emitted, or a NamedTuple of several outputs. A parameter annotated `Stamp` receives the stamp and is
    no port. A node whose `process` has no input port is a source: it returns `Captured` and raises `EndOfStream`.

    A node with one input port may also have `process_batch`, which takes a sequence of messages in place of one (and of
    stamps, where `process` has one), under the same names, and returns as many results. It is called where the node's
    entry in the graph has `batch`.
    """

    batch_max: int = 1
    """How many messages `process_batch` will get at most; 1 where it is not called. Known in `setup`."""

    def setup(self) -> None:
        """Acquire models, files and devices. Runs once, in the worker that will call `process`."""

    def process(self, *args: Any, **kwargs: Any) -> Any:
        """Turn one set of messages into one message, or None."""
        raise NotImplementedError(f"{type(self).__qualname__} has no process method")

    def finish(self) -> None:
        """Complete what was begun. Called once, before `close`, when the stream has ended by itself."""

    def interrupt(self) -> None:
        """Wake up a `process` that waits, end a long `setup`. The only method that another thread calls, at a stop."""

    def close(self) -> None:
        """Release what `setup` acquired. Always called, also when `setup` or `process` failed, and never twice."""

    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """What `setup` found out, by topic, such as {"model": {"provider": ...}}: for summary, status and metrics.

        It is asked again at the end: the topic "figures" is what a node has counted, and closes the summary.
        """
        return {}

    idle_after_s: float | None = None
    """Of a node that must not stay silent: after so long without a step, `idle` is called. Only in live runs."""

    def idle(self, stamp: Stamp) -> Any:
        """What to emit although nothing has come; `stamp` is of this moment. Called once in each silence."""

    def loan(self, shape: tuple[int, ...], dtype: Any = "uint8", output: str = "") -> npt.NDArray[Any]:
        """A new array of undefined content, to be filled and sent by `output` ("" is the sole one).

        Where the output leaves the process it lies in the memory that the consumers read, so it is never copied.
        Elsewhere, where it has at most 4096 bytes, and in a node that no framework runs, it is an ordinary array.
        """
        lend = self._lenders.get(output)
        if lend is not None:
            return lend(shape, dtype)
        import numpy as np

        return np.empty(shape, dtype)

    _lenders: Mapping[str, Callable[[tuple[int, ...], Any], npt.NDArray[Any]]] = MappingProxyType({})

    def status(self) -> str:
        """A few words for the status line, such as what was said last. Called from another thread."""
        return ""

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """Mistakes that the plain parameters show before anything is acquired: "key: what is wrong, what to do"."""
        return ()

    @classmethod
    def expects(cls, params: Mapping[str, Any]) -> Mapping[str, Contract]:
        """Contracts of the input ports, by port name."""
        return {}

    @classmethod
    def emits(cls, params: Mapping[str, Any], inputs: Mapping[str, Contract]) -> Mapping[str, Contract]:
        """Contracts of the outputs, by output name ("" for a sole output), given those of the connected inputs."""
        return {}

    @classmethod
    def lossless(cls, params: Mapping[str, Any]) -> bool:
        """Whether this source wants every capture processed, as fast as possible: its parameter `realtime` is false."""
        parameter = signature(cls).parameters.get("realtime")
        default = True if parameter is None else parameter.default
        return params.get("realtime", default) is False
