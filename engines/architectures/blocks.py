"""Building blocks of the YOLO networks. The attribute names are those of the official weight files.

Sources: the papers of YOLOv8 to YOLO12 (arXiv:2408.15857, 2410.17725, 2502.12524) and the shapes in the weight files.
All take and give (n, c, h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Conv(nn.Module):
    """Convolution that keeps the size (or divides it by `stride`), batch normalisation, and SiLU unless `linear`."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(c_out, eps=1e-3)
        self.act: nn.Module = nn.Identity() if linear else nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) to (n, c_out, h / stride, w / stride)."""
        y: Tensor = self.act(self.bn(self.conv(x)))
        return y

    def fuse(self) -> None:
        """Put the batch normalisation into the convolution: the same numbers with half of the steps."""
        if not isinstance(self.bn, nn.BatchNorm2d):
            return
        old, bn = self.conv, self.bn
        # In float64: the rounding of this one product would stay in every image.
        gain = bn.weight.double() / torch.sqrt(bn.running_var.double() + bn.eps)
        new = nn.Conv2d(
            *(old.in_channels, old.out_channels, old.kernel_size, old.stride, old.padding),
            groups=old.groups,
        )
        new.weight.data = (old.weight.double() * gain[:, None, None, None]).to(old.weight.dtype)
        new.bias.data = (bn.bias.double() - bn.running_mean.double() * gain).to(old.weight.dtype)
        self.conv, self.bn = new, nn.Identity()


class Bottleneck(nn.Module):
    """Two convolutions of 3x3 over `hidden` channels, added to the input where `add`."""

    def __init__(self, channels: int, hidden: int, *, add: bool = True) -> None:
        super().__init__()
        self.cv1 = Conv(channels, hidden, 3)
        self.cv2 = Conv(hidden, channels, 3)
        self.add = add

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        y: Tensor = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C3k(nn.Module):
    """Half of the channels through two bottlenecks, half past them, joined again."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 2
        self.cv1 = Conv(channels, hidden)
        self.cv2 = Conv(channels, hidden)
        self.cv3 = Conv(2 * hidden, channels)
        self.m = nn.Sequential(*(Bottleneck(hidden, hidden) for _ in range(2)))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        y: Tensor = self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], 1))
        return y


