"""The upload node: copies each frame to a device once, for all models there. Knows no device and no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.base import ImageUpload
from graph.node import Contract, Node
from nodes.messages import DeviceFrame, Frame


class Upload(Node):
    """Gives frames that also lie on a device, so that detector and depth share one copy of uint8.

    `uploader` does it; None hands frames on as they are, so that the same graph runs without a GPU.
    """

    def __init__(self, uploader: ImageUpload | None = None) -> None:
        self.uploader = uploader

    @classmethod
    def expects(cls, params: Mapping[str, Any]) -> Mapping[str, Contract]:
        """An image."""
        return {"image": {"channels": frozenset({1, 3}), "dtype": "uint8"}}

    @classmethod
    def emits(cls, params: Mapping[str, Any], inputs: Mapping[str, Contract]) -> Mapping[str, Contract]:
        """The image's own contract."""
        return {"": dict(inputs.get("image", {}))}

    def setup(self) -> None:
        """Acquire the device."""
        if self.uploader is not None:
            self.uploader.open()

    def process(self, image: Frame) -> Frame:
        """The frame, whose copy to the device has begun."""
        if self.uploader is None:
            return image
        return DeviceFrame(image.pixels, image.upright, image.camera, self.uploader.upload(image.pixels))

    def close(self) -> None:
        """Release the device; frames under way can be used on the host only."""
        if self.uploader is not None:
            self.uploader.close()
