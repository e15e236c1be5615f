"""The depth node: one frame in, a depth map of it out, at the model's own resolution. Knows no engine and no source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engines.base import Engine, Weights
from graph.node import Contract, Node
from nodes.messages import DepthMap, Frame
from nodes.ops import checks
from nodes.ops.camera import Camera
from nodes.ops.image_model import ImageModel, require_upright
from nodes.ops.letterbox import BatchTensor
from nodes.ops.turned import scale_pixels

KINDS = ("relative", "metres")


class Depth(Node):
    """Estimates how far everything in a frame is.

    `weights` is a path, {url, sha256}, or "random"; PyTorch weights and random ones belong to the network
    `architecture`. `size_wh` is the size that the model is fed with, `multiple_of` what both of its sides must be
    multiples of: the patch of a transformer, 14 for Depth-Anything. `kind` says what the model's output is: "metres",
    or "relative" without unit, larger = nearer. A pixel of value v (0..255) is fed as `(v / 255 - mean) / std`. Metres
    are multiplied by `output_scale`, which adapts a model to a camera other than its own, and limited to
    `min_m`..`max_m`.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        *,
        weights: Any,
        architecture: str | None = None,
        size_wh: Sequence[int],
        kind: Literal["relative", "metres"],
        multiple_of: int = 1,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        output_scale: float = 1.0,
        min_m: float = 0.0,
        max_m: float = 100.0,
    ) -> None:
        self.engine, self.name, self.weights, self.kind = engine, name, weights, kind
        self.architecture = architecture
        self.size_wh = (size_wh[0], size_wh[1])
        self.multiple_of, self.mean, self.std = multiple_of, mean, std
        self.output_scale, self.min_m, self.max_m = output_scale, min_m, max_m
        self.model: ImageModel | None = None

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """See `Node.check`."""
        yield from (f"weights: {problem}" for problem in Weights.problems(params.get("weights")))
        yield from checks.network_problems(params)
        wrong = list(checks.count_problems(params, "multiple_of"))
        yield from wrong
        yield from checks.size_problems(params, multiple_of=1 if wrong else params.get("multiple_of", 1))
        yield from checks.word_problems(params, "kind", KINDS)
        yield from checks.triple_problems(params, "mean")
        wrong = list(checks.triple_problems(params, "std"))
        yield from wrong
        if not wrong and min(params.get("std", [1])) <= 0:
            yield f"std: is {params['std']}; expected three numbers above 0"
        yield from _metre_problems(params)

    @classmethod
    def expects(cls, params: Mapping[str, Any]) -> Mapping[str, Contract]:
        """Any size, colour or gray, but not on its side."""
        return {"image": {"channels": frozenset({1, 3}), "dtype": "uint8", "upright": True}}

    def setup(self) -> None:
        """Load the model."""
        self.model = ImageModel(
            self.engine,
            name=self.name,
            weights=self.weights,
            size_wh=self.size_wh,
            architecture=self.architecture,
            batch_max=self.batch_max,
        )
        scale = [1 / (255 * s) for s in self.std]
        offset = [-m / s for m, s in zip(self.mean, self.std, strict=True)]
        self.tensor = BatchTensor(self.size_wh, self.batch_max, scale=scale, offset=offset)

    def process(self, image: Frame) -> DepthMap:
        """Depth of one upright frame; the map covers all of it, its aspect is that of `size_wh`.

        It is unknown (NaN) where the frame's lens sees nothing.
        """
        return self.process_batch([image])[0]

    def process_batch(self, image: Sequence[Frame]) -> Sequence[DepthMap]:
        """Depth of each of up to `batch_max` upright frames, of any sizes, by one call of the model."""
        assert self.model is not None, "process before setup"
        for frame in image:
            require_upright(self.name, frame)
        output, _ = self.model.see(image, self.tensor, anchor=None)
        if len(image) == 1:
            return [self._depth_map(output, image[0])]
        return [self._depth_map(output[i : i + 1], frame) for i, frame in enumerate(image)]

    def _depth_map(self, output: npt.NDArray[np.float32], image: Frame) -> DepthMap:
        values = self._values(output)
        if image.camera is not None and (unseen := _unseen(image.camera, values.shape)) is not None:
            values[unseen] = np.nan
        return DepthMap(values, self.kind, image.size_wh)

    def _values(self, output: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """An own copy (h, w) of the model's output: that may be memory which the engine writes again."""
        shape = output.shape
        if len(shape) < 2 or any(n != 1 for n in shape[:-2]):
            raise ValueError(f"{self.name}: the output is {shape}; expected (1, h, w) or (1, 1, h, w)")
        values = output.reshape(shape[-2:])
        if self.kind == "relative":
            return values.copy()
        metres: npt.NDArray[np.float32] = np.multiply(values, np.float32(self.output_scale))
        return np.clip(metres, np.float32(self.min_m), np.float32(self.max_m), out=metres)

    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """See `Node.facts`."""
        return {"model": self.model.facts()} if self.model else {}

    def close(self) -> None:
        """Release the model."""
        if self.model:
            self.model.close()


@lru_cache(maxsize=8)
def _unseen(camera: Camera, shape: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
    """(h, w) where a map of this shape shows what the lens does not see; None where it sees everything."""
    rows, columns = np.indices(shape)
    pixels = scale_pixels(np.column_stack([columns.ravel(), rows.ravel()]), (shape[1], shape[0]), camera.size_wh)
    unseen: npt.NDArray[np.bool_] = np.isnan(camera.unproject(pixels)).any(axis=1).reshape(shape)
    return unseen if unseen.any() else None


def _metre_problems(params: Mapping[str, Any]) -> Iterable[str]:
    wrong = [p for key in ("output_scale", "min_m", "max_m") for p in checks.number_problems(params, key, low=0)]
    yield from wrong
    if not wrong and params.get("output_scale", 1) == 0:
        yield "output_scale: is 0, which makes every distance 0; expected a number above 0"
    if not wrong and params.get("min_m", 0) >= params.get("max_m", 100):
        yield f"max_m: is {params.get('max_m', 100)}; expected more than min_m, which is {params.get('min_m', 0)}"
