"""Finds the first layer of an ONNX model that a backend computes otherwise than a reference. Needs the package `onnx`.

The intermediate tensors become outputs, some at a time, and both engines run the same file on the same input. A tensor
that is an output cannot be fused away, so a difference that only a fusion makes does not show here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from engines.base import Array, Engine, EngineError, ModelSpec, Weights

GROUP = 64
"""How many tensors become outputs at a time: all at once would keep all of them in memory."""
FLOATS = (1, 10, 11, 16)
"""TensorProto.DataType: float, float16, double, bfloat16."""
TINY = 1e-20


@dataclass(frozen=True, slots=True)
class Layer:
    """One tensor, computed twice."""

    index: int
    """Place of its node in the graph."""
    name: str
    op_type: str
    """Kind of the node that computes it."""
    relative_mse: float
    """Mean square of the difference over the mean square of the reference; inf where one is not finite."""


def compare(
    path: Path,
    engine: Engine,
    reference: Engine,
    inputs: Sequence[Array],
    *,
    reference_path: Path | None = None,
    group: int = GROUP,
    progress: Callable[[float], None] = lambda _: None,
) -> list[Layer]:
    """All floating-point layers in the order of the graph.

    `reference_path` is a second file with tensors of the same names; the default is `path`. Raises EngineError where a
    file is no ONNX model, or one of the engines cannot load it.
    """
    ours, theirs = _Graph(path), _Graph(reference_path or path)
    shared = [(index, name, op) for index, name, op in ours.layers() if name in theirs.types]
    if not shared:
        raise EngineError(f"{path.name} and {theirs.path.name} have no tensor in common; compare the same model")
    found: list[Layer] = []
    with TemporaryDirectory() as folder:
        for at in range(0, len(shared), group):
            part = shared[at : at + group]
            names = [name for _, name, _ in part]
            a = _run(engine, ours.with_outputs(names, Path(folder) / "model.onnx"), inputs, names)
            b = _run(reference, theirs.with_outputs(names, Path(folder) / "reference.onnx"), inputs, names)
            found += [Layer(index, name, op, relative_mse(a[name], b[name])) for index, name, op in part]
            progress(min(1.0, (at + group) / len(shared)))
    return found


def first_over(layers: Sequence[Layer], threshold: float) -> Layer | None:
    """The first layer that differs by more; None where none does."""
    return next((layer for layer in layers if not layer.relative_mse <= threshold), None)


def relative_mse(values: Array, reference: Array) -> float:
    """Mean square of the difference over the mean square of the reference; inf where it cannot be told."""
    if values.shape != reference.shape:
        return inf
    a, b = values.astype(np.float64), reference.astype(np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        # What is infinite in both, as masks of attention are, is no difference.
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        a, b = np.where(same, 0.0, a), np.where(same, 0.0, b)
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return inf
    return float(np.mean((a - b) ** 2) / max(float(np.mean(b**2)), TINY)) if a.size else 0.0


class _Graph:
    """An ONNX file, and the types of its tensors."""

    def __init__(self, path: Path) -> None:
        onnx = _onnx()
        self.path = path
        try:
            self.model = onnx.shape_inference.infer_shapes(onnx.load(path))
        except Exception as e:
            raise EngineError(f"{path} cannot be read as an ONNX model: {e}; layers are compared in ONNX files") from e
        infos = [*self.model.graph.value_info, *self.model.graph.output]
        self.types: Mapping[str, Any] = {info.name: info for info in infos if info.type.tensor_type.elem_type in FLOATS}

    def layers(self) -> Iterator[tuple[int, str, str]]:
        """Place, name and kind of every floating-point tensor that depends on an input."""
        fixed = {tensor.name for tensor in self.model.graph.initializer}
        live = {tensor.name for tensor in self.model.graph.input} - fixed
        for index, node in enumerate(self.model.graph.node):
            if not any(name in live for name in node.input):
                continue
            live.update(node.output)
            yield from ((index, name, node.op_type) for name in node.output if name in self.types)

    def with_outputs(self, names: Sequence[str], path: Path) -> Path:
        """Write the model with these tensors as its outputs to `path`."""
        onnx = _onnx()
        changed = onnx.ModelProto()
        changed.CopyFrom(self.model)
        del changed.graph.output[:]
        changed.graph.output.extend(self.types[name] for name in names)
        onnx.save(changed, path)
        return path


def _run(engine: Engine, path: Path, inputs: Sequence[Array], names: Sequence[str]) -> dict[str, Array]:
    onnx = _onnx()
    graph = onnx.load(path, load_external_data=False).graph
    fixed = {tensor.name for tensor in graph.initializer}
    shapes = {t.name: a.shape for t, a in zip((t for t in graph.input if t.name not in fixed), inputs, strict=True)}
    model = engine.load(ModelSpec("layers", Weights(str(path)), shapes))
    try:
        outputs = model(*(a.astype(t.dtype, copy=False) for a, t in zip(inputs, model.inputs, strict=True)))
        by_name = dict(zip((tensor.name for tensor in model.outputs), outputs, strict=True))
        # A runtime may give outputs names of its own; their order is that of the file.
        return by_name if set(names) <= set(by_name) else dict(zip(names, outputs, strict=True))
    finally:
        model.close()


def _onnx() -> Any:
    try:
        import onnx
        import onnx.shape_inference
    except ImportError as e:
        raise EngineError(f"comparing layers needs the package onnx: {e}; run: pip install onnx") from e
    return onnx
