"""Opens the pickle inside of a PyTorch file without executing anything of it.

A pickle names functions and classes, and asks for them to be called. Here each name stands for an `Inert`, which only
records what it was given; the exceptions are the few in `_Reader.find_class`. Tensors are made afterwards, and here.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

DTYPES = {
    **{"Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Bool": "bool"},
    **{"Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8"},
}
SETS = {"set": set, "frozenset": frozenset}
MAX_EXPANDED = 1 << 26
"""Elements of a tensor that repeats its storage: enough for any real one, and small enough for memory."""


class Inert:
    """Stands for an object of a class that is not made: holds the class' name and the object's state."""

    kind = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.fields: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], dict):
            state = state[0]
        self.fields = dict(state) if isinstance(state, dict) else {}

    def __setitem__(self, key: Any, value: Any) -> None:
        """Objects of a subclass of dict are filled this way."""

    def append(self, value: Any) -> None:
        """Objects of a subclass of list are filled this way."""

    def extend(self, values: Any) -> None:
        """As `append`."""

    def add(self, value: Any) -> None:
        """Objects of a subclass of set are filled this way."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor that is still in the file: (dtype, file name, element count) of its storage, and its place therein."""

    storage: Any
    offset: Any
    size: Any
    stride: Any


class TorchFile:
    """A file of torch.save. `root` is what it holds: dicts, lists, `Stored`, and an `Inert` for everything else.

    Raises pickle.UnpicklingError where it cannot be read, or was not written by torch.save.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(names) != 1:
            raise pickle.UnpicklingError("it is a zip file without a data.pkl, which torch.save writes")
        self._archive, self._folder = archive, names[0].removesuffix("data.pkl")
        self._storages: dict[str, Any] = {}
        if self._has("constants.pkl"):
            raise pickle.UnpicklingError("it is a TorchScript program; give the weights that it was made from")
        if self._has("byteorder") and self._content("byteorder") != b"little":
            raise pickle.UnpicklingError("it was written on a big-endian machine; write it again on a common one")
        try:
            self.root = _Reader(io.BytesIO(self._content("data.pkl")), encoding="utf-8").load()
        except (pickle.UnpicklingError, EOFError):
            raise
        except Exception as e:  # a damaged pickle fails in any way that Python knows
            raise pickle.UnpicklingError(f"{type(e).__name__}: {e}") from e

    def tensor(self, stored: Stored) -> Any:
        """The torch.Tensor, contiguous, with memory of its own; an error where it reaches outside of its storage."""
        import torch

        try:
            flat, size, stride, offset = self._storage(*stored.storage), stored.size, stored.stride, stored.offset
            if min((offset, *size, *stride)) < 0:
                raise ValueError("a negative number")
            last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
            if math.prod(size) == 0:
                return flat.new_empty(size)
            if last >= len(flat) or math.prod(size) > max(len(flat), MAX_EXPANDED):
                raise ValueError(f"it reaches outside of its {len(flat)} numbers")
            return torch.as_strided(flat, size, stride, offset).clone(memory_format=torch.contiguous_format)
        except (TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as e:
            raise pickle.UnpicklingError(f"a tensor of {stored.size}, stride {stored.stride}: {e}") from e

    def _storage(self, dtype_name: str, key: str, count: int) -> Any:
        """One file of numbers as a flat tensor; several tensors may share it."""
        import torch

        if key not in self._storages:
            content, dtype = bytearray(self._content(f"data/{key}")), getattr(torch, dtype_name)
            if len(content) != count * dtype.itemsize:
                raise ValueError(f"data/{key} is {len(content)} bytes, not {count} of {dtype}")
            # frombuffer refuses an empty buffer.
            self._storages[key] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return self._storages[key]

    def _has(self, name: str) -> bool:
        return f"{self._folder}{name}" in self._archive.NameToInfo

    def _content(self, name: str) -> bytes:
        if not self._has(name):
            raise pickle.UnpicklingError(f"it has no {name}")
        info = self._archive.getinfo(f"{self._folder}{name}")
        # torch.save compresses nothing; a small file that grows to fill the memory is compressed.
        if info.compress_type != zipfile.ZIP_STORED:
            raise pickle.UnpicklingError(f"{name} is compressed, which torch.save does not do")
        return self._archive.read(info)


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        # Classes of C cannot be changed; all else is made anew, for a pickle may set attributes of what it gets here.
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module in ("builtins", "__builtin__") and name in SETS:
            return SETS[name]
        if module == "torch._utils" and name == "_rebuild_tensor_v2":
            return lambda storage, offset, size, stride, *_: Stored(storage, offset, size, stride)
        if module == "torch._utils" and name == "_rebuild_parameter":
            return lambda data, *_: data
        return type(name, (Inert,), {"kind": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> Any:
        """("storage", class of storage, file name, device, element count), as torch.save writes it."""
        _, storage, key, _, count = pid
        kind = str(getattr(storage, "kind", storage))
        dtype = DTYPES.get(kind.removeprefix("torch.").removesuffix("Storage"))
        if dtype is None or not isinstance(key, str) or not isinstance(count, int):
            raise pickle.UnpicklingError(f"storage {key!r} is a {kind}, which is not read here")
        return dtype, key, count
