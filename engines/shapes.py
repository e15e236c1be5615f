"""Compares the shapes that a node will feed with those that a model takes. Knows no runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engines.base import ModelSpec, Tensor

Shape = tuple[int | None, ...]


def wanted_shapes(spec: ModelSpec, inputs: Sequence[Tensor]) -> Mapping[str, Shape]:
    """The spec's shapes by real input name, "" resolved to the sole input; KeyError for a name that there is not."""
    names = {tensor.name: tensor.name for tensor in inputs} | ({"": inputs[0].name} if len(inputs) == 1 else {})
    return {names[name]: shape for name, shape in spec.inputs.items()}


def shape_problem(spec: ModelSpec, inputs: Sequence[Tensor], file: str) -> str | None:
    """What keeps the node's arrays from fitting the model in `file`, and what to do; None where they fit."""
    try:
        wanted = wanted_shapes(spec, inputs)
    except KeyError as e:
        names = ", ".join(repr(tensor.name) for tensor in inputs)
        which = f"an input named {e.args[0]!r}" if e.args[0] else "a sole input"
        return f"the node feeds {which}, but {file} has {names}; use a model of the kind that the node is for"
    for tensor in inputs:
        want = wanted.get(tensor.name, tensor.shape)
        if not fits(want, tensor.shape):
            return (
                f"input {tensor.name!r} of {file} is {text(tensor.shape)}, but {text(want)} is wanted; "
                f"{_remedy(want, tensor.shape)}"
            )
    return None


def fits(want: Shape, have: Shape) -> bool:
    """Whether both have as many dimensions, equal wherever both are fixed."""
    return len(want) == len(have) and all(w == h or None in (w, h) for w, h in zip(want, have, strict=True))


def text(shape: Shape) -> str:
    """A shape for people: free dimensions are "any"."""
    return f"({', '.join('any' if n is None else str(n) for n in shape)})"


def warm_up_shapes(spec: ModelSpec, inputs: Sequence[Tensor]) -> list[list[tuple[int, ...]]]:
    """Shapes of all inputs, for each batch size that the node may feed; none where other dimensions stay free."""
    wanted = wanted_shapes(spec, inputs)
    known = [_merged(wanted.get(tensor.name, tensor.shape), tensor.shape) for tensor in inputs]
    if any(None in shape[1:] for shape in known):
        return []
    free = any(shape and shape[0] is None for shape in known)
    batches = spec.batch_sizes if free else (1,)
    return [[tuple(batch if n is None else n for n in shape) for shape in known] for batch in batches]


def _merged(want: Shape, have: Shape) -> Shape:
    return tuple(h if w is None else w for w, h in zip(want, have, strict=True))


def _remedy(want: Shape, have: Shape) -> str:
    """What to do about the first difference, taking four dimensions for (batch, channels, height, width)."""
    if len(want) != 4 or len(have) != 4:
        return "use a model of the kind that the node is for"
    if want[1:] == have[1:]:
        return f"export the model with a free batch size, or with {want[0]}"
    if fits(want[:2], have[:2]) and isinstance(have[2], int) and isinstance(have[3], int):
        return f"set size_wh to [{have[3]}, {have[2]}], or export the model at the wanted size"
    return "use a model of the kind that the node is for"
