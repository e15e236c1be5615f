"""From a spec to the ONNX file that a runtime reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines import onnx_file
from engines.base import EngineError, ModelSpec, Precision
from engines.weights import fetch

Scheme = Literal["u8s8", "s8s8"]


@dataclass(frozen=True, slots=True)
class OnnxSource:
    """An ONNX file that a runtime can load."""

    path: Path
    precision: Precision | None
    metadata: Mapping[str, str]
    story: str = ""
    """What it was made from; empty where it is the file that was given."""


def onnx_source(spec: ModelSpec, precision: Precision | None, *, scheme: Scheme) -> OnnxSource:
    """The ONNX file of `spec` whose weights are `precision`, None = as they are."""
    path = fetch(spec.weights)
    if not path.stat().st_size:
        raise EngineError(f"{path} is empty; get the file again")
    contents = read_onnx(path)
    if None not in (precision, contents.precision) and precision != contents.precision:
        raise EngineError(
            f"precision {precision} is asked for, but the weights in {path.name} are {contents.precision}; "
            f"give a file with {precision} weights, or set precision to {contents.precision}"
        )
    return OnnxSource(path, contents.precision, contents.metadata)


def read_onnx(path: Path) -> onnx_file.OnnxFile:
    """Contents of the file; EngineError with the remedy where it is no ONNX model that can be loaded."""
    try:
        contents = onnx_file.read(path)
    except ValueError as e:
        raise EngineError(f"{path} cannot be read as an ONNX model: {e}; export or download it again") from e
    missing = [name for name in contents.external if not (path.parent / name).is_file()]
    if missing:
        raise EngineError(f"{path} keeps weights in {', '.join(missing)}, which is not in {path.parent}; copy it there")
    return contents
