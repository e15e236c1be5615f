"""The networks that are measured: ours, with random weights, at the sizes of a graph for a wearable camera."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.on_gpu.run import Run
from engines.base import Array, ModelSpec, Weights
from engines.torch import Torch

CALMER = 0.5
"""Factor of the attention's weights of a random detector. Random attention is chaotic: as it comes, half precision
changes the scores of some images altogether, so nothing could be told from a comparison."""


@dataclass(frozen=True, slots=True)
class Case:
    """A network at one size."""

    architecture: str
    side: int
    gflop: float | None = None
    """Of one image, counted as 2 for each multiplication with addition; None where it is not known."""

    @property
    def name(self) -> str:
        return f"{self.architecture}@{self.side}"

    @property
    def is_detector(self) -> bool:
        return self.architecture.startswith("yolo")


DEPTH = "depth_anything_v2_small"
FULL = {
    "detector": Case("yolo12n", 640, 7.47),
    "side": Case("yolo12n", 256, 1.063),
    "depth": Case(DEPTH, 378, 43.0),
    "depth_low": Case(DEPTH, 308, 28.5),
    "depth_high": Case(DEPTH, 518, 80.7),
}
SMALL = {
    "detector": Case("yolo12n", 64),
    "side": Case("yolo12n", 32),
    "depth": Case(DEPTH, 28),
    "depth_low": Case(DEPTH, 14),
    "depth_high": Case(DEPTH, 42),
}


def case(run: Run, which: str) -> Case:
    """The network for a part: "detector", "side" (the two cameras beside), "depth", "depth_low", "depth_high"."""
    return (SMALL if run.small else FULL)[which]


def spec(what: Case, batches: tuple[int, ...] = (1,)) -> ModelSpec:
    """What the engine is to load."""
    weights = Weights(path=str(_calm_weights(what.architecture))) if what.is_detector else Weights(random=True)
    return ModelSpec(what.name, weights, {"": (None, 3, what.side, what.side)}, batches, what.architecture)


def load(run: Run, what: Case, *, batches: tuple[int, ...] = (1,), device: str | None = None, **params: Any) -> Any:
    """The network as a model of our torch engine; `params` are the engine's."""
    return Torch(device or run.device, **params).load(spec(what, batches))


def images(what: Case, count: int, *, seed: int = 0) -> Array:
    """Images (count, 3, side, side) float32, 0..1: spots with some noise."""
    rng, side = np.random.default_rng(seed), what.side
    spots = rng.random((count, 3, side // 8 + 1, side // 8 + 1), np.float32).repeat(8, 2).repeat(8, 3)
    noisy = 0.8 * spots[:, :, :side, :side] + 0.2 * rng.random((count, 3, side, side), np.float32)
    return np.ascontiguousarray(noisy, np.float32)


def uploaded(run: Run, array: Array) -> Any:
    """The array as a tensor on the device of the run, when all of it is there."""
    import torch

    there = torch.from_numpy(array).to(run.device)
    if run.cuda:
        torch.cuda.synchronize()
    return there


def error(what: Case, got: Array, wanted: Array) -> float:
    """Mean squared difference over the variance of what is wanted; of a detector the worse one of boxes and scores."""
    pairs = [(got[:, :4], wanted[:, :4]), (got[:, 4:], wanted[:, 4:])] if what.is_detector else [(got, wanted)]
    return max(float(np.mean((a.astype(np.float64) - b) ** 2) / max(float(np.var(b)), 1e-30)) for a, b in pairs)


@cache
def _calm_weights(architecture: str) -> Path:
    """A file with random weights, which loads quicker than they are made."""
    import torch

    from engines import architectures

    state = architectures.make(architecture, size_wh=(64, 64)).state_dict()
    for name, tensor in state.items():
        if ".attn.qk" in name:
            tensor.mul_(CALMER)
    folder = tempfile.mkdtemp(prefix="cauce-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / f"{architecture}.pt"
    torch.save(state, path)
    return path
