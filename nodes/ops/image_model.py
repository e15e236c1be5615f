"""A loaded model that takes one image: what detector and depth share. Knows the interface of engines, and no engine."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.base import DeviceImage, Engine, EngineError, Fit, Model, ModelSpec, OutOfMemoryError, Weights
from nodes.messages import DeviceFrame, Frame
from nodes.ops.letterbox import Anchor, BatchTensor, ImageTensor, Letterbox

log = logging.getLogger(__name__)

SAMPLE = 101
"""Every so many values of an output are looked at; prime, so that it walks through all rows and columns."""


class ImageModel:
    """A model with one input (n, 3, h, w), n up to `batch_max`."""

    def __init__(
        self,
        engine: Engine,
        *,
        name: str,
        weights: Any,
        size_wh: tuple[int, int],
        architecture: str | None = None,
        batch_max: int = 1,
    ) -> None:
        shape = (1 if batch_max == 1 else None, 3, size_wh[1], size_wh[0])
        self.name = name
        sizes = tuple(range(1, batch_max + 1))
        spec = ModelSpec(name, Weights.parse(weights), {"": shape}, sizes, architecture=architecture)
        self.model: Model = engine.load(spec)
        # Read back: a wrong size must fail here, with any engine, and not look like a model that sees nothing.
        takes = [tuple(i.shape) for i in self.model.inputs]
        if len(takes) != 1 or not _fits(takes[0], shape):
            self.model.close()
            raise EngineError(f"{name}: the model takes {takes}; expected one input {shape}; set size_wh to its size")
        if batch_max > 1 and (fixed := takes[0][0]) is not None:
            self.model.close()
            raise EngineError(
                f"{name}: the model takes {fixed} at a time, and batch.max is {batch_max}; export it with a free batch "
                "size, or remove batch from the node: one call after the other would only pretend to be a batch"
            )
        self._dtype, self._shape, self._has_told = self.model.inputs[0].dtype, shape, False
        self._facts: dict[str, str] = {}
        self._read_placement()

    def __call__(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """First output, float32, for `images` (n, 3, h, w); EngineError where its values are not finite."""
        return self._checked(self.model(images.astype(self._dtype, copy=False))[0], len(images))

    def see(
        self, frames: Sequence[Frame], tensor: BatchTensor, *, anchor: Anchor | None
    ) -> tuple[npt.NDArray[np.float32], list[Letterbox]]:
        """First output for frames, and how each lay in the input: letterboxed, or with `anchor` None stretched over it.

        Frames that lie on the model's device are put into the input there; any other ones by way of `tensor`.
        """
        slots = tensor.images[: len(frames)]
        if all(isinstance(frame, DeviceFrame) for frame in frames):
            fits = [slot.fit(f.size_wh, anchor=anchor) for slot, f in zip(slots, frames, strict=True)]
            output = self._from_device([getattr(f, "image", None) for f in frames], [fit for _, fit in fits])
            if output is not None:
                return self._checked(output, len(frames)), [box for box, _ in fits]
        boxes = [_written(slot, f.pixels, anchor) for slot, f in zip(slots, frames, strict=True)]
        return self(tensor.first(len(frames))), boxes

    def _from_device(self, images: Sequence[DeviceImage | None], fits: Sequence[Fit]) -> npt.NDArray[Any] | None:
        """First output for images on the device; None where the model must have them from the host."""
        model: Any = self.model
        shape = (len(images), *self._shape[1:])
        places = model.places(shape) if hasattr(model, "places") else None
        there = [i for i in images if i is not None and places is not None and places[0].device == i.device]
        if places is None or len(there) < len(images):
            self._tell_detour(images[0])
            return None
        try:
            for i, (image, fit) in enumerate(zip(there, fits, strict=True)):
                image.write(places[0].item(i), fit)
            output: npt.NDArray[Any] = model.run_placed(shape)[0]
        except OutOfMemoryError:
            return None  # a ladder goes down a step in the call that follows; other models say it again there
        return output

    def _tell_detour(self, image: DeviceImage | None) -> None:
        if not self._has_told:
            self._has_told = True
            log.warning(
                "%s: frames lie on %s, but the model on %s takes them from the host: their upload is for nothing; "
                "leave out nodes.upload, or move the model to a cuda worker of that device",
                *(self.name, getattr(image, "device", "no device"), self.model.placement.device),
            )

    def _checked(self, output: npt.NDArray[Any], count: int) -> npt.NDArray[np.float32]:
        output = output.astype(np.float32, copy=False)
        if self.model.placement is not self._placement:
            self._read_placement()
        if count > 1 and len(output) != count:
            raise EngineError(f"{self.name}: {count} images gave an output {output.shape}; expected one for each")
        if not np.isfinite(output.ravel()[::SAMPLE]).all():
            placement = self.model.placement
            raise EngineError(
                f"{self.name} gives values that are not finite on {placement.device} at {placement.precision}; "
                "use precision fp32, or a model that was checked at this precision"
            )
        return output

    def facts(self) -> Mapping[str, str]:
        """Where the model runs, as read back from the runtime; it stays true when a ladder goes down a step."""
        return self._facts

    def _read_placement(self) -> None:
        self._placement = placement = self.model.placement
        self._facts |= {
            "name": self.name,
            "backend": placement.backend,
            "requested_device": placement.requested_device,
            "device": placement.device,
            "provider": placement.provider,
            "precision": placement.precision,
            "reason": placement.reason,
            "fallback": str(placement.fallback).lower(),
            "step": str(placement.step),
            "refused": placement.refused,
        }

    def close(self) -> None:
        """Release the model."""
        self.model.close()


def require_upright(name: str, image: Frame) -> None:
    """ValueError where `image` lies on its side, on which no model was trained."""
    if not image.upright:
        raise ValueError(f"{name}: the frame lies on its side; put a nodes.rectify.Rectify with rotate_deg before it")


def _written(tensor: ImageTensor, pixels: npt.NDArray[np.uint8], anchor: Anchor | None) -> Letterbox:
    if anchor is None:
        tensor.stretch(pixels)
        return Letterbox(1.0, (0, 0))
    return tensor.letterbox(pixels, anchor=anchor)


def _fits(takes: tuple[int | None, ...], shape: tuple[int | None, ...]) -> bool:
    return len(takes) == len(shape) and all(s is None or t in (None, s) for t, s in zip(takes, shape, strict=True))
