"""The messages that travel between nodes: immutable, checked on creation, arrays read-only. Knows no vendor.

Arrays are taken over, not copied, and made read-only: whoever needs to change one makes a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engines.base import DeviceImage, Lender, LentImage
from graph.transport import lending
from nodes.ops.camera import Camera

Priority = Literal[1, 2, 3]
"""1 urgent (interrupts), 2 normal, 3 may be left out."""


def _array(owner: str, value: Any, dtype: type[np.generic], shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    """`value` as a read-only array, or a ValueError that names `owner`, what came and what was expected."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{owner} is a {type(value).__name__}; expected a numpy array")
    fits = value.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, value.shape, strict=True))
    if value.dtype != dtype or not fits:
        want = ", ".join("n" if s is None else str(s) for s in shape)
        raise ValueError(f"{owner} is {value.dtype} {value.shape}; expected {np.dtype(dtype)} ({want})")
    if value.flags.writeable:
        value = value.view()
        value.flags.writeable = False
    array: npt.NDArray[Any] = value
    return array


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image of one camera: `pixels` (h, w, 3) uint8 RGB, or (h, w) uint8 gray."""

    pixels: npt.NDArray[np.uint8]
    upright: bool = True
    """False while the camera's own mounting still turns the picture on its side."""
    camera: Camera | None = None
    """Intrinsics, where known."""

    def __post_init__(self) -> None:
        shape = (None, None) if getattr(self.pixels, "ndim", 0) == 2 else (None, None, 3)
        object.__setattr__(self, "pixels", _array("Frame.pixels", self.pixels, np.uint8, shape))
        if self.camera is not None and tuple(self.camera.size_wh) != self.size_wh:
            raise ValueError(f"Frame.camera is for {self.camera.size_wh} pixels, the image has {self.size_wh}")

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def colour(self) -> Literal["rgb", "gray"]:
        """Colour order of the pixels."""
        return "gray" if self.pixels.ndim == 2 else "rgb"

    @classmethod
    def size_bytes(cls, contract: Mapping[str, Any]) -> int | None:
        """What the pixels take, where the contract tells their size."""
        if "size_wh" not in contract:
            return None
        width, height = contract["size_wh"]
        return int(width * height * contract.get("channels", 3))

    def contract(self) -> dict[str, Any]:
        """What the plan compares, read from the image itself."""
        channels = 1 if self.pixels.ndim == 2 else 3
        return {
            "size_wh": self.size_wh,
            "channels": channels,
            "dtype": "uint8",
            "colour": self.colour,
            "upright": self.upright,
        }


@dataclass(frozen=True, slots=True, eq=False)
class DeviceFrame(Frame):
    """A frame whose pixels lie on a device as well, uploaded once for all models there. On the host it is any frame."""

    image: DeviceImage | None = None
    """The same pixels; never None."""

    def __post_init__(self) -> None:
        Frame.__post_init__(self)
        if self.image is None:
            raise ValueError("DeviceFrame.image is None; a frame that lies on no device is a Frame")

    def on_host(self) -> Frame:
        """The frame without what lies on the device."""
        return Frame(self.pixels, self.upright, self.camera)

    def __reduce__(self) -> tuple[Callable[..., Frame], tuple[Any, ...]]:
        # Memory of a device means nothing to another process, unless it is lent; the pixels do.
        plain = (self.pixels, self.upright, self.camera)
        if isinstance(self.image, Lender) and lending.keep(self.image, self.pixels):
            return _borrowed, (*plain, self.image.lend())
        return Frame, plain


