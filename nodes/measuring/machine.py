"""The machine and the process in which something is measured. Measures no model."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engines import nvidia

PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "tensorrt",
            "tensorrt-rtx-cu13", "numba")  # fmt: skip
ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, Any]:
    """Processor, cores, memory, load, system, versions of what is installed, date, and the commit if there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": cores,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "commit": _commit(),
    }


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def gpu(device: str) -> dict[str, str] | None:
    """Name, memory and driver of the GPU at `device`, such as "cuda:0"; None where none is, or it cannot be asked."""
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return None
    try:
        name, cuda = nvidia.devices()[int(number)], nvidia.driver_cuda_version()
    except (OSError, ValueError, IndexError):
        return None
    return {"name": name, "memory": nvidia.free_memory(), "driver": f"CUDA {cuda}"}


def resident_bytes() -> int | None:
    """Memory of this process that is in the machine's RAM now; None where the system does not tell."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if path.is_file() else None


def forget_peak() -> bool:
    """Let `peak_bytes` count from now on, where the system can (Linux, proc(5)); whether it does."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """The most memory that this process had in RAM: since `forget_peak`, or else since it began."""
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text().splitlines()
        if line := next((line for line in lines if line.startswith("VmHWM:")), None):
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of the software, "+" behind it where files differ from it; None where it is no checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
