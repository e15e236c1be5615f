"""The interface of all engines: `Engine.load(ModelSpec) -> Model`. A model in hand works; there is no `is_loaded`."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os.path import expanduser  # unlike Path.expanduser, it leaves "~nobody" as it is
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
SHIPPED, RANDOM = "shipped:", "random"


class EngineError(RuntimeError):
    """A model cannot be loaded, or not where it was asked to be. The message names model, cause and remedy."""

    is_for_people = True


class OutOfMemoryError(EngineError):
    """The device has too little memory for a model or a call. The message names model, batch and what was free."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named input or output of a model. A dimension of None is free."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model's file is: a path (see `located`), or an official address with the sha256 of what comes from it.

    `random` stands for no file: an architecture with random weights, whose speed is that of the real ones.
    """

    path: str | None = None
    url: str | None = None
    sha256: str | None = None
    random: bool = False

    @classmethod
    def parse(cls, value: Any) -> Weights:
        """`value` as it stands in a YAML file: a path, "random", {path}, {url, sha256} or None; else ValueError."""
        problems = list(_form_problems(value))
        if problems:
            raise ValueError("; ".join(problems))
        if isinstance(value, Mapping):
            path, url, sha256 = (None if value.get(k) is None else str(value[k]) for k in ("path", "url", "sha256"))
            return cls(path, url, sha256)
        return cls(random=True) if value == RANDOM else cls(path=value)

    @classmethod
    def problems(cls, value: Any) -> Iterable[str]:
        """Every mistake in `value` that shows without a download, each "what is wrong; what to do", without a key."""
        problems = list(_form_problems(value))
        if problems:
            return problems
        weights = cls.parse(value)
        if weights.path is not None:
            return list(_path_problems(located(weights.path)))
        return [] if weights.url or weights.random else ["no weights given; set it to the path of a model file"]


def located(path: str) -> Path:
    """The file that `path` means: "shipped:NAME" is one that comes with this software, ~ is the user's folder."""
    if path.startswith(SHIPPED):
        return Path(__file__).parent / "shipped" / path.removeprefix(SHIPPED)
    return Path(expanduser(path))


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a node wants loaded."""

    name: str
    weights: Weights
    inputs: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    """Shapes that the node will feed, by input name; "" stands for the sole input. None = any."""
    batch_sizes: tuple[int, ...] = (1,)
    """Batch sizes that the node will feed where the first dimension is free: each of them is warmed up."""
    architecture: str | None = None
    """Name of the network (see `engines.architectures`) that PyTorch weights, or random ones, belong to."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model runs, as read back from the runtime, beside what was asked for."""

    backend: str
    requested_device: str
    device: str
    provider: str
    precision: str
    reason: str
    """Why it runs there: "as requested", or what made it fall back."""
    path: Path | None = None
    """The file that the runtime loaded: the weights themselves, or an artifact made from them."""
    step: int = 0
    """How many steps of a ladder refused the model before this one took it."""
    refused: str = ""
    """Which those were, and why, in a few words; empty where there were none."""

    @property
    def fallback(self) -> bool:
        """Whether the model runs somewhere else than where it was asked to."""
        return self.device != self.requested_device


class Model(Protocol):
    """A loaded, warmed-up model."""

    @property
    def inputs(self) -> Sequence[Tensor]:
        """What it takes, in the order of a call."""
        ...

    @property
    def outputs(self) -> Sequence[Tensor]:
        """What it gives."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the model file says of itself, such as {"names": "{0: 'person', ...}"}."""
        ...

    @property
    def placement(self) -> Placement:
        """Where it runs now."""
        ...

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """Run once. Inputs in the order of `inputs`, batched; a C-contiguous array of the right type is not copied."""
        ...

    def close(self) -> None:
        """Release the model and its memory."""
        ...


class DeviceArray(Protocol):
    """An array in the memory of some device, as its own library has it: a torch tensor, an OrtValue, a numpy array."""

    def __dlpack__(self) -> Any:
        """A capsule after the DLPack standard, which others read without a copy."""
        ...

    def __dlpack_device__(self) -> tuple[int, int]:
        """Kind and number of the device: (1, 0) is the host, (2, N) CUDA device N."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Memory of a device that a model reads one of its inputs from, in the order of a stream."""

    device: str
    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    stream: int
    """The driver's handle of the stream that the model runs on."""

    def item(self, i: int) -> Place:
        """The memory of the `i`th of a batch."""
        shape = (1, *self.shape[1:])
        return replace(self, address=self.address + i * math.prod(shape) * self.dtype.itemsize, shape=shape)


@dataclass(frozen=True, slots=True)
class Fit:
    """How an image (h, w, 3) RGB or (h, w) gray, uint8, becomes the input (1, 3, h, w) of a model.

    It is resized to `picture_wh` (bilinear) and lies there at `at_xy`; around it is gray of the value `fill`. A value v
    becomes v * scale + offset, per channel of the input, which are red, green, blue, or blue first.
    """

    picture_wh: tuple[int, int]
    at_xy: tuple[int, int]
    is_bgr: bool
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    fill: int


