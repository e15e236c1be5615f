"""The depth network: a small U of convolutions, in metres, for the lens of the glasses. Our own, plain torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nodes.training import augment
from nodes.training.export import export
from nodes.training.frames import FARTHEST_M, Frames
from nodes.training.loop import Budget, Report, Trained, fit

if TYPE_CHECKING:
    import torch

WIDTHS = (16, 32, 64, 96, 128)
NEAREST_M = 0.25
SKY_WEIGHT = 0.15
EDGE_WEIGHT = 0.5


def build() -> torch.nn.Module:
    """(n, 3, h, w) RGB 0..1 to log metres (n, 1, h/2, w/2); h and w are multiples of 32. 0.9 million weights."""
    import torch
    from torch import nn

    def conv(wide: int, narrow: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
        layer = nn.Conv2d(wide, narrow, kernel, stride, kernel // 2, bias=False)
        return nn.Sequential(layer, nn.BatchNorm2d(narrow), nn.ReLU(inplace=True))

    class Residual(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                conv(width, width), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x + self.body(x))

    class DepthNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            a, b, c, d, e = WIDTHS
            self.down = nn.ModuleList(
                [
                    conv(3, a, 2),
                    nn.Sequential(conv(a, b, 2), Residual(b)),
                    nn.Sequential(conv(b, c, 2), Residual(c)),
                    nn.Sequential(conv(c, d, 2), Residual(d)),
                    nn.Sequential(conv(d, e, 2), Residual(e)),
                ]
            )
            # What the whole picture says: how high the eye is, how the head is held.
            self.whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(e, e, 1), nn.ReLU(inplace=True))
            self.up = nn.ModuleList([conv(e + d, d), conv(d + c, c), conv(c + b, b), conv(b + a, a)])
            self.last = nn.Conv2d(a, 1, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            kept = []
            for layer in self.down:
                x = layer(x)
                kept.append(x)
            x = x + self.whole(x)
            for layer, skip in zip(self.up, reversed(kept[:-1]), strict=True):
                x = nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
                x = layer(torch.cat([x, skip], dim=1))
            return self.last(x) + 1.6

    return DepthNet()


def train(frames: Frames, *, budget: Budget, seed: int, device: str, work: Path, report: Report) -> Trained:
    """A trained network."""
    import torch

    torch.manual_seed(seed)
    network = build().to(device).to(memory_format=torch.channels_last)
    steps = max(1, len(frames) // budget.batch)
    batches, checkpoint = _batches(frames, budget.batch, seed=seed, device=device), work / "depth.pt"
    return fit(network, batches, _loss, budget=budget, steps_per_epoch=steps, checkpoint=checkpoint, report=report)


def _loss(model: torch.nn.Module, batch: Any) -> torch.Tensor:
    """Mean difference of log metres, and of its slopes, so that outlines stay sharp. Sky counts little."""
    import torch

    images, metres = batch
    known = (metres > 0).float()
    weight = known * torch.where(metres >= FARTHEST_M * 0.99, SKY_WEIGHT, 1.0)
    error = model(images) - metres.clamp(NEAREST_M, FARTHEST_M).log()
    loss = (error.abs() * weight).sum() / weight.sum().clamp(min=1)
    for dim in (2, 3):
        n = error.shape[dim]
        slope = error.narrow(dim, 1, n - 1) - error.narrow(dim, 0, n - 1)
        both = weight.narrow(dim, 1, n - 1) * weight.narrow(dim, 0, n - 1)
        loss = loss + EDGE_WEIGHT * (slope.abs() * both).sum() / both.sum().clamp(min=1)
    return loss


def _batches(frames: Frames, size: int, *, seed: int, device: str) -> Callable[[int], Iterator[Any]]:
    import torch

    def epoch(number: int) -> Iterator[Any]:
        rng = np.random.default_rng([seed, number, 1])
        order = rng.permutation(len(frames))
        for first in range(0, len(order) - size + 1, size):
            chosen = order[first : first + size]
            images = np.stack([augment.coloured(rng, frames.small[i]) for i in chosen])
            metres = frames.depth[chosen].astype(np.float32)
            flip = rng.random(size) < 0.5
            images[flip], metres[flip] = images[flip, :, ::-1], metres[flip, :, ::-1]
            pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(device).float() / 255
            yield (
                pixels.contiguous(memory_format=torch.channels_last),
                torch.from_numpy(np.ascontiguousarray(metres))[:, None].to(device),
            )

    return epoch


def write(network: torch.nn.Module, *, size_px: int, path: Path) -> Path:
    """Export to ONNX: input (1, 3, h, w) RGB 0..1, output metres (1, 1, h/2, w/2)."""
    import torch

    class Metres(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x).exp().clamp(NEAREST_M, FARTHEST_M)

    whole = Metres(network.float().cpu()).eval()
    return export(whole, (1, 3, size_px, size_px), path, output="metres", metadata={"task": "depth", "unit": "metres"})
