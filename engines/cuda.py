"""A CUDA device as engines see it: the few calls that they need. Knows no runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from engines.base import Array
from engines.cuda_driver import INSTALL, Driver, Handle, import_driver

__all__ = ["INSTALL", "Device", "Driver", "Handle", "import_driver", "open_device"]


class Device(Protocol):
    """A CUDA device. Its calls go to the device that `use` made the calling thread's own."""

    name: str
    """As the driver says it, such as "NVIDIA GeForce RTX 2060"."""
    number: int
    capability: tuple[int, int]
    """Compute capability, such as (7, 5) for Turing."""
    memory_kind: int
    """What the DLPack standard calls its memory: 2 for CUDA, 1 for that of the host."""

    def use(self) -> None:
        """Make this device that of the calling thread."""
        ...

    def memory(self) -> tuple[int, int]:
        """Free and total bytes."""
        ...

    def open_stream(self, priority: int) -> int:
        """A stream that waits for no other; lower numbers go first, limited to what the device knows."""
        ...

    def priorities(self) -> tuple[int, int]:
        """The priorities of the stream that goes last and of the one that goes first: (0, -5), say."""
        ...

    def close_stream(self, stream: int) -> None:
        """Close it; work that is under way is finished first."""
        ...

    def open_event(self, *, spin: bool) -> Handle:
        """A mark for streams; a thread that waits for it spins on a core, or sleeps."""
        ...

    def close_event(self, event: Handle) -> None:
        """Close it."""
        ...

    def record(self, event: Handle, stream: int) -> None:
        """Put the mark behind all that the stream has been given."""
        ...

    def order(self, event: Handle, stream: int) -> None:
        """Let the stream go on when the mark, as it was put last, is reached. The host does not wait."""
        ...

    def is_done(self, event: Handle) -> bool:
        """Whether the mark is reached, without waiting."""
        ...

    def wait(self, event: Handle) -> None:
        """Wait until the mark is reached; EngineError where work before it has failed."""
        ...

    def allocate(self, size: int) -> int:
        """The address of `size` bytes on the device; OutOfMemoryError with what was free."""
        ...

    def free(self, address: int) -> None:
        """Give memory of the device back."""
        ...

    def allocate_host(self, size: int) -> Array:
        """(size,) uint8 on the host, pinned, so that copies need no detour and block nobody."""
        ...

    def free_host(self, array: Array) -> None:
        """Give pinned memory back; no view of it may be used afterwards."""
        ...

    def upload(self, address: int, array: Array, stream: int) -> None:
        """Copy a contiguous pinned array to the device, in the order of the stream."""
        ...

    def download(self, array: Array, address: int, stream: int) -> None:
        """Copy from the device into a contiguous pinned array, in the order of the stream."""
        ...

    def copy(self, to: int, source: int, size: int, stream: int) -> None:
        """Copy within the device, in the order of the stream."""
        ...

    def capture(self, stream: int, enqueue: Callable[[], None]) -> Handle:
        """What `enqueue` puts on the stream, as a graph that is launched with one call. Nothing of it runs now."""
        ...

    def launch(self, graph: Handle, stream: int) -> None:
        """Put everything in the graph on the stream."""
        ...

    def close_graph(self, graph: Handle) -> None:
        """Close it."""
        ...

    def call(self, name: str, *args: Any) -> Any:
        """The result of another call of the driver, by its name there; EngineError where it fails."""
        ...

    def structure(self, name: str) -> Any:
        """An empty structure of the driver, by its name there."""
        ...

    def close(self) -> None:
        """Let go of the device."""
        ...


def open_device(number: int, *, driver: Any = None) -> Driver:
    """CUDA device `number`; EngineError that says why where there is none."""
    return Driver(driver or import_driver(), number)