def _borrowed(pixels: npt.NDArray[np.uint8], upright: bool, camera: Camera | None, lent: LentImage) -> DeviceFrame:
    return DeviceFrame(pixels, upright, camera, lent.open(pixels))


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Objects found in one frame, as parallel arrays; n may be 0."""

    xyxy: npt.NDArray[np.float32]
    """(n, 4) float32: left, top, right, bottom, pixels of the source frame."""
    conf: npt.NDArray[np.float32]
    """(n,) float32 in 0..1."""
    class_id: npt.NDArray[np.int32]
    """(n,) int32, index into `class_names`."""
    class_names: tuple[str, ...]
    size_wh: tuple[int, int]
    """Size of the frame that the boxes belong to."""
    camera: Camera | None = None

    def __post_init__(self) -> None:
        xyxy = _array("Detections.xyxy", self.xyxy, np.float32, (None, 4))
        object.__setattr__(self, "xyxy", xyxy)
        object.__setattr__(self, "conf", _array("Detections.conf", self.conf, np.float32, (len(xyxy),)))
        object.__setattr__(self, "class_id", _array("Detections.class_id", self.class_id, np.int32, (len(xyxy),)))
        if len(xyxy) and not (self.class_id.min() >= 0 and self.class_id.max() < len(self.class_names)):
            raise ValueError(
                f"Detections.class_id runs from {self.class_id.min()} to {self.class_id.max()}, "
                f"but there are {len(self.class_names)} class names"
            )

    def __len__(self) -> int:
        return len(self.xyxy)

    def name(self, i: int) -> str:
        """Class name of object `i`."""
        return self.class_names[int(self.class_id[i])]


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """Depth of one frame, at the model's own resolution (h, w); it covers the whole frame."""

    values: npt.NDArray[np.float32]
    """(h, w) float32: metres, or relative without unit, larger = nearer. NaN or 0 metres = unknown."""
    kind: Literal["metres", "relative"]
    size_wh: tuple[int, int]
    """Size of the frame that it describes."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _array("DepthMap.values", self.values, np.float32, (None, None)))
        if self.kind not in ("metres", "relative"):
            raise ValueError(f"DepthMap.kind is {self.kind!r}; expected 'metres' or 'relative'")


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """Objects followed over time, as parallel arrays; n may be 0."""

    detections: Detections
    track_id: npt.NDArray[np.int32]
    """(n,) int32, stable while the object is followed."""
    age: npt.NDArray[np.int32]
    """(n,) int32, frames since the track began."""

    def __post_init__(self) -> None:
        n = len(self.detections)
        object.__setattr__(self, "track_id", _array("Tracks.track_id", self.track_id, np.int32, (n,)))
        object.__setattr__(self, "age", _array("Tracks.age", self.age, np.int32, (n,)))


@dataclass(frozen=True, slots=True, eq=False)
class Imu:
    """Samples of the inertial unit since the frame before, oldest first; n may be 0. Axes as of the RGB camera."""

    time_ns: npt.NDArray[np.int64]
    """(n,) int64, capture times on the clock of the frames."""
    accel: npt.NDArray[np.float32]
    """(n, 3) float32 m/s^2, as an accelerometer feels it: at rest 9.81 upwards."""
    gyro: npt.NDArray[np.float32]
    """(n, 3) float32 rad/s."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_ns", _array("Imu.time_ns", self.time_ns, np.int64, (None,)))
        for name in ("accel", "gyro"):
            array = _array(f"Imu.{name}", getattr(self, name), np.float32, (len(self.time_ns), 3))
            object.__setattr__(self, name, array)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What really is in one frame, known because the frame was made: parallel arrays, one row an object; n may be 0."""

    detections: Detections
    """Boxes around what can be seen of each object; `conf` is 1."""
    visible: npt.NDArray[np.float32]
    """(n,) float32, 0..1: the part of the object's pixels in the picture that nothing hides."""
    distance_m: npt.NDArray[np.float32]
    """(n,) float32, along the ground from the camera to the near side of what can be seen of it."""
    bearing_deg: npt.NDArray[np.float32]
    """(n,) float32, of the middle of what can be seen, from the camera's heading; positive right."""
    velocity: npt.NDArray[np.float32]
    """(n, 3) float32 m/s, relative to the wearer; x right, y down, z along the heading."""
    ttc_s: npt.NDArray[np.float32]
    """(n,) float32 seconds until it touches the wearer if both go on as they do; inf where they miss each other."""
    track_id: npt.NDArray[np.int32]
    """(n,) int32, the same for the same object as long as the scene lasts."""
    position: npt.NDArray[np.float64]
    """(3,) float64 metres: the camera in the world; x right of the street's axis, y along it, z up."""
    rotation: npt.NDArray[np.float64]
    """(3, 3) float64: turns camera coordinates into world coordinates."""
    speed_mps: float = 0.0
    """The wearer's own, along the ground."""

    def __post_init__(self) -> None:
        n = len(self.detections)
        for name in ("visible", "distance_m", "bearing_deg", "ttc_s"):
            object.__setattr__(self, name, _array(f"Truth.{name}", getattr(self, name), np.float32, (n,)))
        object.__setattr__(self, "velocity", _array("Truth.velocity", self.velocity, np.float32, (n, 3)))
        object.__setattr__(self, "track_id", _array("Truth.track_id", self.track_id, np.int32, (n,)))
        object.__setattr__(self, "position", _array("Truth.position", self.position, np.float64, (3,)))
        object.__setattr__(self, "rotation", _array("Truth.rotation", self.rotation, np.float64, (3, 3)))

    def __len__(self) -> int:
        return len(self.detections)


@dataclass(frozen=True, slots=True)
class Hazard:
    """One thing that the wearer may need to hear of."""

    name: str
    """Class name, in English, as the model has it."""
    bearing_deg: float
    """Of the middle of the object: 0 straight ahead, positive right."""
    xyxy: tuple[float, float, float, float]
    conf: float
    priority: Priority = 3
    distance_m: float | None = None
    """None where only relative depth, or none, is known."""
    nearness: float | None = None
    """Relative depth inside the box, 0 (far) .. 1 (nearest of the frame), where there is no distance."""
    ttc_s: float = float("inf")
    track_id: int | None = None

    def __post_init__(self) -> None:
        if self.priority not in (1, 2, 3):
            raise ValueError(f"Hazard.priority is {self.priority!r}; expected 1 (urgent), 2 or 3")
        if self.distance_m is not None and not (isfinite(self.distance_m) and self.distance_m >= 0):
            raise ValueError(f"Hazard.distance_m is {self.distance_m}; expected metres, or None where unknown")


@dataclass(frozen=True, slots=True)
class Hazards:
    """Everything of one frame that the wearer may need to hear of, most urgent first; may be empty."""

    items: tuple[Hazard, ...] = ()
    size_wh: tuple[int, int] = (0, 0)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something to say."""

    text: str
    priority: Priority = 3
    language: str = "en"
    key: str = ""
    """What it is about: a newer utterance with the same key replaces one that still waits."""
    max_age_ms: float = 2000.0
    """Older than this, counted from the capture, it is not spoken any more."""
    bearing_deg: float = 0.0
    why: str = ""
    """The rule and the measurements behind it, for people who ask why this was said."""

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("Utterance.text is empty; expected something to say")
        if self.priority not in (1, 2, 3):
            raise ValueError(f"Utterance.priority is {self.priority!r}; expected 1 (urgent), 2 or 3")
