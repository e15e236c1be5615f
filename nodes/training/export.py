"""From a torch network to a small, checked ONNX file: slimmed, its weights stored as fp16, computed in fp32."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

WORTH_IT = 512
"""Weights with fewer numbers than this stay as they are."""
MOST_DIFFERENT = 2e-2
"""How far the file's output may be from the network's, relative to its largest value."""


def export(
    network: torch.nn.Module, shape: tuple[int, ...], path: Path, *, output: str, metadata: Mapping[str, str]
) -> Path:
    """Write `network`, for inputs of `shape`, to `path`; the batch stays free.

    RuntimeError where the file's outputs, compared before that, differ too much from the network's.
    """
    import onnx
    import torch

    from engines.export import PICTURES, first, traced

    example = torch.rand((PICTURES, *shape[1:]), generator=torch.Generator().manual_seed(0))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with torch.no_grad():
            expected = first(network(example))
        model = traced(network, example, temporary, output=output, metadata=metadata)
        halve(model)
        onnx.checker.check_model(model)
        onnx.save(model, str(temporary))
        _compare(temporary, example.numpy(), expected.numpy(), path.name)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def halve(model: Any) -> None:
    """Store large fp32 weights of an onnx.ModelProto as fp16, with a Cast that a runtime does once, when it loads."""
    from onnx import TensorProto, helper, numpy_helper

    graph, casts = model.graph, []
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT or int(np.prod(weight.dims)) < WORTH_IT:
            continue
        name, values = weight.name, numpy_helper.to_array(weight)
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_fp16"))
        casts.append(helper.make_node("Cast", [f"{name}_fp16"], [name], name=f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _compare(path: Path, example: Any, expected: Any, name: str) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    together, alone = (session.run(None, {feed: images})[0] for images in (example, example[:1]))
    most = max(np.abs(together - expected).max(), np.abs(alone - expected[:1]).max())
    difference = float(most / max(float(np.abs(expected).max()), 1e-9))
    if not difference < MOST_DIFFERENT:
        raise RuntimeError(
            f"{name}: the file's output differs from the network's by {difference:.1%} of its largest value"
        )
