"""An ONNX file as a PyTorch module: the reference that every other runtime is compared with, and a backend of its own.

What depends on shapes only is computed once, for the shapes at hand; what is left is a straight line of PyTorch calls,
which can be compiled and captured. Imported with PyTorch only; needs the package onnx.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engines.base import EngineError, Tensor
from engines.convert import import_onnx
from engines.torch.ops import HOW, OPERATORS

Shapes = tuple[tuple[int, ...], ...]
FLOATS = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Node:
    """One operator of the file."""

    name: str
    operator: str
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    """Names of values; "" is an input that is left out."""
    outputs: tuple[str, ...]


class OnnxGraph:
    """The contents of an ONNX file. EngineError where it holds what PyTorch is not told how to do."""

    def __init__(self, path: Path) -> None:
        onnx = import_onnx()
        try:
            model = onnx.load(str(path))
        except Exception as e:
            raise EngineError(f"{path} cannot be read as an ONNX model: {e}") from e
        graph = model.graph
        opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
        unknown = sorted({n.op_type for n in graph.node if n.domain not in ("", "ai.onnx") or not _is_known(n.op_type)})
        if unknown:
            raise EngineError(
                f"{path.name} holds operators that the torch backend does not have: {', '.join(unknown)}; "
                "choose backend=onnx"
            )
        self.constants = {w.name: _tensor(w) for w in graph.initializer}
        self.nodes: list[Node] = []
        for number, node in enumerate(graph.node):
            attributes = {a.name: _attribute(onnx, a) for a in node.attribute}
            if node.op_type == "Constant":
                self.constants[node.output[0]] = _constant(attributes)
                continue
            attributes |= {"opset": opset, "output_count": len(node.output)}
            name = node.name or f"{node.op_type}_{number}"
            self.nodes.append(Node(name, node.op_type, attributes, tuple(node.input), tuple(node.output)))
        self.inputs = [_described(onnx, v) for v in graph.input if v.name not in self.constants]
        self.outputs = [_described(onnx, v) for v in graph.output]

    def program(self, shapes: Shapes, dtype: torch.dtype = torch.float32) -> Program:
        """What is to be computed for inputs of `shapes`, in `dtype` wherever the file says float."""
        zeros = [torch.zeros(s, dtype=_torch_type(t)) for s, t in zip(shapes, self.inputs, strict=True)]
        values: dict[str, Any] = dict(self.constants)
        fixed = {*self.constants, ""}
        values[""] = None
        values |= {t.name: x for t, x in zip(self.inputs, zeros, strict=True)}
        line: list[Node] = []
        with torch.inference_mode():
            for node in self.nodes:
                results = _operate(node, values)
                values |= zip(node.outputs, results, strict=False)
                if node.operator == "Shape" or fixed.issuperset(node.inputs):
                    fixed.update(node.outputs)
                else:
                    line.append(node)
        return Program(line, values, fixed, [t.name for t in self.inputs], [t.name for t in self.outputs], dtype)


class Program(torch.nn.Module):
    """A straight line of PyTorch calls, for inputs of one shape."""

    def __init__(
        self,
        line: Sequence[Node],
        values: Mapping[str, Any],
        fixed: set[str],
        inputs: Sequence[str],
        outputs: Sequence[str],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        slots: dict[str, int] = {}
        self._base: list[torch.Tensor | None] = []

        def slot(name: str) -> int:
            if name not in slots:
                slots[name] = len(self._base)
                value = values[name] if name in fixed else None
                self._base.append(_as(value, dtype) if isinstance(value, torch.Tensor) else None)
            return slots[name]

        self._inputs = [slot(name) for name in inputs]
        self._steps: list[tuple[Any, dict[str, Any], list[tuple[bool, Any]], list[int]]] = []
        for node in line:
            how = HOW[node.operator]
            given = [
                (False, _plain(values[name])) if i in how or not name else (True, slot(name))
                for i, name in enumerate(node.inputs)
            ]
            to = node.attributes.get("to")
            attributes = dict(node.attributes) | ({"to": dtype} if to in FLOATS else {})
            results = [slot(name) if name else -1 for name in node.outputs]
            self._steps.append((OPERATORS[node.operator], attributes, given, results))
        self._outputs = [slot(name) for name in outputs]
        self._last = _last_uses(
            self._steps, keep={*self._outputs, *(i for i, v in enumerate(self._base) if v is not None)}
        )

    def place(self, device: str, *, channels_last: bool = False) -> Program:
        """Move the constants to `device`; with `channels_last`, those of images in the layout that suits it."""
        for i, value in enumerate(self._base):
            if value is not None:
                value = value.to(device)
                four = channels_last and value.ndim == 4 and value.is_floating_point()
                self._base[i] = value.contiguous(memory_format=torch.channels_last) if four else value
        return self

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The outputs for `inputs` of the shapes that the program was made for."""
        values: list[Any] = self._base.copy()
        for number, value in zip(self._inputs, inputs, strict=True):
            values[number] = value
        for (operate, attributes, given, results), done in zip(self._steps, self._last, strict=True):
            out = operate(attributes, *[values[x] if is_slot else x for is_slot, x in given])
            if isinstance(out, tuple | list):
                for number, value in zip(results, out, strict=False):
                    values[number] = value
            else:
                values[results[0]] = out
            for number in done:
                values[number] = None
        return tuple(values[number] for number in self._outputs)


