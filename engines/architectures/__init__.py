"""Networks of our own in plain PyTorch, which official weight files fit. Importing this imports no torch.

A network takes images (n, 3, h, w) of the one size that it is made for, and gives one tensor in float32, whatever its
own precision: what that is, its `Architecture.output` says. Any batch; no control flow depends on the values.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from engines.base import EngineError

if TYPE_CHECKING:
    from engines.checkpoint import Checkpoint

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network that `make` can make."""

    name: str
    kind: Literal["detector", "depth"]
    output: Literal["dense", "end_to_end", "relative", "metres"]
    """Of a detector, (n, 4 + classes, anchors) or (n, 300, 6), see `nodes.ops.heads`; of depth, (n, h, w)."""
    multiple_of: int
    """Both sides of the images are multiples of this."""
    size_wh: Size
    """The size that it was trained at."""
    parameters: int
    """Number of parameters of the official file, before anything is fused."""
    build: Callable[[Size, int], Any]
    """From the size and the number of classes to a torch.nn.Module with the names of the official weight files."""
    class_count: int | None = None
    """Classes of the official file; a file that was trained further may have others."""


def make(name: str, checkpoint: Checkpoint | None = None, *, size_wh: Size | None = None, seed: int = 0) -> Any:
    """The network called `name` with the weights of `checkpoint`, or random ones of `seed`, ready to infer.

    A torch.nn.Module on the CPU in float32 and eval mode, without batch normalisation, for images of `size_wh`. With
    random weights it takes as long as the real one, and a few anchors pass a confidence of 0.25. Raises EngineError for
    an unknown name, a size that does not fit, and a checkpoint of another network.
    """
    architecture = find(name)
    size_wh = size_wh or architecture.size_wh
    if any(n < architecture.multiple_of or n % architecture.multiple_of for n in size_wh):
        near = [max(1, round(n / architecture.multiple_of)) * architecture.multiple_of for n in size_wh]
        raise EngineError(
            f"{name} takes images whose sides are multiples of {architecture.multiple_of}, not "
            f"{size_wh[0]}x{size_wh[1]}; set size_wh to {near}"
        )
    try:
        from engines.architectures import loading
    except ImportError as e:
        raise EngineError(f"{name} needs the package torch, which cannot be used: {e}; pip install torch") from e
    return loading.load(architecture, size_wh, checkpoint, seed)


def find(name: str) -> Architecture:
    """The architecture called `name`; EngineError with the nearest name where there is none."""
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    close = difflib.get_close_matches(name, ARCHITECTURES, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(ARCHITECTURES))}"
    raise EngineError(f"there is no architecture {name!r}; {hint}")


def _detector(generation: str, width: float) -> Callable[[Size, int], Any]:
    def build(size_wh: Size, classes: int) -> Any:
        from engines.architectures import yolo

        return yolo.detector(getattr(yolo, generation), size_wh, classes, width=width)

    return build


def _yolo_depth(size_wh: Size, classes: int) -> Any:
    from engines.architectures import yolo

    return yolo.depth(yolo.V26)


def _depth_anything(max_m: float | None) -> Callable[[Size, int], Any]:
    def build(size_wh: Size, classes: int) -> Any:
        from engines.architectures.depth_anything import DepthAnything

        return DepthAnything(size_wh, max_m=max_m)

    return build


N, S, COCO, VITS = 0.25, 0.5, 80, 24_785_089
ARCHITECTURES = {
    a.name: a
    for a in (
        Architecture("yolov8n", "detector", "dense", 32, (640, 640), 3_157_200, _detector("V8", N), COCO),
        Architecture("yolo11n", "detector", "dense", 32, (640, 640), 2_624_080, _detector("V11", N), COCO),
        Architecture("yolo12n", "detector", "dense", 32, (640, 640), 2_602_288, _detector("V12", N), COCO),
        Architecture("yolo12s", "detector", "dense", 32, (640, 640), 9_284_096, _detector("V12", S), COCO),
        Architecture("yolo26n", "detector", "end_to_end", 32, (640, 640), 2_572_280, _detector("V26", N), COCO),
        Architecture("yolo26n_depth", "depth", "metres", 32, (768, 768), 5_174_945, _yolo_depth),
        Architecture("depth_anything_v2_small", "depth", "relative", 14, (518, 518), VITS, _depth_anything(None)),
        Architecture(
            *("depth_anything_v2_metric_indoor_small", "depth", "metres", 14, (518, 518), VITS, _depth_anything(20)),
        ),
        Architecture(
            *("depth_anything_v2_metric_outdoor_small", "depth", "metres", 14, (518, 518), VITS, _depth_anything(80)),
        ),
    )
}
