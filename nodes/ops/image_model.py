"""A loaded model that takes one image: what detector and depth share. Knows the interface of engines, and no engine."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.base import DeviceImage, Engine, EngineError, Fit, Model, ModelSpec, OutOfMemoryError, Weights
from nodes.messages import DeviceFrame, Frame
from nodes.ops.letterbox import Anchor, ImageTensor, Letterbox

log = logging.getLogger(__name__)

SAMPLE = 101
"""Every so many values of an output are looked at; prime, so that it walks through all rows and columns."""


class ImageModel:
    """A model with one input (1, 3, h, w)."""

    def __init__(
        self, engine: Engine, *, name: str, weights: Any, size_wh: tuple[int, int], architecture: str | None = None
    ) -> None:
        shape = (1, 3, size_wh[1], size_wh[0])
        self.name = name
        spec = ModelSpec(name, Weights.parse(weights), {"": shape}, architecture=architecture)
        self.model: Model = engine.load(spec)
        # Read back: a wrong size must fail here, with any engine, and not look like a model that sees nothing.
        takes = [tuple(i.shape) for i in self.model.inputs]
        if len(takes) != 1 or not _fits(takes[0], shape):
            self.model.close()
            raise EngineError(f"{name}: the model takes {takes}; expected one input {shape}; set size_wh to its size")
        self._dtype, self._shape, self._has_told = self.model.inputs[0].dtype, shape, False
        self._facts: dict[str, str] = {}
        self._read_placement()

    def __call__(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """First output, float32, for `image` (1, 3, h, w); EngineError where its values are not finite."""
        return self._checked(self.model(image.astype(self._dtype, copy=False))[0])

    def see(
        self, frame: Frame, tensor: ImageTensor, *, anchor: Anchor | None
    ) -> tuple[npt.NDArray[np.float32], Letterbox]:
        """First output for a frame, and how it lay in the input: letterboxed, or with `anchor` None stretched over it.

        A frame that lies on the model's device is put into the input there; any other one by way of `tensor`.
        """
        if isinstance(frame, DeviceFrame):
            box, fit = tensor.fit(frame.size_wh, anchor=anchor)
            output = self._from_device(frame.image, fit)
            if output is not None:
                return self._checked(output), box
        if anchor is None:
            tensor.stretch(frame.pixels)
            return self(tensor.values), Letterbox(1.0, (0, 0))
        box = tensor.letterbox(frame.pixels, anchor=anchor)
        return self(tensor.values), box

    def _from_device(self, image: DeviceImage | None, fit: Fit) -> npt.NDArray[Any] | None:
        """First output for an image on the device; None where the model must have it from the host."""
        model: Any = self.model
        places = model.places(self._shape) if hasattr(model, "places") else None
        if places is None or image is None or places[0].device != image.device:
            self._tell_detour(image)
            return None
        try:
            image.write(places[0], fit)
            output: npt.NDArray[Any] = model.run_placed(self._shape)[0]
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

    def _checked(self, output: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        output = output.astype(np.float32, copy=False)
        if self.model.placement is not self._placement:
            self._read_placement()
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


def _fits(takes: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    return len(takes) == len(shape) and all(t in (None, s) for t, s in zip(takes, shape, strict=True))