def _operate(node: Node, values: Mapping[str, Any]) -> Sequence[Any]:
    how = HOW[node.operator]
    given = [_plain(values[name]) if i in how else values[name] for i, name in enumerate(node.inputs)]
    try:
        out = OPERATORS[node.operator](node.attributes, *given)
    except Exception as e:
        raise EngineError(f"the torch backend cannot do {node.operator} ({node.name}): {e}; choose backend=onnx") from e
    return out if isinstance(out, tuple | list) else (out,)


def _last_uses(steps: Sequence[tuple[Any, Any, Any, list[int]]], keep: set[int]) -> list[list[int]]:
    """Slots that nobody reads any more, after each step: their memory goes back at once."""
    done: list[list[int]] = [[] for _ in steps]
    seen = set(keep)
    for number in reversed(range(len(steps))):
        _, _, given, results = steps[number]
        for at in {*(x for is_slot, x in given if is_slot), *(r for r in results if r >= 0)} - seen:
            seen.add(at)
            done[number].append(at)
    return done


def _is_known(operator: str) -> bool:
    return operator in OPERATORS or operator == "Constant"


def _plain(value: Any) -> Any:
    """A tensor as a list, or a number where it has no dimension."""
    return value.tolist() if isinstance(value, torch.Tensor) else value


def _as(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return value.to(dtype) if value.dtype in FLOATS else value


def _tensor(weight: Any) -> torch.Tensor:
    from onnx import numpy_helper

    array = numpy_helper.to_array(weight)
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float32)
    return torch.from_numpy(np.array(array))


def _attribute(onnx: Any, attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == "to":
        return _torch_types()[onnx.helper.tensor_dtype_to_np_dtype(value).name]
    if isinstance(value, onnx.TensorProto):
        return _tensor(value)
    return list(value) if attribute.type in (attribute.INTS, attribute.FLOATS) else value


def _constant(attributes: Mapping[str, Any]) -> torch.Tensor:
    ((name, value),) = attributes.items()
    if isinstance(value, torch.Tensor):
        return value
    return torch.tensor(value, dtype=torch.float32 if "float" in name else torch.int64)


def _torch_types() -> dict[str, torch.dtype]:
    names = ("float32", "float64", "float16", "bfloat16", "int8", "uint8", "int16", "int32", "int64", "bool")
    return {name: getattr(torch, name) for name in names}


def _torch_type(tensor: Tensor) -> torch.dtype:
    return _torch_types()[tensor.dtype.name]


def _described(onnx: Any, value: Any) -> Tensor:
    kind = value.type.tensor_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return Tensor(value.name, tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim), dtype)
