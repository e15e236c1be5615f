"""The YOLO networks: what tells the generations apart is a table of blocks, the rest they share.

Layers are numbered as in the official weight files, enlarging and joining included, so that "model.6" is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from engines.architectures.blocks import A2c2f, C2psa, Conv, Sppf, c2f, c3k2
from engines.architectures.heads import Depth, Detect

Block = Callable[[int, int], nn.Module]
"""From input and output channels to a module that keeps the size."""


@dataclass(frozen=True)
class Generation:
    """Blocks of a generation of YOLO, with channels at width 1."""

    channels: tuple[int, int, int, int]
    """After the stages at a quarter, an eighth, a 16th and a 32nd of the size."""
    stages: tuple[Block, Block, Block, Block]
    top: tuple[Block, ...]
    """Follow the last stage."""
    neck: tuple[Block, Block, Block, Block]
    """At a 16th and an eighth on the way up, at a 16th and a 32nd on the way down."""
    light: bool = True
    """Whether the head splits the convolutions of its class branch."""
    end_to_end: bool = False


_split, _deep = partial(c3k2, share=0.25), partial(c3k2, deep=True)
_area4, _area1 = partial(A2c2f, areas=4), partial(A2c2f, areas=1)

V8 = Generation(
    channels=(128, 256, 512, 1024),
    stages=(
        *(partial(c2f, add=True), partial(c2f, add=True, repeats=2)),
        *(partial(c2f, add=True, repeats=2), partial(c2f, add=True)),
    ),
    top=(Sppf,),
    neck=(c2f, c2f, c2f, c2f),
    light=False,
)
V11 = Generation((256, 512, 512, 1024), (_split, _split, _deep, _deep), (Sppf, C2psa), (c3k2, c3k2, c3k2, _deep))
V12 = Generation((256, 512, 512, 1024), (_split, _split, _area4, _area1), (), (A2c2f, A2c2f, A2c2f, _deep))
V26 = Generation(
    channels=(256, 512, 512, 1024),
    stages=(_split, _split, _deep, _deep),
    top=(partial(Sppf, add=True, linear=True), C2psa),
    neck=(_deep, _deep, _deep, partial(c3k2, attention=True)),
    end_to_end=True,
)


class Join(nn.Module):
    """Two feature maps along their channels."""

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """(n, a, h, w) and (n, b, h, w) to (n, a + b, h, w)."""
        return torch.cat([x, other], 1)


class Yolo(nn.Module):
    """A network of one generation; `width` scales its channels: 0.25 is "n", 0.5 is "s"."""

    def __init__(self, generation: Generation, *, width: float, head: Callable[[list[int]], nn.Module]) -> None:
        super().__init__()
        g = generation

        def w(channels: int) -> int:
            return int(channels * width)

        c = [w(n) for n in g.channels]
        layers: list[nn.Module] = [Conv(3, w(64), 3, stride=2), Conv(w(64), w(128), 3, stride=2)]
        layers.append(g.stages[0](w(128), c[0]))
        for i, channels in enumerate((256, 512, 1024), start=1):
            layers += [Conv(c[i - 1], w(channels), 3, stride=2), g.stages[i](w(channels), c[i])]
        layers += [block(c[3], c[3]) for block in g.top]
        deep = len(layers) - 1
        # The neck: up to an eighth of the size, and down again, each time beside what the way here left.
        up, p4, p3, p5 = partial(nn.Upsample, scale_factor=2.0, mode="nearest"), w(512), w(256), w(1024)
        layers += [up(), Join(), g.neck[0](c[3] + c[2], p4), up(), Join(), g.neck[1](p4 + c[1], p3)]
        layers += [Conv(p3, p3, 3, stride=2), Join(), g.neck[2](p3 + p4, p4)]
        layers += [Conv(p4, p4, 3, stride=2), Join(), g.neck[3](p4 + c[3], p5)]
        self.joined = {deep + 2: 6, deep + 5: 4, deep + 8: deep + 3, deep + 11: deep}
        self.taken = (deep + 6, deep + 9, deep + 12)
        self.model = nn.ModuleList([*layers, head([p3, p4, p5])])

    @property
    def head(self) -> Detect | Depth:
        """The last layer."""
        head = self.model[-1]
        assert isinstance(head, Detect | Depth)
        return head

    def features(self, images: Tensor) -> list[Tensor]:
        """Three feature maps (n, c, h / s, w / s) at s = 8, 16 and 32 of images (n, 3, h, w), RGB 0..1."""
        kept: list[Tensor] = []
        x = images
        for i, layer in enumerate(self.model[:-1]):
            x = layer(x, kept[self.joined[i]]) if i in self.joined else layer(x)
            kept.append(x)
        return [kept[i] for i in self.taken]

    def forward(self, images: Tensor) -> Tensor:
        """Images (n, 3, h, w), RGB 0..1, to what the head gives."""
        y: Tensor = self.model[-1](self.features(images))
        return y

    def fuse(self) -> None:
        """Make the network quicker, with the same output: for inference only."""
        if isinstance(self.head, Detect):
            self.head.fuse()
        for module in self.modules():
            if isinstance(module, Conv):
                module.fuse()

    def calibrate(self, images: Tensor) -> None:
        """Give random weights batch normalisation that fits `images`, and outputs of a sensible size."""
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = None  # the plain mean of what comes
        self.train()
        self.head.raw(self.features(images))
        self.eval()
        self.head.calibrate(self.features(images))


def detector(generation: Generation, size_wh: tuple[int, int], classes: int, *, width: float = 0.25) -> nn.Module:
    """A detector of `classes` classes for images of `size_wh`."""
    options = {"light": generation.light, "end_to_end": generation.end_to_end}
    return Yolo(generation, width=width, head=lambda c: Detect(c, classes, size_wh=size_wh, **options))


def depth(generation: Generation, *, width: float = 0.25) -> nn.Module:
    """A network for depth in metres, for images of any size."""
    return Yolo(generation, width=width, head=Depth)
