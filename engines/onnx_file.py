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

PRECISIONS: dict[int, Precision] = {1: "fp32", 10: "fp16", 16: "bf16", 2: "int8", 3: "int8"}
"""TensorProto.DataType of weights; other types, such as the int64 of shapes, say nothing about precision."""

Field = int | memoryview


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
    graphs = list(_messages(data, 7))
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
    return OnnxFile(precision, tuple(external), dict(_metadata(data)), _opset(data))


def _metadata(model: memoryview) -> Iterator[tuple[str, str]]:
    """ModelProto 14: key (1) and value (2)."""
    for entry in _messages(model, 14):
        key, value = (b"".join(map(bytes, _messages(entry, number))).decode(errors="replace") for number in (1, 2))
        yield key, value


def _opset(model: memoryview) -> int | None:
    """ModelProto 8: the version (2) of the domain (1) without a name."""
    for entry in _messages(model, 8):
        if b"".join(map(bytes, _messages(entry, 1))) in (b"", b"ai.onnx"):
            return next((v for number, v in _fields(entry) if number == 2 and isinstance(v, int)), None)
    return None


def _tensors(graph: memoryview) -> Iterator[memoryview]:
    """The graph's initializers (GraphProto 5), and the values of its constants (node 1, attribute 5, t 5)."""
    for number, value in _fields(graph):
        if number == 5:
            yield _message(value)
        elif number == 1:
            for attribute in _messages(value, 5):
                yield from _messages(attribute, 5)


def _casts(graph: memoryview) -> Iterator[tuple[bytes, int]]:
    """What the graph's Cast nodes read (NodeProto 1), and the type that they make of it (attribute "to")."""
    for node in _messages(graph, 1):
        if b"Cast" not in map(bytes, _messages(node, 4)):
            continue
        for attribute in _messages(node, 5):
            if b"to" in map(bytes, _messages(attribute, 1)):
                for number, value in _fields(attribute):
                    if number == 3 and isinstance(value, int):
                        yield from ((bytes(name), value) for name in _messages(node, 1))


def _tensor(tensor: memoryview) -> tuple[bytes, int, int, str | None]:
    """TensorProto: name, data type, number of elements, and where its data lies if outside of the file."""
    name, dtype, dims, location = b"", 0, [], None
    for number, value in _fields(tensor):
        if number == 1:
            dims += [value] if isinstance(value, int) else list(_varints(value))
        elif number == 2 and isinstance(value, int):
            dtype = value
        elif number == 8:
            name = bytes(_message(value))
        elif number == 13 and b"location" in map(bytes, _messages(value, 1)):
            location = b"".join(_messages(value, 2)).decode(errors="replace")
    return name, dtype, prod(dims), location


def _message(value: Field) -> memoryview:
    if isinstance(value, int):
        raise ValueError("it is no ONNX model")
    return value


def _messages(value: Field, wanted: int) -> Iterator[memoryview]:
    for number, inner in _fields(_message(value)):
        if number == wanted and isinstance(inner, memoryview):
            yield inner


def _fields(data: memoryview) -> Iterator[tuple[int, Field]]:
    """Fields of one protobuf message: number and value; fixed-size values, which nothing here needs, are skipped."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            size, at = _varint(data, at)
        if size is None or number == 0:
            raise ValueError("it is no ONNX model")
        if at + size > len(data):
            raise ValueError("it breaks off before its end")
        if kind == 2:
            yield number, data[at : at + size]
        at += size


def _varints(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number at position `at`, seven bits a byte, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it breaks off before its end")
        byte = data[at]
        value, at = value | (byte & 0x7F) << shift, at + 1
        if byte < 0x80:
            return value, at
    raise ValueError("it is no ONNX model")
