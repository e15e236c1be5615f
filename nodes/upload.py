"""The upload node: copies each frame to a device once, for all models there. Knows no device and no model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from engines.base import ImageUpload
from graph.node import Contract, Node
from nodes.messages import DeviceFrame, Frame

log = logging.getLogger(__name__)


class Upload(Node):
    """Gives frames that also lie on a device, so that detector and depth share one copy of uint8.

    `uploader` does it; None hands frames on as they are, so that the same graph runs without a GPU. So goes a frame for
    which there is no room: models take it from the host then.
    """

    def __init__(self, uploader: ImageUpload | None = None) -> None:
        self.uploader = uploader
        self.without_room = 0
        """How many frames were handed on as they are, since those before them take all the room."""

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
        there = self.uploader.upload(image.pixels)
        if there is None:
            self._tell_no_room()
            return image
        return DeviceFrame(image.pixels, image.upright, image.camera, there)

    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """See `Node.facts`."""
        return {"figures": {"frames without room": str(self.without_room)}} if self.without_room else {}

    def _tell_no_room(self) -> None:
        self.without_room += 1
        if self.without_room == 1:
            log.warning(
                "frames that are still held take all buffers on the device: this one goes on from the host; "
                "let sinks listen to the source instead, set its in_flight, or raise `most` of the uploader"
            )

    def close(self) -> None:
        """Release the device; frames under way can be used on the host only."""
        if self.uploader is not None:
            self.uploader.close()
