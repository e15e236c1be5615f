"""The graph of an ONNX file: its steps, its ends, and the element type of every value, read without the `onnx` package.

Types are those that the file states, or follow from the operators; a value whose type is not known has none. Does not
look into the bodies of If and Loop. Field numbers: onnx/onnx.proto, ModelProto and below.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engines.protobuf import fields, message, messages, numbers, text

FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16, DOUBLE, BFLOAT16 = 1, 2, 3, 6, 7, 9, 10, 11, 16
FLOAT8 = (17, 18, 19, 20)
"""TensorProto.DataType."""

FIXED = {
    **dict.fromkeys(("Shape", "Size", "NonZero", "ArgMax", "ArgMin", "NonMaxSuppression"), INT64),
    **dict.fromkeys(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "And", "Or", "IsNaN"), BOOL),
}
"""Operators whose result has one type, whatever goes in."""
TYPED_BY = {"Where": 1, "OneHot": 2, "DequantizeLinear": 1, "CastLike": 1}
"""Number of the input that has the type of the result; of all others it is the first."""
TYPED_BY_ATTRIBUTE = ("Cast", "Constant", "ConstantOfShape", "EyeLike", "RandomNormalLike", "RandomUniformLike")
UNKNOWN = frozenset(("If", "Loop", "Scan", "DynamicQuantizeLinear", "RandomNormal", "RandomUniform", "SequenceAt"))


@dataclass(frozen=True, slots=True)
class Step:
    """One node of the graph."""

    op: str
    domain: str
    """Empty for the standard operators."""
    inputs: tuple[str, ...]
    """Names of values; empty for one that is left out."""
    outputs: tuple[str, ...]
    to: int | None
    """The type that a Cast, or a constant, gives."""


@dataclass(frozen=True, slots=True)
class Graph:
    """What was read."""

    steps: tuple[Step, ...]
    inputs: Mapping[str, tuple[int | None, ...]]
    """Shapes of what is fed, by name."""
    types: Mapping[str, int]
    """Element types by name of value, as far as known."""
    nonzero: frozenset[str]
    """Names of the small 8-bit and 32-bit initializers that are not all zeros, such as zero points."""

    def type_of(self, name: str) -> int | None:
        """Element type of a value; None where it is not known."""
        return self.types.get(name)


def read(path: Path) -> Graph:
    """Read the file at `path`; ValueError where it is no ONNX model, or breaks off."""
    with open(path, "rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    graphs = list(messages(data, 7))
    if len(graphs) != 1:
        raise ValueError("it holds no graph")
    graph = graphs[0]
    steps = tuple(map(_step, messages(graph, 1)))
    initializers = {text(tensor, 8): tensor for tensor in messages(graph, 5)}
    ends = dict(_value(info) for number in (11, 12, 13) for info in messages(graph, number))
    types = {name: kind for name, (kind, _) in ends.items() if kind}
    types |= {name: next(numbers(tensor, 2), 0) for name, tensor in initializers.items()}
    fed = [name for name, _ in map(_value, messages(graph, 11)) if name not in initializers]
    _spread(steps, types)
    nonzero = frozenset(name for name, tensor in initializers.items() if _is_small_nonzero(tensor))
    return Graph(steps, {name: ends[name][1] for name in fed}, types, nonzero)


def _step(node: memoryview) -> Step:
    names: dict[int, list[str]] = {1: [], 2: []}
    to, op = None, text(node, 4)
    for number, value in fields(node):
        if number in names and isinstance(value, memoryview):
            names[number].append(bytes(value).decode(errors="replace"))
        elif number == 5 and op in TYPED_BY_ATTRIBUTE:
            to = _type_in(message(value), to)
    if op == "ConstantOfShape" and to is None:
        to = FLOAT
    domain = text(node, 7)
    return Step(op, "" if domain == "ai.onnx" else domain, tuple(names[1]), tuple(names[2]), to)


def _type_in(attribute: memoryview, known: int | None) -> int | None:
    """The type in one attribute: `to` and `dtype` name it, `value` is a tensor of it, and so on."""
    name = text(attribute, 1)
    if name in ("to", "dtype"):
        return next(numbers(attribute, 3), known)
    if name == "value":
        return next((kind for tensor in messages(attribute, 5) for kind in numbers(tensor, 2)), known)
    return {"value_float": FLOAT, "value_floats": FLOAT, "value_int": INT64, "value_ints": INT64}.get(name, known)


def _value(info: memoryview) -> tuple[str, tuple[int, tuple[int | None, ...]]]:
    """ValueInfoProto: name, element type (0 = none), shape."""
    for kind in messages(info, 2):
        for tensor in messages(kind, 1):
            dims = [dim for shape in messages(tensor, 2) for dim in messages(shape, 1)]
            return text(info, 1), (next(numbers(tensor, 1), 0), tuple(map(_size, dims)))
    return text(info, 1), (0, ())


def _size(dim: memoryview) -> int | None:
    """A dimension; None where it is free: a name, nothing, or a negative number."""
    value = next(numbers(dim, 1), None)
    return value if value is not None and value < 1 << 63 else None


def _spread(steps: tuple[Step, ...], types: dict[str, int]) -> None:
    """Fill in the types that follow from the operators. Files are not always in order: until nothing is new."""
    known = -1
    while known != len(types):
        known = len(types)
        for step in steps:
            for number, name in enumerate(step.outputs):
                if name and name not in types and (kind := _result_type(step, number, types)):
                    types[name] = kind


def _result_type(step: Step, number: int, types: Mapping[str, int]) -> int | None:
    if step.to is not None:
        return step.to
    if step.op in UNKNOWN or step.domain:
        return None
    if step.op in FIXED:
        return FIXED[step.op]
    if step.op in ("TopK", "MaxPool") and number == 1:
        return INT64
    if step.op == "QuantizeLinear":
        return types.get(step.inputs[2], None) if len(step.inputs) > 2 else UINT8
    at = TYPED_BY.get(step.op, 0)
    return types.get(step.inputs[at]) if len(step.inputs) > at else None


def _is_small_nonzero(tensor: memoryview) -> bool:
    """TensorProto: whether it is 8 or 32 bits wide, small as zero points are, and not all zeros."""
    if next(numbers(tensor, 2), 0) not in (UINT8, INT8, INT32):
        return False
    raw = b"".join(map(bytes, messages(tensor, 9))) if len(tensor) < 1 << 16 else b""
    return any(raw) or (len(tensor) < 1 << 16 and any(numbers(tensor, 5)))


def steps_of(graph: Graph, *ops: str) -> Iterator[Step]:
    """The steps with one of these standard operators."""
    return (step for step in graph.steps if step.op in ops and not step.domain)
