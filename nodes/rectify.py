"""The rectify node: turns a frame upright, and where asked to, undistorts and resizes it. Knows cameras, no models."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from graph.node import Contract, Node
from nodes.messages import Frame
from nodes.ops import checks
from nodes.ops.camera import Camera, Pinhole
from nodes.ops.turned import Degrees, Resized, Turned, scale_pixels, turn_pixels, turned_wh

logger = logging.getLogger(__name__)

TURNS = (0, 90, 180, 270)
CODES: Mapping[int, int] = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
MAX_MAPS = 8
"""Maps that are kept: one for each camera that shares this node. One for 1408x1408 pixels takes 12 MB."""


class Rectified(NamedTuple):
    """How the pixels of one camera are moved: fixed-point maps of `cv2.remap`, and the camera of the result."""

    xy: npt.NDArray[np.int16]
    fraction: npt.NDArray[np.uint16]
    camera: Camera | None


class Rectify(Node):
    """Makes frames upright: turned clockwise by `rotate_deg`, then undistorted to a pinhole, then resized.

    `hfov_deg` is the horizontal field of view of that pinhole; None = the lens is left as it is. `size_wh` is the size
    of the result, None = as it comes. The lens is known from the frame, or from `camera` where the frame brings none.
    All of it is one remapping; the map is computed at a camera's first frame (one to two seconds for 1408x1408 pixels).
    What the lens does not see is black.
    """

    def __init__(
        self,
        rotate_deg: Degrees = 0,
        *,
        size_wh: Sequence[int] | None = None,
        hfov_deg: float | None = None,
        camera: Camera | None = None,
    ) -> None:
        self.rotate_deg, self.hfov_deg, self.camera = rotate_deg, hfov_deg, camera
        self.size_wh = None if size_wh is None else (size_wh[0], size_wh[1])
        self.maps: dict[tuple[Camera | None, tuple[int, int]], Rectified] = {}

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        yield from checks.word_problems(params, "rotate_deg", TURNS)
        yield from checks.size_problems(params, optional=True)
        hfov = params.get("hfov_deg")
        if hfov is not None and not (checks.is_number(hfov) and 0 < hfov < 180):
            yield f"hfov_deg: is {hfov!r}; expected degrees, more than 0 and less than 180, or null to keep the lens"

    @classmethod
    def expects(cls, params: Mapping[str, Any]) -> Mapping[str, Contract]:
        """An image; without a turn, one that is upright already."""
        contract = {"channels": frozenset({1, 3}), "dtype": "uint8"}
        return {"image": contract if params.get("rotate_deg", 0) else contract | {"upright": True}}

    @classmethod
    def emits(cls, params: Mapping[str, Any], inputs: Mapping[str, Contract]) -> Mapping[str, Contract]:
        """The image's own contract, but upright and of the new size."""
        image = dict(inputs.get("image", {}))
        if checks.is_list(params.get("size_wh")):
            image["size_wh"] = tuple(params["size_wh"])
        elif "size_wh" in image:
            image["size_wh"] = turned_wh(image["size_wh"], params.get("rotate_deg", 0))
        return {"": image | {"upright": True}}

    def process(self, image: Frame) -> Frame:
        """The upright frame, with the camera that it now seems to be taken by."""
        if not (image.upright or self.rotate_deg):
            raise ValueError(
                "the frame lies on its side and rotate_deg is 0; set rotate_deg, 90 for Aria's first glasses"
            )
        camera = image.camera or self.camera
        if camera is not None and camera.size_wh != image.size_wh:
            raise ValueError(
                f"camera is for {camera.size_wh} pixels, the frame has {image.size_wh}; give its own camera"
            )
        if self.hfov_deg is None and self.size_wh in (None, turned_wh(image.size_wh, self.rotate_deg)):
            return self._turn(image, camera)
        key = (camera, image.size_wh)
        if key not in self.maps:
            if len(self.maps) >= MAX_MAPS:
                self.maps.clear()
            self.maps[key] = self._rectified(camera, image.size_wh)
        xy, fraction, new_camera = self.maps[key]
        # A new array each time: frames travel on, and remapping into a kept one is not faster.
        out = self.loan((*xy.shape[:2], *image.pixels.shape[2:]))
        pixels = cv2.remap(image.pixels, xy, fraction, cv2.INTER_LINEAR, dst=out, borderMode=cv2.BORDER_CONSTANT)
        return Frame(pixels.astype(np.uint8, copy=False), upright=True, camera=new_camera)

    def _turn(self, image: Frame, camera: Camera | None) -> Frame:
        if not self.rotate_deg:
            return Frame(image.pixels, upright=True, camera=camera)
        pixels = cv2.rotate(image.pixels, CODES[self.rotate_deg]).astype(np.uint8, copy=False)
        return Frame(pixels, upright=True, camera=camera and Turned(camera, self.rotate_deg))

    def _rectified(self, camera: Camera | None, source_wh: tuple[int, int]) -> Rectified:
        upright_wh = turned_wh(source_wh, self.rotate_deg)
        size_wh = self.size_wh or upright_wh
        logger.debug("computing the map of a %s for %s pixels", type(camera).__name__, size_wh)
        xy = np.stack(np.meshgrid(np.arange(size_wh[0]), np.arange(size_wh[1])), axis=-1).reshape(-1, 2)
        turned = camera and Turned(camera, self.rotate_deg)
        new_camera: Camera | None = turned and Resized(turned, size_wh)
        if self.hfov_deg is None:
            # Enlarged, the outermost pixel centres lie beyond the source's; they must not be mixed with black.
            upright_xy = np.clip(scale_pixels(xy, size_wh, upright_wh), 0, np.array(upright_wh) - 1)
        elif turned is None:
            raise ValueError("the frame brings no camera, so hfov_deg cannot undistort it; give the lens in camera")
        else:
            new_camera = Pinhole.from_hfov(size_wh, self.hfov_deg)
            upright_xy = turned.project(new_camera.unproject(xy))
        source = turn_pixels(upright_xy, upright_wh, -self.rotate_deg % 360)
        return Rectified(*_fixed_point(source, size_wh), new_camera)


def _fixed_point(xy: npt.NDArray[np.float64], size_wh: tuple[int, int]) -> tuple[Any, Any]:
    """Source pixels (w h, 2) as the pair of maps that `cv2.remap` is fastest with; NaN lies outside of the image."""
    maps = np.where(np.isnan(xy), -9.0, xy).astype(np.float32).reshape(size_wh[1], size_wh[0], 2)
    return cv2.convertMaps(maps[..., 0], maps[..., 1], cv2.CV_16SC2)
