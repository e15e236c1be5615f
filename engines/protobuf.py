"""Reads the bytes of protobuf messages, field by field, without a schema and without a copy. Knows no ONNX."""

from __future__ import annotations

from collections.abc import Iterator

Field = int | memoryview


def message(value: Field) -> memoryview:
    """The bytes of a field that must be a message, a string or packed numbers; ValueError where it is a number."""
    if isinstance(value, int):
        raise ValueError("it is no ONNX model")
    return value


def messages(value: Field, wanted: int) -> Iterator[memoryview]:
    """The bytes of every field with this number in the message `value`."""
    for number, inner in fields(message(value)):
        if number == wanted and isinstance(inner, memoryview):
            yield inner


def numbers(value: Field, wanted: int) -> Iterator[int]:
    """Every number under this field number in the message `value`, packed or not."""
    for number, inner in fields(message(value)):
        if number == wanted:
            yield from [inner] if isinstance(inner, int) else varints(inner)


def text(value: Field, wanted: int) -> str:
    """The string under this field number in the message `value`; empty where there is none."""
    return b"".join(messages(value, wanted)).decode(errors="replace")


def fields(data: memoryview) -> Iterator[tuple[int, Field]]:
    """Fields of one message: number and value; fixed-size values are skipped. ValueError where it breaks off."""
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


def varints(data: memoryview) -> Iterator[int]:
    """The numbers of a packed field."""
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
