"""Depth-Anything-V2 (arXiv:2406.09414): DINOv2 with the decoder of "Vision Transformers for Dense Prediction".

The attribute names are those of the official weight files. The small model only, whose weights are under Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from engines.architectures.dinov2 import PATCH, WIDTH, DinoV2

CHANNELS, FEATURES = (48, 96, 192, 384), 64


class Residual(nn.Module):
    """Two convolutions of 3x3, each after a ReLU, added to the input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(FEATURES, FEATURES, 3, padding=1)
        self.conv2 = nn.Conv2d(FEATURES, FEATURES, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        y: Tensor = self.conv2(functional.relu(self.conv1(functional.relu(x))))
        return x + y


class Fusion(nn.Module):
    """Adds a finer map to a coarser one, and enlarges the sum to `size_hw`."""

    def __init__(self, size_hw: tuple[int, int]) -> None:
        super().__init__()
        self.size_hw = size_hw
        self.out_conv = nn.Conv2d(FEATURES, FEATURES, 1)
        self.resConfUnit1 = Residual()
        self.resConfUnit2 = Residual()

    def forward(self, x: Tensor, finer: Tensor | None = None) -> Tensor:
        """(n, 64, h, w), twice or once, to (n, 64, *size_hw)."""
        if finer is not None:
            x = x + self.resConfUnit1(finer)
        y: Tensor = self.out_conv(_enlarge(self.resConfUnit2(x), self.size_hw))
        return y


class Scratch(nn.Module):
    """The part of the decoder that was trained from scratch."""

    def __init__(self, sizes_hw: Sequence[tuple[int, int]], last: nn.Module) -> None:
        super().__init__()
        for i, channels in enumerate(CHANNELS, start=1):
            self.add_module(f"layer{i}_rn", nn.Conv2d(channels, FEATURES, 3, padding=1, bias=False))
            self.add_module(f"refinenet{i}", Fusion(sizes_hw[i - 1]))
        self.output_conv1 = nn.Conv2d(FEATURES, FEATURES // 2, 3, padding=1)
        self.output_conv2 = nn.Sequential(
            *(nn.Conv2d(FEATURES // 2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1), last)
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Four maps, fine to coarse, to one (n, 32, h, w) of twice the size of the finest."""
        x = None
        for i in (4, 3, 2, 1):
            level = self.get_submodule(f"layer{i}_rn")(maps[i - 1])
            fusion = self.get_submodule(f"refinenet{i}")
            x = fusion(level) if x is None else fusion(x, level)
        y: Tensor = self.output_conv1(x)
        return y


class Decoder(nn.Module):
    """From the tokens of four depths of the transformer to (n, 1, h, w)."""

    def __init__(self, size_wh: tuple[int, int], last: nn.Module) -> None:
        super().__init__()
        h, w = size_wh[1] // PATCH, size_wh[0] // PATCH
        self.size_hw = (size_wh[1], size_wh[0])
        self.projects = nn.ModuleList(nn.Conv2d(WIDTH, channels, 1) for channels in CHANNELS)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(CHANNELS[0], CHANNELS[0], 4, 4),
                nn.ConvTranspose2d(CHANNELS[1], CHANNELS[1], 2, 2),
                nn.Identity(),
                nn.Conv2d(CHANNELS[3], CHANNELS[3], 3, 2, 1),
            ]
        )
        self.scratch = Scratch([(8 * h, 8 * w), (4 * h, 4 * w), (2 * h, 2 * w), (h, w)], last)

    def raw(self, tokens: list[Tensor]) -> Tensor:
        """(n, 32, h, w), from which the last layers make depth."""
        maps = [
            resize(project(x)) for project, resize, x in zip(self.projects, self.resize_layers, tokens, strict=True)
        ]
        return _enlarge(self.scratch(maps), self.size_hw)

    def forward(self, tokens: list[Tensor]) -> Tensor:
        """Four of (n, 384, h / 14, w / 14) to (n, 1, h, w)."""
        y: Tensor = self.scratch.output_conv2(self.raw(tokens))
        return y


class DepthAnything(nn.Module):
    """Depth of images of `size_wh`: disparity, larger = nearer, or with `max_m` metres from 0 to that."""

    def __init__(self, size_wh: tuple[int, int], *, max_m: float | None = None) -> None:
        super().__init__()
        self.max_m = max_m
        self.pretrained = DinoV2(size_wh)
        self.depth_head = Decoder(size_wh, nn.ReLU() if max_m is None else nn.Sigmoid())

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, h, w), RGB normalised with the mean and deviation of ImageNet, to (n, h, w)."""
        depth: Tensor = self.depth_head(self.pretrained(images)).squeeze(1).float()
        return depth if self.max_m is None else depth * self.max_m

    def fuse(self) -> None:
        """Make the network ready and quicker, with the same output: for inference only."""
        self.pretrained.settle()
        self.pretrained.fuse()

    def calibrate(self, images: Tensor) -> None:
        """Random weights whose output for `images` spreads over a good part of its range."""
        self.pretrained.randomise()
        self.pretrained.settle()
        for module in self.depth_head.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        last = self.depth_head.scratch.output_conv2
        raw = last[:-1](self.depth_head.raw(self.pretrained(images * 4 - 2)))
        mean, spread = (5, 1) if self.max_m is None else (0, 1)
        gain = spread / raw.std().clamp(min=1e-6)
        last[2].weight.mul_(gain)
        last[2].bias.fill_(float(mean - raw.mean() * gain))


def _enlarge(x: Tensor, size_hw: tuple[int, int]) -> Tensor:
    # With corners aligned: that is how the official weights were trained.
    return functional.interpolate(x, size=size_hw, mode="bilinear", align_corners=True)
