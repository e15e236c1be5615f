"""DINOv2, the vision transformer inside of Depth-Anything (arXiv:2304.07193), in its small size.

The attribute names are those of the official weight files.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, HEADS, BLOCKS, PATCH = 384, 6, 12, 14
TRAINED_GRID = 37
"""Patches along a side of the images of 518 pixels that the position embedding was trained with."""
OFFSET = 0.1
"""Added to the number of patches when the position embedding is stretched, as in the training of the weights."""
TAPS = (2, 5, 8, 11)


class Scale(nn.Module):
    """A factor for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x * self.gamma


class Attention(nn.Module):
    """Attention between all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, 384), same shape out as in."""
        n, tokens, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        y: Tensor = self.proj(_attend(q, k, v).transpose(1, 2).reshape(x.shape))
        return y


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    # The fused kernel is quicker, but its export guards against rows without a value, which cannot be here.
    if not torch.onnx.is_in_onnx_export():
        return functional.scaled_dot_product_attention(q, k, v)
    return (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1) @ v


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(WIDTH, 4 * WIDTH)
        self.fc2 = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, 384), same shape out as in."""
        y: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return y


class Block(nn.Module):
    """Attention, then the two linear layers, each normalised before, scaled after, and added to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.attn = Attention()
        self.ls1: nn.Module = Scale()
        self.norm2 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.mlp = Mlp()
        self.ls2: nn.Module = Scale()

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, 384), same shape out as in."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        y: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return y

    def fuse(self) -> None:
        """Put the scales into the linear layers before them."""
        for scale, linear in ((self.ls1, self.attn.proj), (self.ls2, self.mlp.fc2)):
            if isinstance(scale, Scale):
                linear.weight.mul_(scale.gamma[:, None])
                linear.bias.mul_(scale.gamma)
        self.ls1 = self.ls2 = nn.Identity()


class Patches(nn.Module):
    """A token for each patch of 14x14 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, WIDTH, PATCH, PATCH)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, h, w) to (n, h / 14 * w / 14, 384), row by row."""
        return self.proj(images).flatten(2).transpose(1, 2)


class DinoV2(nn.Module):
    """The transformer, for images of `size_wh`."""

    positions: Tensor

    def __init__(self, size_wh: tuple[int, int]) -> None:
        super().__init__()
        self.grid_hw = (size_wh[1] // PATCH, size_wh[0] // PATCH)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + TRAINED_GRID**2, WIDTH))
        self.mask_token = nn.Parameter(torch.zeros(1, WIDTH))
        self.patch_embed = Patches()
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        tokens = 1 + self.grid_hw[0] * self.grid_hw[1]
        self.register_buffer("positions", torch.zeros(1, tokens, WIDTH), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(n, 3, h, w) to four of (n, 384, h / 14, w / 14), from a quarter to the whole of the depth."""
        x = self.patch_embed(images)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        taken = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in TAPS:
                taken.append(self.norm(x)[:, 1:].transpose(1, 2).unflatten(2, self.grid_hw))
        return taken

    def settle(self) -> None:
        """Stretch the position embedding that was trained to the size of the images; call it after loading."""
        trained = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (TRAINED_GRID, TRAINED_GRID))
        if self.grid_hw != (TRAINED_GRID, TRAINED_GRID):
            # The factor, not the size, sets where is sampled: the offset moves it by a little.
            factor = [(n + OFFSET) / TRAINED_GRID for n in self.grid_hw]
            trained = functional.interpolate(trained, scale_factor=factor, mode="bicubic")
        self.positions.copy_(torch.cat([self.pos_embed[:, :1], trained.flatten(2).transpose(1, 2)], 1))

    def fuse(self) -> None:
        """Make the network quicker, with the same output: for inference only."""
        for block in self.blocks:
            block.fuse()

    def randomise(self) -> None:
        """Random weights as the training of a vision transformer begins with."""
        for parameter in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
