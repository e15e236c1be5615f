"""Reads the tensors of a PyTorch weight file. Nothing of the file is executed: classes that it names stay unmade.

Takes .pt and .pth (the zip format of `torch.save`: a state dict, or an Ultralytics file, which holds a whole model as
an object), and .safetensors. Knows no network; needs torch, for tensors only.
"""

from __future__ import annotations

import json
import math
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines.base import EngineError
from engines.unpickler import Inert, Stored, TorchFile

ZIP, MAX_HEADER_BYTES = b"PK\x03\x04", 100_000_000
AGAIN = "get the file again"
MODEL_KEYS = ("ema", "model", "state_dict")
"""Where a training program puts the model; "ema", the average over the last steps, is the better one."""
SAFETENSORS_DTYPES = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"},
    **{"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8"},
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a weight file holds."""

    state: Mapping[str, Any]
    """A torch.Tensor by its dotted name, each with memory of its own; floating-point ones are float32."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Such as {"names": "{0: 'person', ...}"}, where the file knows the names of its classes."""
    activations: Mapping[str, str] = field(default_factory=dict)
    """Class of the `act` of each module that has one, such as {"model.0": "SiLU"}; only a file of objects knows it."""


def read(path: Path | str) -> Checkpoint:
    """Read `path`; EngineError with path, cause and remedy where it is damaged or no weight file."""
    path = Path(path)
    try:
        import torch  # noqa: F401 (everything below needs it, and says so in one place)
    except ImportError as e:
        raise EngineError(f"{path} needs the package torch, which cannot be used: {e}; pip install torch") from e
    try:
        with path.open("rb") as file:
            start = file.read(len(ZIP))
        if not start:
            raise ValueError(f"is empty; {AGAIN}")
        if path.suffix == ".safetensors":
            return _safetensors(path)
        if start == ZIP:
            return _torch_zip(path)
    except OSError as e:
        raise EngineError(f"{path} cannot be read: {e.strerror or e}; check the path and its permissions") from e
    except ValueError as e:
        raise EngineError(f"{path} {e}") from e
    if start[:1] == b"\x80":
        raise EngineError(
            f"{path} is a bare pickle, as PyTorch wrote until 1.5, which is not read; if you trust where it comes "
            "from, open it with torch.load and write it with torch.save, which makes a file of today's format"
        )
    raise EngineError(f"{path} is no PyTorch weight file: it begins with {start!r}; expected .pt, .pth or .safetensors")


def _torch_zip(path: Path) -> Checkpoint:
    try:
        with zipfile.ZipFile(path) as archive:
            file = TorchFile(archive)
            model = _model(file.root)
            stored = _tensors(model) if isinstance(model, Inert) else model.items()
            state = {str(k): _float32(file.tensor(v)) for k, v in stored if isinstance(v, Stored)}
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as e:
        raise ValueError(f"is damaged: {e or 'it ends too early'}; {AGAIN}") from e
    except pickle.UnpicklingError as e:
        raise ValueError(f"cannot be read as a PyTorch weight file: {e}; {AGAIN}") from e
    if not state:
        raise ValueError("holds no weights: neither a state dict nor a model; give the file of a trained network")
    if not isinstance(model, Inert):
        return Checkpoint(state)
    names = model.fields.get("names")
    metadata = {"names": repr(names)} if isinstance(names, dict | list) and _plain(names) else {}
    return Checkpoint(state, metadata, dict(_activations(model)))


def _model(root: Any) -> Any:
    """The model inside of what a file holds: an object, or a mapping from name to tensor."""
    if isinstance(root, dict) and not any(isinstance(value, Stored) for value in root.values()):
        found = [root[key] for key in MODEL_KEYS if isinstance(root.get(key), dict | Inert) and root[key]]
        root = found[0] if found else root
    if not isinstance(root, dict | Inert):
        raise ValueError(f"holds a {type(root).__name__}, not weights; give the file of a trained network")
    return root


def _modules(module: Inert, prefix: str = "", *, depth: int = 0) -> Iterator[tuple[str, Inert]]:
    """A torch module and all below it, each with its dotted name."""
    if depth > 64:
        raise ValueError(f"nests its modules deeper than 64 levels, which no network does; {AGAIN}")
    yield prefix, module
    for name, child in _mapping(module, "_modules"):
        if isinstance(child, Inert):
            yield from _modules(child, f"{prefix}.{name}" if prefix else name, depth=depth + 1)


def _tensors(model: Inert) -> Iterator[tuple[str, Any]]:
    for prefix, module in _modules(model):
        passing = module.fields.get("_non_persistent_buffers_set")
        passing = passing if isinstance(passing, set) else ()
        for name, tensor in (*_mapping(module, "_parameters"), *_mapping(module, "_buffers")):
            if isinstance(tensor, Stored) and name not in passing:
                yield f"{prefix}.{name}" if prefix else name, tensor


def _activations(model: Inert) -> Iterator[tuple[str, str]]:
    for name, module in _modules(model):
        owner, _, last = name.rpartition(".")
        if last == "act":
            yield owner, module.kind.rpartition(".")[2]


def _mapping(module: Inert, name: str) -> list[tuple[str, Any]]:
    found = module.fields.get(name)
    return [(str(k), v) for k, v in found.items()] if isinstance(found, dict) else []


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_plain(k) and _plain(v) for k, v in value.items())
    return all(map(_plain, value)) if isinstance(value, list) else isinstance(value, str | int)


def _float32(tensor: Any) -> Any:
    return tensor.float() if tensor.is_floating_point() else tensor


def _safetensors(path: Path) -> Checkpoint:
    """Eight bytes of length, that much JSON, then the tensors end to end."""
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[:8], "little")
    try:
        if not 2 <= size <= min(len(content) - 8, MAX_HEADER_BYTES):
            raise ValueError("its header does not fit into it")
        header = json.loads(content[8 : 8 + size].decode())
        if not isinstance(header, dict):
            raise ValueError("its header is not a JSON object")
        told = header.pop("__metadata__", {})
        state = {name: _float32(_slice(name, entry, memoryview(content)[8 + size :])) for name, entry in header.items()}
    except (ValueError, RecursionError) as e:
        raise ValueError(f"cannot be read as a safetensors file: {e}; {AGAIN}") from e
    if not state:
        raise ValueError("holds no weights; give the file of a trained network")
    return Checkpoint(state, {str(k): str(v) for k, v in told.items()} if isinstance(told, dict) else {})


def _slice(name: str, entry: Any, content: memoryview) -> Any:
    import torch

    try:
        dtype, shape = getattr(torch, SAFETENSORS_DTYPES[entry["dtype"]]), [int(n) for n in entry["shape"]]
        begin, end = (int(n) for n in entry["data_offsets"])
    except (KeyError, TypeError) as e:
        raise ValueError(f"the entry of {name!r} is {entry!r}; {e}") from e
    if min(shape, default=0) < 0 or not 0 <= begin <= end <= len(content):
        raise ValueError(f"{name!r} lies outside of the file")
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name!r} is {end - begin} bytes, which is not {shape} of {dtype}")
    # frombuffer refuses an empty buffer.
    flat = torch.frombuffer(content[begin:end], dtype=dtype) if end > begin else torch.empty(0, dtype=dtype)
    return flat.reshape(shape).clone()