class Stages(nn.Module):
    """A chain of `stages` over a half of the channels; every intermediate result goes into the final convolution."""

    def __init__(self, c_in: int, c_out: int, hidden: int, stages: list[nn.Module]) -> None:
        super().__init__()
        self.cv1 = Conv(c_in, 2 * hidden)
        self.cv2 = Conv((2 + len(stages)) * hidden, c_out)
        self.m = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) to (n, c_out, h, w)."""
        parts = list(self.cv1(x).chunk(2, 1))
        for stage in self.m:
            parts.append(stage(parts[-1]))
        y: Tensor = self.cv2(torch.cat(parts, 1))
        return y


def c2f(c_in: int, c_out: int, *, repeats: int = 1, add: bool = False) -> nn.Module:
    """The block of YOLOv8."""
    hidden = c_out // 2
    return Stages(c_in, c_out, hidden, [Bottleneck(hidden, hidden, add=add) for _ in range(repeats)])


def c3k2(c_in: int, c_out: int, *, share: float = 0.5, deep: bool = False, attention: bool = False) -> nn.Module:
    """The block of YOLO11 and YOLO26: a bottleneck, one inside a C3k (`deep`), or one followed by attention."""
    hidden = int(c_out * share)
    if attention:
        return Stages(c_in, c_out, hidden, [nn.Sequential(Bottleneck(hidden, hidden // 2), AttentionBlock(hidden))])
    return Stages(c_in, c_out, hidden, [C3k(hidden) if deep else Bottleneck(hidden, hidden // 2)])


class Sppf(nn.Module):
    """Maxima over 5, 9 and 13 pixels beside the features themselves: sees much of the image at once."""

    def __init__(self, c_in: int, c_out: int, *, add: bool = False, linear: bool = False) -> None:
        super().__init__()
        self.cv1 = Conv(c_in, c_in // 2, linear=linear)
        self.cv2 = Conv(4 * (c_in // 2), c_out)
        self.m = nn.MaxPool2d(5, stride=1, padding=2)
        self.add = add

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) to (n, c_out, h, w)."""
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(self.m(parts[-1]))
        y: Tensor = self.cv2(torch.cat(parts, 1))
        return x + y if self.add else y


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of (..., channels, tokens): every token gets a mean of `v`, weighted by how alike its q and a k are.

    Plain products and softmax: a fused kernel in its place makes a wrong ONNX file of YOLO12.
    """
    weights = ((q * q.shape[-2] ** -0.5).transpose(-2, -1) @ k).softmax(-1)
    return v @ weights.transpose(-2, -1)


class Attention(nn.Module):
    """Attention between all pixels, with keys half as wide as values; a 3x3 convolution adds where each one is."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.width = heads, channels // heads
        self.qkv = Conv(channels, channels + 2 * heads * (self.width // 2), linear=True)
        self.proj = Conv(channels, channels, linear=True)
        self.pe = Conv(channels, channels, 3, groups=channels, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        n, _, h, w = x.shape
        key = self.width // 2
        q, k, v = self.qkv(x).reshape(n, self.heads, 2 * key + self.width, h * w).split([key, key, self.width], 2)
        y: Tensor = self.proj(attend(q, k, v).reshape(x.shape) + self.pe(v.reshape(x.shape)))
        return y


class AttentionBlock(nn.Module):
    """Attention, then two 1x1 convolutions, each added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attn = Attention(channels, max(channels // 64, 1))
        self.ffn = nn.Sequential(Conv(channels, 2 * channels), Conv(2 * channels, channels, linear=True))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        x = x + self.attn(x)
        y: Tensor = x + self.ffn(x)
        return y


class C2psa(nn.Module):
    """An attention block over half of the channels; the other half passes by."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        hidden = c_out // 2
        self.cv1 = Conv(c_in, 2 * hidden)
        self.cv2 = Conv(2 * hidden, c_out)
        self.m = nn.Sequential(AttentionBlock(hidden))

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) to (n, c_out, h, w)."""
        past, through = self.cv1(x).chunk(2, 1)
        y: Tensor = self.cv2(torch.cat([past, self.m(through)], 1))
        return y


class AreaAttention(nn.Module):
    """Attention of YOLO12: between the pixels of each of `areas` horizontal stripes, in heads of 32 channels."""

    def __init__(self, channels: int, areas: int) -> None:
        super().__init__()
        self.heads, self.areas = channels // 32, areas
        self.qkv = Conv(channels, 3 * channels, linear=True)
        self.proj = Conv(channels, channels, linear=True)
        self.pe = Conv(channels, channels, 7, groups=channels, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in; h * w is a multiple of `areas`."""
        n, _, h, w = x.shape
        # Stripes are runs of the flattened pixels: (n, heads, q k v, stripes, pixels), then stripes before q k v.
        qkv = self.qkv(x).reshape(n, self.heads, 96, self.areas, h * w // self.areas).transpose(2, 3)
        q, k, v = qkv.split(32, 3)
        mixed = attend(q, k, v).transpose(2, 3).reshape(x.shape)
        y: Tensor = self.proj(mixed + self.pe(v.transpose(2, 3).reshape(x.shape)))
        return y


class AreaBlock(nn.Module):
    """Area attention, then two 1x1 convolutions, each added to its input."""

    def __init__(self, channels: int, areas: int) -> None:
        super().__init__()
        self.attn = AreaAttention(channels, areas)
        self.mlp = nn.Sequential(Conv(channels, 2 * channels), Conv(2 * channels, channels, linear=True))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        x = x + self.attn(x)
        y: Tensor = x + self.mlp(x)
        return y


class A2c2f(nn.Module):
    """The block of YOLO12: stages of two area attentions each, or with `areas` None one C3k, over half the channels."""

    def __init__(self, c_in: int, c_out: int, *, areas: int | None = None) -> None:
        super().__init__()
        hidden = c_out // 2
        stages: list[nn.Module] = [C3k(hidden)]
        if areas:
            stages = [nn.Sequential(AreaBlock(hidden, areas), AreaBlock(hidden, areas)) for _ in range(2)]
        self.cv1 = Conv(c_in, hidden)
        self.cv2 = Conv((1 + len(stages)) * hidden, c_out)
        self.m = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c_in, h, w) to (n, c_out, h, w)."""
        parts = [self.cv1(x)]
        for stage in self.m:
            parts.append(stage(parts[-1]))
        y: Tensor = self.cv2(torch.cat(parts, 1))
        return y
