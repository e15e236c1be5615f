"""Why CUDA does not work here: asks the driver and the libraries themselves, through their C interfaces.

Starts no CUDA context unless `devices` is called, and knows no inference runtime.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from pathlib import Path

INSTALL = 'install the NVIDIA driver, and: pip uninstall onnxruntime && pip install "onnxruntime-gpu[cuda,cudnn]"'


def load_problem(library: str | Path) -> str | None:
    """Why the shared library cannot be loaded, in the words of the dynamic linker; None where it can."""
    try:
        ctypes.CDLL(str(library))
    except OSError as e:
        return str(e)
    return None


def first_problem(libraries: Iterable[str | Path]) -> str | None:
    """The first of the libraries' problems; None where all load."""
    return next((problem for library in libraries if (problem := load_problem(library))), None)


def devices() -> list[str]:
    """Names of the GPUs that the driver offers; `OSError` that says why where there is no working driver.

    Initialises CUDA in this process: a process that is forked from it afterwards cannot use the GPU.
    """
    cuda = ctypes.CDLL("libcuda.so.1")
    if error := cuda.cuInit(0):
        raise OSError(f"the NVIDIA driver answers error {error} to cuInit")
    count = ctypes.c_int()
    cuda.cuDeviceGetCount(ctypes.byref(count))
    return [_device_name(cuda, i) for i in range(count.value)]


def driver_cuda_version() -> str:
    """The newest CUDA version that the driver supports, such as "13.0"; `OSError` without a driver."""
    version = ctypes.c_int()
    ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def free_memory() -> str:
    """Free and total memory of the GPU that this thread uses, such as "512 of 6144 MB free"; empty where none is."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    try:
        error = ctypes.CDLL("libcuda.so.1").cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
    except (OSError, AttributeError):
        return ""
    return "" if error else f"{free.value >> 20} of {total.value >> 20} MB free"


def _device_name(cuda: ctypes.CDLL, index: int) -> str:
    name = ctypes.create_string_buffer(128)
    cuda.cuDeviceGetName(name, len(name), index)
    return name.value.decode()
