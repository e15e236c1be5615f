"""Whether a model is right enough: its figures against the limits for its precision. Measures nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from nodes.measuring.agreement import AS_IS


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model may differ by from the reference; None: anything."""

    f1: float | None = None
    """Least F1 of the boxes."""
    map_loss: float | None = None
    """Most points of mAP50-95 (0..100) below the reference."""
    absrel: float | None = None
    """Most mean relative difference of depth, aligned unless it is in metres; and most that
    AbsRel against the truth may be above the reference's."""
    delta1: float | None = None
    """Least share of pixels whose depth is within a factor of 1.25 of the reference's."""
    non_finite: int | None = 0
    """Most values of the outputs that are NaN or infinite."""

    @classmethod
    def problems(cls, value: Mapping[str, Any]) -> Iterator[str]:
        """Mistakes in `value` as it stands in YAML, each "key: what is wrong"."""
        known = [f.name for f in fields(cls)]
        for key, number in value.items():
            if key not in known:
                yield f"{key}: there is no such limit; there is: {', '.join(known)}"
            elif number is not None and (isinstance(number, bool) or not isinstance(number, int | float)):
                yield f"{key}: is {number!r}; expected a number, or null for no limit"


def violations(figures: Mapping[str, Any], limits: Limits) -> list[str]:
    """Every limit that the figures of one model are beyond, in words."""
    told = list(_failures(figures, limits))
    if figures["kind"] == "detector":
        told += _detector(figures, limits)
    else:
        told += _depth(figures, limits)
    return told


def depth_difference(figures: Mapping[str, Any]) -> float | None:
    """AbsRel to the reference: of relative depth, which has no unit, after alignment; of metres, which are metres, not.

    None where it was not compared.
    """
    against = figures.get("depth")
    return None if not against else float(against[AS_IS if figures["depth_kind"] == "metres" else "AbsRel"])


def _failures(figures: Mapping[str, Any], limits: Limits) -> Iterator[str]:
    count = figures["non_finite"]
    if limits.non_finite is not None and count > limits.non_finite:
        yield f"{count} values of the outputs are not finite, at most {limits.non_finite} may be"
    if (failed := figures["failed_frames"]) and not (count and limits.non_finite is None):
        yield f"{failed['count']} of {figures['frames']['count']} frames failed: {failed['first']}"


def _detector(figures: Mapping[str, Any], limits: Limits) -> Iterator[str]:
    f1, scores = figures["boxes"]["f1"], figures.get("scores")
    if limits.f1 is not None and f1 is None:
        yield "neither the model nor the reference finds anything, so nothing was compared; give frames with objects"
    elif limits.f1 is not None and f1 < limits.f1:
        yield f"box F1 against {figures['reference']['backend']} is {f1:.4f}, at least {limits.f1:g} is wanted"
    if scores and limits.map_loss is not None and scores["loss"] > limits.map_loss:
        model, reference = (100 * scores[k]["mAP50-95"] for k in ("model", "reference"))
        yield (
            f"mAP50-95 is {model:.1f}, {scores['loss']:.2f} points below the reference's {reference:.1f}; "
            f"at most {limits.map_loss:g} may be lost"
        )


def _depth(figures: Mapping[str, Any], limits: Limits) -> Iterator[str]:
    against, truth = figures["depth"], figures.get("depth_truth")
    if against is None:
        yield "no depth of the model and the reference could be compared"
        return
    differs = depth_difference(figures)
    if limits.absrel is not None and differs is not None and differs > limits.absrel:
        yield f"depth differs by {differs:.2%} from the reference's, at most {limits.absrel:.2%} may be"
    if limits.delta1 is not None and against["delta1"] < limits.delta1:
        yield f"delta1 against the reference is {against['delta1']:.4f}, at least {limits.delta1:g} is wanted"
    if truth and limits.absrel is not None and truth["loss"] > limits.absrel:
        yield (
            f"AbsRel against the truth is {truth['model']['AbsRel']:.2%}, {truth['loss']:.2%} above the reference's; "
            f"at most {limits.absrel:.2%} may be"
        )
