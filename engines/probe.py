"""Which inference runtimes work on this machine: tries each of them, rather than believing what is installed.

Knows no model of ours. Meant for `command=doctor`: it may initialise CUDA in the process that calls it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from engines import cuda, nvidia
from engines.base import EngineError
from engines.onnx import SILENT, gpu_problem, import_ort, preload_cuda
from engines.onnx_model import plain
from engines.trt import api as trt_api
from engines.versions import installed

TINY_MODEL = base64.b64decode("CAg6LQoOCgF4CgF4EgF5IgNBZGQSAXRaCwoBeBIGCgQIARIAYgsKAXkSBgoECAESAEIECgAQEQ==")
"""y = x + x for a float scalar, opset 17: `onnx.helper.make_model(...).SerializeToString()`, see tests/engines."""

PACKAGES = (
    ("openvino", ("openvino",), "uv sync --extra openvino"),
    ("torch", ("torch",), "uv sync --extra torch"),
)
TENSORRT: tuple[tuple[Literal["tensorrt", "tensorrt_rtx"], tuple[str, ...]], ...] = (
    ("tensorrt", ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")),
    ("tensorrt_rtx", ("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12")),
)
PROVIDERS = (
    ("cpu", "CPUExecutionProvider", "pip install onnxruntime"),
    ("cuda", "CUDAExecutionProvider", nvidia.INSTALL),
    ("tensorrt", "TensorrtExecutionProvider", f"{nvidia.INSTALL}; and install the TensorRT libraries"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried: "works", "missing" (not installed) or "broken" (installed, but does not work)."""

    area: Literal["onnxruntime", "packages", "gpu"]
    name: str
    status: Literal["works", "missing", "broken"]
    detail: str
    remedy: str = ""
    """What to do where it does not work; empty where it does."""


def probe() -> list[Finding]:
    """Try everything; raises nothing. Takes well under a second, and some seconds where PyTorch is installed."""
    return [*_onnxruntime(), *_packages(), *_tensorrt(), _cuda_bindings(), _gpu()]


def _onnxruntime() -> Iterator[Finding]:
    plain, gpu = (installed(name) for name in ("onnxruntime", "onnxruntime-gpu"))
    if plain and gpu:
        detail = f"onnxruntime {plain} and onnxruntime-gpu {gpu} share one folder, and one hides the other"
        remedy = (
            "pip uninstall onnxruntime onnxruntime-gpu; then install one of them: onnxruntime-gpu[cuda,cudnn] has both"
        )
        yield Finding("onnxruntime", "packages", "broken", detail, remedy)
    try:
        ort = import_ort()
    except EngineError as e:
        status: Literal["broken", "missing"] = "broken" if plain or gpu else "missing"
        yield Finding("onnxruntime", "onnxruntime", status, str(e), "pip install onnxruntime")
        return
    built_in = ort.get_available_providers()
    yield Finding("onnxruntime", "onnxruntime", "works", f"{ort.__version__}, built with {', '.join(built_in)}")
    for name, provider, remedy in PROVIDERS:
        yield _provider(ort, name, provider=provider, remedy=remedy)


def _provider(ort: Any, name: str, *, provider: str, remedy: str) -> Finding:
    """Whether a session really runs there: being built in says nothing."""
    if provider not in ort.get_available_providers():
        return Finding("onnxruntime", name, "missing", f"{provider} is not built into this onnxruntime", remedy)
    try:
        got = _run_tiny(ort, provider)
    except Exception as e:
        return Finding("onnxruntime", name, "broken", plain(e), remedy)
    if got != provider:
        return Finding("onnxruntime", name, "broken", f"a session falls back to {got}: {gpu_problem()}", remedy)
    return Finding("onnxruntime", name, "works", f"a session runs on {provider}")


def _run_tiny(ort: Any, provider: str) -> str:
    """Run the tiny model; the provider that its session says it is on."""
    import numpy as np

    if provider != "CPUExecutionProvider":
        preload_cuda(ort)
    options = ort.SessionOptions()
    options.log_severity_level = SILENT
    session = ort.InferenceSession(TINY_MODEL, options, providers=[provider], enable_fallback=0)
    (y,) = session.run(None, {"x": np.full((), 2, np.float32)})
    if y != 4:
        raise EngineError(f"2 + 2 gives {y} on {provider}")
    first: str = session.get_providers()[0]
    return first


def _packages() -> Iterator[Finding]:
    tries = {"openvino": _openvino, "torch": _torch}
    for name, distributions, remedy in PACKAGES:
        found = installed(*distributions)
        if not found:
            yield Finding("packages", name, "missing", "not installed; this is optional", remedy)
            continue
        try:
            yield Finding("packages", name, "works", f"{found}, {tries[name]()}")
        except Exception as e:  # whatever a broken installation raises
            yield Finding("packages", name, "broken", f"{found}: {type(e).__name__}: {e}", remedy)


def _openvino() -> str:
    """The devices of OpenVINO that add 2 and 2."""
    import numpy as np
    import openvino as ov

    core, works = ov.Core(), []
    model = core.read_model(TINY_MODEL)
    for device in core.available_devices:
        (y,) = core.compile_model(model, device)({"x": np.full((), 2, np.float32)}).values()
        if y != 4:
            raise EngineError(f"2 + 2 gives {y} on {device}")
        works.append(device.lower().replace(".", ":"))
    return f"a model runs on {', '.join(works)}"


def _torch() -> str:
    """The devices of PyTorch that add 2 and 2."""
    import torch

    works = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    for device in works:
        if (y := (torch.tensor(2.0, device=device) + 2).item()) != 4:
            raise EngineError(f"2 + 2 gives {y} on {device}")
    return f"adds on {', '.join(works)}"


def _tensorrt() -> Iterator[Finding]:
    """Whether each of NVIDIA's packages makes a builder, which TensorRT for RTX does without a GPU."""
    for name, distributions in TENSORRT:
        remedy = f"run: {trt_api.INSTALL[name]}"
        if not installed(*distributions) and not find_spec(name):
            yield Finding("packages", name, "missing", "not installed; this is optional", remedy)
            continue
        try:
            yield Finding("packages", name, "works", trt_api.describe(name))
        except EngineError as e:
            yield Finding("packages", name, "broken", str(e), remedy)


def _cuda_bindings() -> Finding:
    """What backend=trt calls the driver by."""
    found = installed("cuda-bindings")
    if not found:
        return Finding(
            "packages", "cuda-bindings", "missing", "not installed; this is optional", f"run: {cuda.INSTALL}"
        )
    try:
        device = cuda.open_device(0)
    except EngineError as e:
        return Finding("packages", "cuda-bindings", "broken", str(e), "install the NVIDIA driver")
    capability = "sm{}{}".format(*device.capability)
    device.close()
    return Finding("packages", "cuda-bindings", "works", f"{found} reaches cuda:0: {device.name} ({capability})")


def _gpu() -> Finding:
    try:
        names = nvidia.devices()
        detail = f"{', '.join(names)}; the driver supports CUDA {nvidia.driver_cuda_version()}"
    except OSError as e:
        missing = "No such file" in str(e)
        return Finding("gpu", "nvidia", "missing" if missing else "broken", str(e), "install the NVIDIA driver")
    if not names:
        return Finding("gpu", "nvidia", "missing", "the driver works but offers no GPU", "connect or enable a GPU")
    return Finding("gpu", "nvidia", "works", detail)
