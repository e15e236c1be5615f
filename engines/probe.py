"""What of the inference runtimes works on this machine: each is tried, not only looked for. For `command=doctor`."""

from __future__ import annotations

import base64
import ctypes.util
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

Status = Literal["works", "missing", "broken"]

# An ONNX model that doubles one number: made with onnx.helper, opset 17, `Add(x, x) -> y`, float32 [1].
DOUBLE = base64.b64decode(
    "CAg6OgoOCgF4CgF4EgF5IgNBZGQSBmRvdWJsZVoPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEBE="
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried."""

    area: str
    name: str
    status: Status
    detail: str
    remedy: str = ""


def probe() -> list[Finding]:
    """Everything that is worth knowing, in the order in which people need it."""
    return [*_onnxruntime(), *_others(), _driver(), *_speech()]


def _onnxruntime() -> Iterator[Finding]:
    both = [n for n in ("onnxruntime", "onnxruntime-gpu") if _version(n)]
    if len(both) > 1:
        yield Finding("onnx", "packages", "broken", "onnxruntime and onnxruntime-gpu share a folder", "keep only one")
    if not both:
        yield Finding("onnx", "onnxruntime", "missing", "", "uv sync")
        return
    import onnxruntime

    providers = [p for p in onnxruntime.get_available_providers() if p != "AzureExecutionProvider"]
    for provider in ("CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"):
        detail = f"{both[0]} {_version(both[0])}"
        if provider not in providers:
            remedy = "an NVIDIA GPU and onnxruntime-gpu[cuda,cudnn] in place of onnxruntime"
            yield Finding("onnx", provider, "missing", f"not compiled into {detail}", remedy)
            continue
        error = _try(provider)
        remedy = "a driver, and onnxruntime-gpu[cuda,cudnn] for the libraries" if error else ""
        yield Finding("onnx", provider, "broken" if error else "works", error or detail, remedy)


def _try(provider: str) -> str | None:
    """What goes wrong when a model is run on `provider`; None: nothing, it really ran there."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(DOUBLE, options, providers=[provider])
        (y,) = session.run(None, {"x": np.array([21], np.float32)})
    except Exception as e:  # whatever a runtime raises is what is to be told
        return str(e).splitlines()[0]
    used = session.get_providers()[0]
    if used != provider:
        return f"it falls back to {used}"
    return None if y[0] == 42 else f"it computes 2 x 21 = {y[0]}"


def _others() -> Iterator[Finding]:
    for package, name in (("openvino", "openvino"), ("torch", "torch"), ("tensorrt", "trt"), ("tensorrt-rtx", "trt")):
        found = _version(package) or _version(f"{package}-cu13")
        status: Status = "works" if found else "missing"
        yield Finding(
            name,
            package,
            status,
            f"installed: {found}" if found else "",
            "" if found else "no backend of ours uses it yet",
        )


def _driver() -> Finding:
    found = ctypes.util.find_library("cuda")
    return Finding(
        "gpu", "NVIDIA driver", "works" if found else "missing", found or "", "" if found else "needed for CUDA only"
    )


def _speech() -> Iterator[Finding]:
    for package, remedy in (
        ("espeakng-loader", "uv sync, or Debian's espeak-ng"),
        ("sounddevice", "uv sync --extra audio"),
    ):
        found = _version(package)
        yield Finding("speech", package, "works" if found else "missing", found or "", "" if found else remedy)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