class DeviceImage(DeviceArray, Protocol):
    """An image (h, w, 3) or (h, w) uint8 that lies on a device, and knows when it is whole there."""

    device: str
    """Such as "cuda:0"."""

    def write(self, place: Place, fit: Fit) -> None:
        """Put it into the input of a model, in the order of the model's stream. The host does not wait."""
        ...


class LentImage(Protocol):
    """Where an image on a device lies that models in other processes may read; plain values."""

    def open(self, pixels: Array) -> DeviceImage:
        """The image, in another process; `pixels` are the same on the host."""
        ...


@runtime_checkable
class Lender(Protocol):
    """An image that models in other processes may read."""

    def lend(self) -> LentImage:
        """What another process needs to find it, as long as it is kept here; EngineError where none can read it."""
        ...


class ImageUpload(Protocol):
    """Takes images to a device. Used by one thread."""

    def open(self) -> None:
        """Acquire the device; EngineError where it cannot be used."""
        ...

    def upload(self, pixels: Array) -> DeviceImage | None:
        """Begin the copy of (h, w, 3) or (h, w) uint8 and return at once; `pixels` may be written again.

        None while images that are still held take all the memory that there is for them.
        """
        ...

    def close(self) -> None:
        """Release everything; images that are still held cannot be used any more."""
        ...


class FedOnDevice(Model, Protocol):
    """A model whose inputs may be put where it reads them from, on its device."""

    def places(self, *shapes: tuple[int, ...]) -> tuple[Place, ...] | None:
        """Where inputs of these shapes go, written anew for each run; None where this model cannot say."""
        ...

    def run_placed(self, *shapes: tuple[int, ...]) -> tuple[Array, ...]:
        """Run once on what lies in the places for these shapes; outputs on the host, as of any call."""
        ...


class StaysOnDevice(Model, Protocol):
    """A model that also takes and gives arrays which lie in the memory of its device, without a copy to the host."""

    def on_device(self, *inputs: DeviceArray) -> tuple[DeviceArray, ...]:
        """Run once. `inputs` fit (this is not checked) and lie on the model's device, and so do the outputs."""
        ...


class Submits(Model, Protocol):
    """A model that runs several calls beside each other."""

    def submit(self, *inputs: Array) -> Callable[[], tuple[Array, ...]]:
        """Begin a call and return at once; calling what comes back waits for its outputs. `inputs` stay untouched."""
        ...


class Engine(Protocol):
    """Loads models onto one kind of runtime and device."""

    def load(self, spec: ModelSpec) -> Model:
        """Load, verify and warm up; raise `EngineError` when anything is not as asked."""
        ...


class Exporter(Engine, Protocol):
    """An engine that can make what it loads beforehand."""

    def prepare(
        self,
        spec: ModelSpec,
        *,
        precision: Precision | None = None,
        samples: Sequence[Array] = (),
        origin: str = "",
        told: Callable[[int], None] = ...,
    ) -> Path:
        """Make and keep the file that `load` of `spec` reads, in `precision` (None = the engine's own); its path.

        int8 takes its ranges from `samples`, inputs as the node feeds them, which come from `origin`; `told(n)` is
        called when n of them have been seen. Raises `EngineError`.
        """
        ...


def _form_problems(value: Any) -> Iterator[str]:
    """What is wrong with the form of `value`, whatever is on the disk."""
    if value is None:
        return
    if isinstance(value, str):
        if "://" in value:
            yield f"{value!r} is an address without its sha256; write {{url: {value}, sha256: ...}}"
    elif isinstance(value, Mapping):
        yield from _mapping_problems(value)
    else:
        yield f"{value!r} is a {type(value).__name__}; expected the path of a model file, or {{url: ..., sha256: ...}}"


def _mapping_problems(value: Mapping[str, Any]) -> Iterator[str]:
    unknown = sorted(str(key) for key in value if key not in ("path", "url", "sha256"))
    if unknown:
        yield f"unknown key {', '.join(map(repr, unknown))}; expected path, or url and sha256"
    path, url, sha256 = value.get("path"), value.get("url"), value.get("sha256")
    if path is not None and url is not None:
        yield "both path and url are given; keep one of them"
    if url is not None:
        yield from _url_problems(str(url), sha256)
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", str(sha256)):
        yield f"sha256 is {str(sha256)!r}; expected 64 hexadecimal digits, as `sha256sum FILE` prints them"


def _url_problems(url: str, sha256: Any) -> Iterator[str]:
    if urlsplit(url).scheme not in ("http", "https", "file"):
        yield f"{url!r} does not begin with https://, http:// or file://; give such an address, or a path"
    if sha256 is None:
        yield f"{url!r} is given without sha256; add that of the official file, so that no other one is ever loaded"


def _path_problems(path: Path) -> Iterator[str]:
    if path.is_file():
        return
    if path.is_dir():
        yield f"'{path}' is a folder; expected a model file"
    elif not path.parent.is_dir():
        yield f"there is no file '{path}', and no folder '{path.parent}' either; expected the path of a model file"
    else:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
        close = difflib.get_close_matches(path.name, names, n=1)
        hint = f"did you mean '{path.parent / close[0]}'?" if close else "expected the path of a model file"
        yield f"there is no file '{path}'; {hint}"
