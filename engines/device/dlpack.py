"""Capsules after the DLPack standard (version 0, which all libraries read), made and read through ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

HOST, CUDA = 1, 2
CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
NAME, USED = b"dltensor", b"used_dltensor"

api = ctypes.pythonapi


class _Tensor(ctypes.Structure):
    """`DLTensor` with what surrounds it in `DLManagedTensor`."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_kind", ctypes.c_int32),
        ("device_number", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)(("PyCapsule_New", api))
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", api))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", api))


class Shaped(Protocol):
    """What a capsule says of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __dlpack_device__(self) -> tuple[int, int]:
        """Kind and number of the device."""
        ...


_held: dict[int, tuple[Any, ...]] = {}
"""What must live as long as somebody reads a capsule, by the address of its structure."""


def capsule(array: Shaped, address: int, dropped: Callable[[], None]) -> Any:
    """A capsule of a C-contiguous array at `address`; `dropped` is called when its reader lets go of it."""
    kind, number = array.__dlpack_device__()
    shape = (ctypes.c_int64 * len(array.shape))(*array.shape)
    code, bits = CODES[array.dtype.kind], 8 * array.dtype.itemsize
    tensor = _Tensor(address, kind, number, len(shape), code, bits, 1, shape, None, 0, None, None)
    tensor.deleter = ctypes.cast(_DELETE, ctypes.c_void_p).value
    at = ctypes.addressof(tensor)
    _held[at] = (tensor, shape, array, dropped)
    return _new(at, NAME, _DESTROY)


def stream_of(stream: int | None, kind: int) -> int | None:
    """The driver's handle of the stream that a reader names; None where there is none to be in order with.

    The standard's 1 and 2, the default streams, are the driver's own; who names none on CUDA means 1.
    """
    if stream is None:
        return 1 if kind == CUDA else None
    return None if stream == -1 else stream


def _delete(at: int) -> None:
    _, _, _, dropped = _held.pop(at)
    dropped()


def _destroy(capsule_at: int) -> None:
    # A reader renames the capsule when it takes the tensor over; one that nobody read is still ours.
    if _is_valid(capsule_at, NAME):
        _delete(_pointer(capsule_at, NAME))


_DELETE, _DESTROY = _Deleter(_delete), _Destructor(_destroy)
"""As C calls them; they live as long as any capsule may."""
