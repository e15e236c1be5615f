"""Where the run takes place."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version

from bench import report
from bench.on_gpu.run import Run

PACKAGES = ("torch", "numpy", "triton", "onnx", "onnxruntime", "onnxruntime-gpu", "tensorrt", "cupy-cuda13x")
QUERY = "name,driver_version,pstate,clocks.sm,clocks.mem,clocks.max.sm,power.draw,temperature.gpu,memory.used"


def section(run: Run) -> None:
    """Machine, packages, GPU and its clocks as they are; nothing is set."""
    import torch

    run.row("machine", value=report.machine())
    run.row("python", value=platform.python_version())
    for package in PACKAGES:
        try:
            run.row(package, value=version(package))
        except PackageNotFoundError:
            run.row(package, value="not installed")
    run.row("torch threads", value=torch.get_num_threads())
    run.row("TensorRT", value="not covered by this script, whatever is installed")
    if run.cuda:
        at = torch.cuda.get_device_properties(run.device)
        run.row("GPU", value=at.name, capability=f"{at.major}.{at.minor}", processors=at.multi_processor_count)
        run.row("CUDA", value=torch.version.cuda, cudnn=torch.backends.cudnn.version())
        free, total = torch.cuda.mem_get_info(run.device)
        run.row("memory_mb", free=free >> 20, total=total >> 20)
        run.attempt("nvidia-smi", lambda: run.row("nvidia-smi", value=clocks()))


def clocks() -> str:
    """State, clocks, power and temperature as nvidia-smi tells them; empty where it does not."""
    if not shutil.which("nvidia-smi"):
        return ""
    command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
