"""What an ONNX file says of itself, read from its bytes: precision of the weights, opset, metadata, files beside it.

Reads the few protobuf fields that this needs and skips the weights, so it needs no `onnx` package and no memory for
them. It does not judge whether a runtime can run the graph. Field numbers: onnx/onnx.proto, ModelProto and below.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from engines.base import Precision
from engines.protobuf import fields, message, messages, text, varints

PRECISIONS: dict[int, Precision] = {1: "fp32", 10: "fp16", 16: "bf16", 2: "int8", 3: "int8"}
"""TensorProto.DataType of weights; other types, such as the int64 of shapes, say nothing about precision."""


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """What was read."""

    precision: Precision | None
    """What most weights are computed in, by count of elements; None where there are none. Weights that are stored
    smaller and cast before they are used count as what they are cast to."""
    external: tuple[str, ...]
    """Names of the files, relative to the model's folder, that hold weights which are too big for it."""
    metadata: Mapping[str, str]
    """What the file says of itself, such as {"names": "{0: 'person', ...}"}."""
    opset: int | None
    """Version of the standard operators."""


def read(path: Path) -> OnnxFile:
    """Read the file at `path`; ValueError where it is no ONNX model, or breaks off."""
    with open(path, "rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    graphs = list(messages(data, 7))
    if len(graphs) != 1:
        raise ValueError("it holds no graph")
    elements: Counter[Precision] = Counter()
    external: dict[str, None] = {}
    casts = dict(_casts(graphs[0]))
    for tensor in _tensors(graphs[0]):
        name, dtype, count, location = _tensor(tensor)
        dtype = casts.get(name, dtype)
        if dtype in PRECISIONS:
            elements[PRECISIONS[dtype]] += count
        if location:
            external[location] = None
    precision = elements.most_common(1)[0][0] if elements else None
    return OnnxFile(
        precision, tuple(external), {text(entry, 1): text(entry, 2) for entry in messages(data, 14)}, _opset(data)
    )


def _opset(model: memoryview) -> int | None:
    """ModelProto 8: the version (2) of the domain (1) without a name."""
    for entry in messages(model, 8):
        if text(entry, 1) in ("", "ai.onnx"):
            return next((v for number, v in fields(entry) if number == 2 and isinstance(v, int)), None)
    return None


def _tensors(graph: memoryview) -> Iterator[memoryview]:
    """The graph's initializers (GraphProto 5), and the values of its constants (node 1, attribute 5, t 5)."""
    for number, value in fields(graph):
        if number == 5:
            yield message(value)
        elif number == 1:
            for attribute in messages(value, 5):
                yield from messages(attribute, 5)


def _casts(graph: memoryview) -> Iterator[tuple[bytes, int]]:
    """What the graph's Cast nodes read (NodeProto 1), and the type that they make of it (attribute "to")."""
    for node in messages(graph, 1):
        if b"Cast" not in map(bytes, messages(node, 4)):
            continue
        for attribute in messages(node, 5):
            if b"to" in map(bytes, messages(attribute, 1)):
                for number, value in fields(attribute):
                    if number == 3 and isinstance(value, int):
                        yield from ((bytes(name), value) for name in messages(node, 1))


def _tensor(tensor: memoryview) -> tuple[bytes, int, int, str | None]:
    """TensorProto: name, data type, number of elements, and where its data lies if outside of the file."""
    name, dtype, dims, location = b"", 0, [], None
    for number, value in fields(tensor):
        if number == 1:
            dims += [value] if isinstance(value, int) else list(varints(value))
        elif number == 2 and isinstance(value, int):
            dtype = value
        elif number == 8:
            name = bytes(message(value))
        elif number == 13 and b"location" in map(bytes, messages(value, 1)):
            location = b"".join(messages(value, 2)).decode(errors="replace")
    return name, dtype, prod(dims), location
