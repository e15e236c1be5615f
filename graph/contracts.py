"""Compares what ports emit with what ports expect. Knows no property by name: "size_wh" and "dtype" are only keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graph.node import Contract


def common(contracts: Sequence[Contract]) -> dict[str, Any]:
    """What holds for all of `contracts`: the contract of a port into which several sources merge."""
    first, *rest = contracts or [{}]
    return {k: v for k, v in first.items() if all(k in c and c[k] == v for c in rest)}


def mismatches(expected: Contract, emitted: Contract) -> list[str]:
    """Every property on which the two disagree, as "expects x = 1, but gets 2"; what one side leaves open fits."""
    found = []
    for key, want in expected.items():
        if key not in emitted:
            continue
        got = _plain(emitted[key])
        allowed = {_plain(w) for w in want} if isinstance(want, frozenset) else {_plain(want)}
        if got not in allowed:
            words = " or ".join(sorted(map(_text, allowed)))
            found.append(f"expects {key} = {words}, but gets {_text(got)}")
    return found


def text(contract: Mapping[str, Any]) -> str:
    """A contract in a few words, for people: "1408x1408 rgb uint8 upright"."""
    words = []
    for key, value in contract.items():
        plain = _plain(value)
        if isinstance(plain, bool):
            words.append(key if plain else f"not {key}")
        elif isinstance(plain, tuple):
            words.append("x".join(map(str, plain)))
        elif isinstance(plain, str):
            words.append(plain)
    return " ".join(words)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value


def _text(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
