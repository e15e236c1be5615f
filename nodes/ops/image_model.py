"""A loaded model that takes one image: what detector and depth share. Knows the interface of engines, and no engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.base import Engine, EngineError, Model, ModelSpec, Weights
from nodes.messages import Frame

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
        self._dtype = self.model.inputs[0].dtype
        self._facts: dict[str, str] = {}
        self._read_placement()

    def __call__(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """First output, float32, for `images` (n, 3, h, w); EngineError where its values are not finite."""
        output = self.model(images.astype(self._dtype, copy=False))[0].astype(np.float32, copy=False)
        if self.model.placement is not self._placement:
            self._read_placement()
        if len(images) > 1 and len(output) != len(images):
            raise EngineError(f"{self.name}: {len(images)} images gave an output {output.shape}; expected one for each")
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


def _fits(takes: tuple[int | None, ...], shape: tuple[int | None, ...]) -> bool:
    return len(takes) == len(shape) and all(s is None or t in (None, s) for t, s in zip(takes, shape, strict=True))
