"""From a spec to the file that a runtime reads: what is given, or what is made from it once and kept.

ONNX is the one form that all runtimes but PyTorch read. PyTorch weights and random ones are exported to it; fp32 files
are converted where fp16 is asked for. int8 is never made here: it wants calibration, which is `command=export`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engines import artifacts, onnx_file
from engines.base import Array, EngineError, ModelSpec, Precision
from engines.files import sha256_of
from engines.versions import versions
from engines.weights import fetch

TORCH_SUFFIXES = (".pt", ".pth", ".safetensors")

Scheme = Literal["u8s8", "s8s8", "nncf"]
"""Kinds of int8 files: see `engines.quantise`."""


@dataclass(frozen=True, slots=True)
class Given:
    """The weights that a spec names, as they are."""

    kind: Literal["onnx", "torch", "random"]
    path: Path | None
    identity: str
    """The sha256 of the file; "random" where there is none."""


@dataclass(frozen=True, slots=True)
class OnnxSource:
    """An ONNX file that a runtime can load."""

    path: Path
    precision: Precision | None
    metadata: Mapping[str, str]
    story: str = ""
    """What it was made from; empty where it is the file that was given."""


def given(spec: ModelSpec) -> Given:
    """What the spec's weights are; downloads them where they have an address. EngineError where they cannot be had."""
    if spec.weights.random:
        return Given("random", None, "random")
    path = fetch(spec.weights)
    if not path.stat().st_size:
        raise EngineError(f"{path} is empty; get the file again")
    return Given("torch" if path.suffix in TORCH_SUFFIXES else "onnx", path, sha256_of(path))


def onnx_source(spec: ModelSpec, precision: Precision | None, *, scheme: Scheme) -> OnnxSource:
    """The ONNX file of `spec` whose weights are `precision`, None = as they are; `scheme` matters for int8 only."""
    source = given(spec)
    if source.kind == "onnx":
        assert source.path is not None
        contents = read_onnx(source.path)
        if precision in (None, contents.precision) or contents.precision is None:
            return OnnxSource(source.path, contents.precision, contents.metadata)
        if contents.precision != "fp32":
            raise EngineError(
                f"precision {precision} is asked for, but the weights in {source.path.name} are {contents.precision}; "
                f"give a file with fp32 weights, or set precision to {contents.precision} "
                "(null takes what the file holds)"
            )
    if precision == "int8":
        return _calibrated(spec, source, scheme)
    if precision == "bf16":
        raise EngineError("there are no ONNX files in bf16; choose fp32 or fp16, or backend=openvino or torch")
    wanted: Literal["fp32", "fp16"] = "fp16" if precision == "fp16" else "fp32"
    path = _converted(source) if source.kind == "onnx" else _exported(spec, source, wanted)
    return OnnxSource(path, wanted, read_onnx(path).metadata, story=_story(source, wanted))


def size_of(spec: ModelSpec) -> tuple[int, int] | None:
    """Width and height of the image that the spec's sole input takes; None where they are not given."""
    shape = next(iter(spec.inputs.values()), ())
    if len(shape) != 4 or shape[2] is None or shape[3] is None:
        return None
    return shape[3], shape[2]


def calibrated(
    spec: ModelSpec, scheme: Scheme, samples: Sequence[Array], origin: str, *, told: Callable[[int], None]
) -> Path:
    """Make the int8 file of `spec` with ranges from `samples`, inputs as the node feeds them, and keep it."""
    from engines import quantise

    source = given(spec)
    plain = onnx_source(spec, "fp32", scheme=scheme)
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(np.ascontiguousarray(sample).tobytes())
    key = int8_key(spec, source, scheme) | {
        "frames": {"count": len(samples), "from": origin, "sha256": digest.hexdigest()},
        "versions": versions("onnx", "onnxruntime", "openvino", "nncf"),
        "code": quantise.code_digest(),
    }
    suffix = ".ov.zip" if scheme == "nncf" else ".onnx"
    title = f"{spec.name}-int8-{scheme}"
    return artifacts.obtain(
        key, suffix, lambda to: quantise.calibrate(plain.path, samples, scheme, to, told=told), title=title
    )


def int8_key(spec: ModelSpec, source: Given, scheme: Scheme) -> dict[str, Any]:
    """What every int8 file of these weights has in its key, whatever frames it was calibrated with."""
    size_wh = size_of(spec)
    return {
        "made": "int8",
        "source": source.identity,
        "architecture": None if source.kind == "onnx" else spec.architecture,
        "size_wh": None if size_wh is None else [*size_wh],
        "scheme": scheme,
    }


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


def _exported(spec: ModelSpec, source: Given, precision: Literal["fp32", "fp16"]) -> Path:
    """PyTorch weights, or random ones, as ONNX."""
    from engines import export

    size_wh = export.export_size(spec, size_of(spec))
    key = {
        "made": "onnx",
        "source": source.identity,
        "architecture": spec.architecture,
        "size_wh": size_wh,
        "precision": precision,
        "versions": versions("torch", "onnx", "onnxslim"),
        "code": export.code_digest(),
    }
    title = f"{spec.architecture or spec.name}-{size_wh[0]}x{size_wh[1]}-{precision}"
    return artifacts.obtain(key, ".onnx", lambda path: export.to_onnx(spec, source.path, size_wh, precision, path),
                            title=title)  # fmt: skip


def _converted(source: Given) -> Path:
    """An fp32 file with fp16 weights; its inputs and outputs stay fp32."""
    from engines import convert

    path = source.path
    assert path is not None
    key = {"made": "fp16", "source": source.identity, "versions": versions("onnx"), "code": convert.code_digest()}
    return artifacts.obtain(key, ".onnx", lambda to: convert.to_fp16(path, to), title=f"{path.stem}-fp16")


def _calibrated(spec: ModelSpec, source: Given, scheme: Scheme) -> OnnxSource:
    """The int8 file that `command=export` made last."""
    wanted = int8_key(spec, source, scheme)
    for entry in artifacts.entries():
        if {name: entry.key.get(name) for name in wanted} == wanted:
            if problem := entry.problem():
                raise EngineError(f"{entry.path} is not used: {problem}; make it again with command=export")
            frames = entry.key.get("frames", {})
            story = f"calibrated with {frames.get('count')} frames of {frames.get('from')}"
            fp32 = onnx_source(spec, "fp32", scheme=scheme)
            return OnnxSource(entry.path, "int8", fp32.metadata, story)
    raise EngineError(
        "precision int8 is asked for, but these weights were not calibrated for this backend yet; run, with the same "
        "words: python main.py export command.precision=int8 command.frames=FOLDER_OR_VIDEO (frames of your camera)"
    )


def _story(source: Given, precision: str) -> str:
    return f"made in {precision} from {source.path.name if source.path else 'random weights'}"
