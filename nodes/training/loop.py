"""One loop for all training: a budget of epochs or minutes, a rate that falls with it, an average, checkpoints."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

CHECKPOINT_S = 60.0
WARM_UP_STEPS = 150
AVERAGE = 0.998


@dataclass(frozen=True, slots=True)
class Budget:
    """When training ends: after `epochs`, or `minutes` of wall-clock time if that is sooner."""

    epochs: int
    minutes: float | None
    batch: int
    rate: float
    """Highest learning rate of AdamW."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What came of a training, over all processes that worked on it."""

    network: torch.nn.Module
    steps: int
    seconds: float


Report = Callable[[float, float, float], None]
"""Told how much of the budget is used (0..1), the mean loss, and seconds a step."""


def fit(
    model: torch.nn.Module,
    batches: Callable[[int], Iterator[Any]],
    loss_of: Callable[[torch.nn.Module, Any], torch.Tensor],
    *,
    budget: Budget,
    steps_per_epoch: int,
    checkpoint: Path,
    report: Report,
) -> Trained:
    """Train `model`; the moving average of its weights comes back. Goes on from `checkpoint` where there is one.

    Args:
        batches: Gives the batches of an epoch, endlessly many or `steps_per_epoch`.
        loss_of: The loss of a batch.
    """
    import torch

    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=budget.rate, betas=(0.9, 0.999))
    average = copy.deepcopy(model).eval()
    step, used_s = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=next(model.parameters()).device)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, used_s = int(state["step"]), float(state["used_s"])
    total = budget.epochs * steps_per_epoch
    limit_s = math.inf if budget.minutes is None else budget.minutes * 60
    model.train()
    started = saved = monotonic()
    smooth = math.nan
    while (share := max(step / total, (used_s + monotonic() - started) / limit_s)) < 1:
        for batch in batches(step // steps_per_epoch):
            share = max(step / total, (used_s + monotonic() - started) / limit_s)
            if share >= 1:
                break
            falling = 0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2
            rate = budget.rate * min(1.0, (step + 1) / WARM_UP_STEPS) * falling
            for group in optimizer.param_groups:
                group["lr"] = rate
            begun = monotonic()
            loss = loss_of(model, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            _blend(average, model, min(AVERAGE, (1 + step) / (10 + step)))
            step += 1
            value = float(loss.detach())
            if not math.isfinite(value):
                raise FloatingPointError(f"the loss became {value} at step {step}; try a smaller rate")
            smooth = value if math.isnan(smooth) else 0.98 * smooth + 0.02 * value
            report(share, smooth, monotonic() - begun)
            if monotonic() - saved > CHECKPOINT_S:
                saved = monotonic()
                _save(checkpoint, model, average, optimizer, step=step, used_s=used_s + saved - started)
    used_s += monotonic() - started
    _save(checkpoint, model, average, optimizer, step=step, used_s=used_s)
    return Trained(average, step, used_s)


def _blend(average: torch.nn.Module, model: torch.nn.Module, keep: float) -> None:
    import torch

    with torch.no_grad():
        for old, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - keep)
            else:
                old.copy_(new)


def _save(
    path: Path, model: torch.nn.Module, average: torch.nn.Module, optimizer: Any, *, step: int, used_s: float
) -> None:
    import torch

    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    state = {
        "model": model.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "used_s": used_s,
    }
    torch.save(state, temporary)
    temporary.replace(path)
