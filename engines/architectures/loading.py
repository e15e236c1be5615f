"""Puts weights into a network: those of a checkpoint, which must fit exactly, or random ones that behave."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from engines.architectures import Architecture, Size
from engines.architectures.blocks import Conv
from engines.base import EngineError
from engines.checkpoint import Checkpoint

CLASS_BIAS = re.compile(r"model\.\d+\.(one2one_)?cv3\.0\.2\.bias")
COUNTER = ".num_batches_tracked"
SHOWN = 3
ACTIVATIONS = {"SiLU": nn.SiLU, "Identity": nn.Identity}


def load(architecture: Architecture, size_wh: Size, checkpoint: Checkpoint | None, seed: int) -> nn.Module:
    """See `engines.architectures.make`. Leaves the random numbers of others as they are."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs' numbers as well
        network = _random(architecture, size_wh) if checkpoint is None else _trained(architecture, size_wh, checkpoint)
        network.fuse()
    ready: nn.Module = network.eval().requires_grad_(False)
    return ready


def _trained(architecture: Architecture, size_wh: Size, checkpoint: Checkpoint) -> Any:
    classes = architecture.class_count or 0
    for name, tensor in checkpoint.state.items():
        if architecture.kind == "detector" and CLASS_BIAS.fullmatch(name) and tensor.numel():
            classes = tensor.numel()
            break
    network = architecture.build(size_wh, classes)
    state = {name: tensor for name, tensor in checkpoint.state.items() if not name.endswith(COUNTER)}
    if any(".bn." in name for name in network.state_dict()) and not any(".bn." in name for name in state):
        network.fuse()  # a file that was written after fusing
    wanted = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith(COUNTER)}
    if problem := _mismatch(wanted, state):
        raise EngineError(f"the checkpoint does not belong to {architecture.name}: {problem}")
    network.load_state_dict(state, strict=False)
    _activate(architecture.name, network, checkpoint)
    return network


def _random(architecture: Architecture, size_wh: Size) -> Any:
    network = architecture.build(size_wh, architecture.class_count or 0).eval()
    network.calibrate(_noise(size_wh, 2) if architecture.multiple_of == 14 else _noise((192, 192), 24))
    return network


def _noise(size_wh: Size, count: int) -> Tensor:
    """Images (count, 3, h, w), 0..1, smooth and rough, pale and harsh: photographs have as much at each scale."""
    w, h = size_wh

    def some(low: float, high: float) -> Tensor:
        return torch.empty(count, 1, 1, 1).uniform_(low, high)

    images, rougher, colour = torch.zeros(count, 3, h, w), some(-0.6, 0.6), some(0, 0.6)
    for cells in (2, 4, 8, 16, 32, 64, 128, 256):
        spots = torch.randn(count, 1, cells, cells) + colour * torch.randn(count, 3, cells, cells)
        images += nn.functional.interpolate(spots, (h, w), mode="bilinear", align_corners=False) * cells**rougher
    return (images / images.std((1, 2, 3), keepdim=True) * some(0.05, 0.35) + some(0.2, 0.8)).clamp(0, 1)


def _mismatch(wanted: dict[str, Tensor], state: dict[str, Tensor]) -> str:
    """What keeps `state` from being `wanted`, or nothing."""
    shapes = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    parts = [
        _some("it lacks {}", [name for name in wanted if name not in state]),
        _some("it has {}, which the network does not", [name for name in state if name not in wanted]),
        _some("{}", shapes),
    ]
    problem = "; ".join(part for part in parts if part)
    return f"{problem}; give the file of this network, or set `architecture` to that of the file" if problem else ""


def _some(text: str, items: list[str]) -> str:
    if not items:
        return ""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return text.format(", ".join(items[:SHOWN]) + more)


def _activate(name: str, network: nn.Module, checkpoint: Checkpoint) -> None:
    """Use the activations of the file, where it knows them: networks with the same tensors differ in them.

    YOLO11 as published has a SiLU in its pyramid pooling; what newer versions of its program train further has none.
    """
    for place, module in _convolutions(network):
        found = checkpoint.activations.get(place)
        if found is None:
            continue
        if found not in ACTIVATIONS:
            raise EngineError(
                f"the checkpoint does not belong to {name}: {place} has the activation {found}; expected "
                f"{' or '.join(ACTIVATIONS)}, so train it without another activation"
            )
        module.act = ACTIVATIONS[found]()


def _convolutions(network: nn.Module) -> Iterable[tuple[str, Conv]]:
    return ((name, module) for name, module in network.named_modules() if isinstance(module, Conv))
