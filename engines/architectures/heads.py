"""Heads of the YOLO networks: from three feature maps to boxes, or to a depth map.

Attribute names are those of the official weight files. All compute their last steps in float32 and give float32: a
position of 600 pixels in float16 is rounded to half a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from engines.architectures.blocks import Conv

STRIDES = (8, 16, 32)
BINS = 16
"""A side of a box is a distribution over this many distances, in cells (Generalized Focal Loss, arXiv:2006.04388)."""
BEST = 300
"""Rows that the head without NMS gives."""
PASSING = 0.001
"""Share of the anchors that pass the confidence of 0.25 on noise, in a network with random weights."""


class Bins(nn.Module):
    """Distances from distributions: the mean of 0..15, weighted by a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(BINS, 1, 1, bias=False)
        self.conv.weight.data = torch.arange(BINS, dtype=torch.float32).reshape(1, BINS, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 64, anchors) to (n, 4, anchors)."""
        shares = x.reshape(x.shape[0], 4, BINS, x.shape[2]).softmax(2)
        return (shares * self.conv.weight.reshape(1, 1, BINS, 1).to(x.dtype)).sum(2)


class Detect(nn.Module):
    """Boxes and class scores for each cell of three feature maps, of `channels` each.

    With `end_to_end` there are two branches: one trained to find each object once, whose best rows are the output, and
    one that finds it many times, which only training uses.
    """

    anchors: Tensor
    strides: Tensor

    def __init__(
        self,
        channels: Sequence[int],
        classes: int,
        *,
        size_wh: tuple[int, int],
        end_to_end: bool = False,
        light: bool = True,
    ) -> None:
        super().__init__()
        self.end_to_end, self.classes = end_to_end, classes
        sides = 4 if end_to_end else 4 * BINS
        boxes, scores = max(16, channels[0] // 4, sides), max(channels[0], min(classes, 100))

        def box_branch() -> nn.ModuleList:
            return nn.ModuleList(_branch(c, boxes, sides) for c in channels)

        def class_branch() -> nn.ModuleList:
            return nn.ModuleList((_light_branch if light else _branch)(c, scores, classes) for c in channels)

        self.cv2, self.cv3 = box_branch(), class_branch()
        if end_to_end:
            self.one2one_cv2, self.one2one_cv3 = box_branch(), class_branch()
        else:
            self.dfl = Bins()
        anchors, strides = grid(size_wh)
        self.rows = min(BEST, anchors.shape[1])
        self.register_buffer("anchors", anchors, persistent=False)
        self.register_buffer("strides", strides, persistent=False)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """(n, 4 + classes, anchors) of x, y, w, h, scores; `end_to_end`: (n, 300, 6), best first, of x1 y1 x2 y2."""
        lt, rb, scores = self.corners(maps)
        if not self.end_to_end:
            return torch.cat([(lt + rb) / 2, rb - lt, scores], 1)
        return best(torch.cat([lt, rb], 1), scores, self.rows)

    def corners(self, maps: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Left top (n, 2, anchors) and right bottom in input pixels, and scores (n, classes, anchors) 0..1."""
        boxes, logits = self.raw(maps)
        sides = boxes.float() if self.end_to_end else self.dfl(boxes.float())
        lt, rb = sides.chunk(2, 1)
        anchors, strides = self.anchors.float(), self.strides.float()
        return (anchors - lt) * strides, (anchors + rb) * strides, logits.float().sigmoid()

    def raw(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Sides of the boxes (n, 4 or 64, anchors), and class logits (n, classes, anchors), of the branch in use."""
        cv2, cv3 = (self.one2one_cv2, self.one2one_cv3) if self.end_to_end else (self.cv2, self.cv3)
        boxes = torch.cat([branch(x).flatten(2) for branch, x in zip(cv2, maps, strict=True)], 2)
        logits = torch.cat([branch(x).flatten(2) for branch, x in zip(cv3, maps, strict=True)], 2)
        return boxes, logits

    def fuse(self) -> None:
        """Drop the branch that only training uses."""
        if self.end_to_end and hasattr(self, "cv2"):
            del self.cv2, self.cv3

    def calibrate(self, maps: list[Tensor]) -> None:
        """Make the class logits of random weights such that a few anchors of any image pass a confidence of 0.25.

        Plain random weights let all anchors of an image pass, or none: features differ more between images than
        within one. So all classes look along one direction, in which the images of `maps` differ as little as can be.
        """
        for branch, x in zip(self.one2one_cv3 if self.end_to_end else self.cv3, maps, strict=True):
            features = branch[:-1](x).flatten(2)
            last = branch[-1]
            means = features.mean(2)
            within = (features - means[..., None]).transpose(0, 1).flatten(1)
            _, _, between = torch.linalg.svd(means - means.mean(0), full_matrices=False)
            keep = torch.eye(len(within)) - between.T @ between
            direction = torch.linalg.eigh(keep @ within.cov() @ keep).eigenvectors[:, -1]
            direction = direction / (direction @ within).std()
            rows = direction + 0.1 * direction.std() * torch.randn(self.classes, len(within))
            last.weight.copy_(rows[..., None, None])
            last.bias.zero_()
            logits = last(features[..., None]).amax(1).flatten()
            last.bias.fill_(math.log(0.25 / 0.75) - float(logits.quantile(1 - PASSING)))


def best(boxes: Tensor, scores: Tensor, count: int) -> Tensor:
    """The best rows (n, count, 6) of boxes (n, 4, anchors) and scores (n, classes, anchors): box, score, class.

    An anchor may be there several times, with different classes. First the best anchors, then the best of all their
    scores: no other anchor can be among these, and there is far less to sort.
    """
    classes = scores.shape[1]
    anchor = scores.amax(1).topk(count).indices
    rows = scores.transpose(1, 2).gather(1, anchor[..., None].expand(-1, -1, classes)).flatten(1)
    score, place = rows.topk(count)
    anchor = anchor.gather(1, torch.div(place, classes, rounding_mode="floor"))
    box = boxes.transpose(1, 2).gather(1, anchor[..., None].expand(-1, -1, 4))
    return torch.cat([box, score[..., None], (place % classes)[..., None].to(box.dtype)], 2)


def grid(size_wh: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Centres (2, anchors) of all cells, x and y in cells (exact in float16), and their strides (1, anchors)."""
    centres, strides = [], []
    for stride in STRIDES:
        w, h = size_wh[0] // stride, size_wh[1] // stride
        y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
        centres.append(torch.stack([x.flatten(), y.flatten()]))
        strides.append(torch.full((1, w * h), float(stride)))
    return torch.cat(centres, 1), torch.cat(strides, 1)


class Depth(nn.Module):
    """Metres from three feature maps of `channels` each: coarse ones are enlarged and added to finer ones."""

    cal_a: Tensor
    cal_b: Tensor

    def __init__(self, channels: Sequence[int], *, width: int = 256) -> None:
        super().__init__()
        half, quarter = width // 2, width // 4
        self.proj = nn.ModuleList(Conv(c, width) for c in channels)
        self.refine = nn.ModuleList(nn.Sequential(Conv(width, width, 3), Conv(width, width, 3)) for _ in channels[1:])
        self.head = nn.Sequential(
            *(Conv(width, half, 3), nn.ConvTranspose2d(half, half, 2, 2), Conv(half, quarter, 3)),
            nn.Conv2d(quarter, 1, 1),
        )
        self.register_buffer("cal_a", torch.ones(1))
        self.register_buffer("cal_b", torch.zeros(1))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """(n, h, w) of metres at the size of the network's input; `maps` begin at an eighth of it."""
        metres = torch.exp(self.cal_a.float() * self.raw(maps).float().clamp(-4, 5) + self.cal_b.float())
        return _enlarge(metres, 4).squeeze(1)

    def raw(self, maps: list[Tensor]) -> Tensor:
        """Logarithm of metres (n, 1, h / 4, w / 4), before calibration."""
        levels = [project(x) for project, x in zip(self.proj, maps, strict=True)]
        y = levels.pop()
        for refine in reversed(self.refine):
            y = refine(_enlarge(y, 2) + levels.pop())
        log_metres: Tensor = self.head(y)
        return log_metres

    def calibrate(self, maps: list[Tensor]) -> None:
        """Stretch and shift the output of random weights to some 2 to 12 metres on `maps`."""
        last, raw = self.head[-1], self.raw(maps)
        gain = 0.4 / raw.std().clamp(min=1e-6)
        last.weight.mul_(gain)
        last.bias.copy_(math.log(5) + (last.bias - raw.mean()) * gain)


def _enlarge(x: Tensor, factor: int) -> Tensor:
    # With corners aligned: that is how the official weights were trained.
    return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=True)


def _branch(c_in: int, hidden: int, c_out: int) -> nn.Module:
    return nn.Sequential(Conv(c_in, hidden, 3), Conv(hidden, hidden, 3), nn.Conv2d(hidden, c_out, 1))


def _light_branch(c_in: int, hidden: int, c_out: int) -> nn.Module:
    """As `_branch`, with each 3x3 convolution split into one within the channels and one across them."""
    return nn.Sequential(
        nn.Sequential(Conv(c_in, c_in, 3, groups=c_in), Conv(c_in, hidden)),
        nn.Sequential(Conv(hidden, hidden, 3, groups=hidden), Conv(hidden, hidden)),
        nn.Conv2d(hidden, c_out, 1),
    )
