"""Reads the ports of a node class from the signature of its `process` method."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass

from graph.node import Captured, Node, Stamp


@dataclass(frozen=True, slots=True)
class Port:
    """A typed end of a node. `required` tells of an input whether `process` can do without it."""

    name: str
    type: type
    required: bool = True


@dataclass(frozen=True, slots=True)
class Ports:
    """All ports of a node class. The key "" of `outputs` is the sole, unnamed output."""

    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    stamp: str | None = None
    """Name of the parameter that receives the stamp."""


def ports_of(cls: type[Node]) -> Ports:
    """The ports of `cls`; TypeError that names class and parameter when the signature does not tell them."""
    if cls.process is Node.process:
        raise TypeError(f"{cls.__qualname__} has no process method; its signature would be the node's ports")
    hints = typing.get_type_hints(cls.process)
    inputs: dict[str, Port] = {}
    stamp = None
    for p in list(inspect.signature(cls.process).parameters.values())[1:]:
        where = f"{cls.__qualname__}.process: parameter {p.name!r}"
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise TypeError(f"{where} takes any number of values; a port has one name and one type")
        if p.name not in hints:
            raise TypeError(f"{where} has no annotation; a port's type is its annotation")
        kind = _one_class(hints[p.name], where)
        if kind is Stamp:
            stamp = p.name
        else:
            inputs[p.name] = Port(p.name, kind, required=p.default is p.empty)
    if "return" not in hints:
        raise TypeError(f"{cls.__qualname__}.process has no return annotation; write `-> None` for a sink")
    return Ports(inputs, _outputs(cls, hints["return"]), stamp)


def batch_problem(cls: type[Node], ports: Ports) -> str | None:
    """Why `process_batch` of `cls` cannot be called in place of `process`, and what to do; None where it can."""
    name = cls.__qualname__
    if not ports.inputs:
        return f"{name} is a source, which takes nothing that could be put together; remove it"
    if len(ports.inputs) > 1:
        return f"{name} has several inputs ({', '.join(ports.inputs)}); only a node with one can be batched: remove it"
    method = getattr(cls, "process_batch", None)
    if method is None:
        return f"{name} has no process_batch method; remove it, or write one that takes a sequence for each parameter"
    wanted = [*ports.inputs, *([ports.stamp] if ports.stamp else [])]
    got = list(inspect.signature(method).parameters)[1:]
    if sorted(got) != sorted(wanted):
        return f"{name}.process_batch takes ({', '.join(got)}); expected the names of process: ({', '.join(wanted)})"
    return None


def _outputs(cls: type[Node], hint: object) -> dict[str, Port]:
    if hint is type(None):
        return {}
    where = f"{cls.__qualname__}.process: the return type"
    kind = _one_class(hint, where)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        hints = typing.get_type_hints(kind)
        return {name: Port(name, _one_class(hints[name], f"{where}, field {name!r},")) for name in kind._fields}
    return {"": Port("", kind)}


def _one_class(hint: object, where: str) -> type:
    """The class in `X`, `X | None`, `Captured[X]` or `Captured[X] | None`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        rest = [a for a in typing.get_args(hint) if a is not type(None)]
        hint = rest[0] if len(rest) == 1 else hint
    if typing.get_origin(hint) is Captured:
        (hint,) = typing.get_args(hint)
    if not isinstance(hint, type):
        raise TypeError(f"{where} is {hint!r}; expected one class, or one class or None")
    return hint
