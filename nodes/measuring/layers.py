"""Which layer of a model under test differs from the reference first, and which most."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

from engines.base import EngineError
from engines.layers import Layer, compare, first_over
from graph.errors import CauceError
from nodes.measuring.scenarios import Bench
from nodes.measuring.subject import Subject, told
from nodes.messages import Frame


def differing(
    subject: Subject, reference: Subject, frame: Frame, threshold: float, progress: Callable[[float, str], None]
) -> dict[str, Any]:
    """First and worst layer over `threshold`, and all of them, fed with what the node makes of `frame`."""
    ours, theirs = (_onnx_file(s) for s in (subject, reference))
    fed = Bench(reference, [frame], progress).inputs(1)
    who = f"command.layers: {subject.name}"
    # Each group is loaded twice: that is not worth a line each.
    log, level = logging.getLogger("engines"), logging.getLogger("engines").level
    log.setLevel(logging.WARNING)
    try:
        layers = compare(
            ours, subject.engine.engine, reference.engine.engine, fed,
            reference_path=theirs, progress=lambda share: progress(share, "comparing layers"),
        )  # fmt: skip
    except EngineError as e:
        raise CauceError(
            f"{who}: {e}; both backends must load the ONNX file: try command.reference=onnx, or layers=false"
        ) from e
    finally:
        log.setLevel(level)
    first = first_over(layers, threshold)
    worst = max(layers, key=lambda layer: layer.relative_mse)
    return {
        "threshold": threshold,
        "count": len(layers),
        "first": _plain(first) if first else None,
        "worst": _plain(worst),
        "all": [_plain(layer) for layer in layers],
    }


def _onnx_file(subject: Subject) -> Path:
    """The weights themselves, else what was made from them: an engine may have compiled the one into the other."""
    with told(subject.name):
        paths = [subject.weights_path(), subject.model.placement.path]
    for path in paths:
        if path is not None and path.suffix == ".onnx":
            return path
    at = subject.model.placement
    raise CauceError(
        f"command.layers: {subject.name} on {at.backend} was loaded from {at.path or paths[0]}, which is no ONNX file; "
        "layers are compared in ONNX files: choose such weights, command.reference=onnx, or command.layers=false"
    )


def _plain(layer: Layer) -> dict[str, Any]:
    """For JSON, which has no infinity: None is a value that is not finite."""
    mse = layer.relative_mse if isfinite(layer.relative_mse) else None
    return {"index": layer.index, "name": layer.name, "op_type": layer.op_type, "relative_mse": mse}
