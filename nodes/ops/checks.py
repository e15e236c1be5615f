"""Checks of plain parameters, for `Node.check`: each yields "key: what is wrong; what was expected". Knows no node.

A parameter that is absent is right: its default is. Parameters come from YAML, so any value may be of any type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engines import architectures
from engines.base import EngineError
from graph.errors import nearest


def size_problems(params: Mapping[str, Any], *, multiple_of: int = 1, optional: bool = False) -> Iterator[str]:
    """`size_wh` is [width, height] in pixels, both multiples of `multiple_of`; or null where `optional`."""
    key = "size_wh"
    size = params.get(key, (multiple_of, multiple_of))
    if optional and size is None:
        return
    if not is_list(size) or len(size) != 2 or not all(_is_int(side) and side > 0 for side in size):
        yield f"{key}: is {_shown(size)}; expected width and height in pixels, such as [640, 480]"
        return
    for side, name in zip(size, ("width", "height"), strict=True):
        if side % multiple_of:
            below = side // multiple_of * multiple_of
            near = f"{below} or {below + multiple_of}" if below else f"{multiple_of}"
            yield f"{key}: the {name} {side} is no multiple of {multiple_of}, which the model needs; set it to {near}"


def network_problems(params: Mapping[str, Any]) -> Iterator[str]:
    """`architecture` is the name of a network, and is there where `weights` are of PyTorch, or random."""
    name, weights = params.get("architecture"), params.get("weights")
    if name is not None:
        try:
            architectures.find(str(name))
        except EngineError as e:
            yield f"architecture: {e}"
    elif weights == "random" or str(weights).endswith((".pt", ".pth", ".safetensors")):
        known = ", ".join(sorted(architectures.ARCHITECTURES))
        yield f"architecture: is not given; the weights {weights} belong to one of these networks: {known}"


def number_problems(params: Mapping[str, Any], key: str, *, low: float, high: float = float("inf")) -> Iterator[str]:
    """`key` is a number from `low` to `high`."""
    value = params.get(key, low)
    if not is_number(value) or not low <= value <= high:
        span = f"{low:g} to {high:g}" if high < float("inf") else f"{low:g} or more"
        yield f"{key}: is {_shown(value)}; expected a number, {span}"


def count_problems(params: Mapping[str, Any], key: str) -> Iterator[str]:
    """`key` is a whole number of 1 or more."""
    value = params.get(key, 1)
    if not _is_int(value) or value < 1:
        yield f"{key}: is {_shown(value)}; expected a whole number, 1 or more"


def word_problems(params: Mapping[str, Any], key: str, known: Sequence[Any]) -> Iterator[str]:
    """`key` is one of the values `known`."""
    value = params.get(key, known[0])
    if value not in known:
        yield f"{key}: is {_shown(value)}; expected one of {', '.join(str(k) for k in known)}"


def names_problems(params: Mapping[str, Any], key: str) -> Iterator[str]:
    """`key` is null or a list of words, at least one."""
    value = params.get(key)
    if value is not None and not (is_list(value) and value and all(isinstance(name, str) for name in value)):
        yield f"{key}: is {_shown(value)}; expected a list of names, such as [person, car], or null"


def numbers_by_name_problems(params: Mapping[str, Any], key: str, example: str) -> Iterator[str]:
    """`key` is null or a mapping of class names to numbers above 0, such as `example`."""
    value = params.get(key)
    if value is not None and not (
        isinstance(value, Mapping) and all(is_number(number) and number > 0 for number in value.values())
    ):
        yield f"{key}: is {value!r}; expected a number above 0 for each class name, such as {example}"


def unknown_names(key: str, names: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    """Each of `names` is one of `known`."""
    for name in names:
        if name not in known:
            yield f"{key}: the model has no class {name!r}{nearest(name, known)}"


def triple_problems(params: Mapping[str, Any], key: str) -> Iterator[str]:
    """`key` is a list of three numbers, one a channel."""
    value = params.get(key, [0, 0, 0])
    if not is_list(value) or len(value) != 3 or not all(is_number(v) for v in value):
        yield f"{key}: is {_shown(value)}; expected three numbers, for red, green and blue"


def is_number(value: Any) -> bool:
    """Whether `value` is an int or a float; YAML's true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_list(value: Any) -> bool:
    """Whether `value` is a list or a tuple."""
    return isinstance(value, list | tuple)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return repr(list(value)) if is_list(value) else repr(value)
