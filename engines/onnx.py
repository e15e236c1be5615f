"""The engine on ONNX Runtime: on the CPU, or on an NVIDIA GPU by CUDA or TensorRT.

A model that is not where it was asked to be does not load: the provider is read back from the session and compared,
since ONNX Runtime itself falls back to the CPU with no more than a line of log. Knows no node and no kind of model.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from engines import nvidia
from engines.base import EngineError, ModelSpec, Placement, Precision
from engines.device.streams import WorkerStream, current_stream
from engines.files import cache_folder
from engines.loading import Loader, refuse, word_problems
from engines.onnx_model import OnnxModel, plain
from engines.sources import onnx_source

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
PROVIDERS = {"cuda": CUDA, "tensorrt": TENSORRT}
PRECISIONS = ("fp32", "fp16", "int8")
SILENT = 4
"""ONNX Runtime's log level "fatal": all that matters comes back as an exception or is read back here."""


class Onnx(Loader):
    """Loads .onnx files, and what can be exported to them.

    `device` is "cpu" or "cuda:N"; on a GPU, `provider` is "cuda" or "tensorrt". `precision` is what the weights are:
    fp16 is made from an fp32 file, int8 was exported before with calibration; null takes what the file holds.
    `allow_fallback` lets a model asked for on a GPU run on the CPU; `Model.placement` then says so. `threads` is the
    number of threads of one call, None = one a physical core. `spin` lets them wait in a busy loop.
    `memory_limit_mb` bounds what the session takes of the GPU's memory. `warm_up` is the number of calls with zeros,
    for each batch size, before a model is handed out.
    """

    def __init__(
        self,
        device: str = "cpu",
        precision: Precision | None = "fp32",
        *,
        provider: Literal["cuda", "tensorrt"] = "cuda",
        allow_fallback: bool = False,
        threads: int | None = None,
        spin: bool = False,
        memory_limit_mb: int | None = None,
        warm_up: int = 2,
    ) -> None:
        given = {"device": device, "precision": precision, "provider": provider, "threads": threads}
        refuse("engines.onnx.Onnx", _problems(given | {"warm_up": warm_up, "memory_limit_mb": memory_limit_mb}))
        super().__init__(device, precision, allow_fallback=allow_fallback, warm_up=warm_up)
        self.provider = CPU if device == "cpu" else PROVIDERS[provider]
        self.threads, self.spin, self.memory_limit_mb = threads, spin, memory_limit_mb

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """Mistakes that the parameters show, and packages that are missing; imports nothing heavy."""
        yield from _problems(params)
        device = params.get("device", "cpu")
        provider = PROVIDERS.get(params.get("provider", "cuda"), CUDA)
        if not find_spec("onnxruntime"):
            yield f"_target_: the package onnxruntime is not installed; {_remedy(device)}"
        elif device != "cpu" and not params.get("allow_fallback") and not _library(provider).is_file():
            yield f"device: is {device!r}, but the installed onnxruntime is built for the CPU only; {_remedy(device)}"

    def _open(self, spec: ModelSpec) -> OnnxModel:
        source = onnx_source(spec, self.precision, scheme=self.scheme)
        session = self._session(source.path)
        at = self._place(session, source.precision, source.path, source.story)
        return OnnxModel(spec.name, session, placement=at, metadata=source.metadata, stream=self._worker())

    def _worker(self) -> WorkerStream | None:
        """The stream of the worker, which the session runs on then, instead of one of its own."""
        return None if self.device == "cpu" else current_stream(int(self.device.partition(":")[2]))

    def _fallback_remedy(self) -> str:
        return f"{nvidia.INSTALL}; or "

    def _session(self, path: Path) -> Any:
        ort = import_ort()
        if self.device != "cpu":
            preload_cuda(ort)
        # A provider that this build lacks would be no more than a warning; `_place` makes an error of it.
        wanted = [p for p in self._providers() if p[0] in ort.get_available_providers()]
        try:
            return ort.InferenceSession(str(path), self._options(ort), providers=wanted, enable_fallback=0)
        except Exception as e:
            raise EngineError(f"ONNX Runtime cannot load {path.name}: {plain(e)}") from e

    def _providers(self) -> list[tuple[str, dict[str, str]]]:
        if self.device == "cpu":
            return [(CPU, {})]
        number = self.device.partition(":")[2]
        # TF32 rounds the factors of fp32 products to ten bits: what is called fp32 is computed in fp32.
        worker = self._worker()
        stream = {"user_compute_stream": str(worker.handle)} if worker else {}
        cuda = {"device_id": number, "use_tf32": "0"} | stream
        limit = {"gpu_mem_limit": str(self.memory_limit_mb << 20)} if self.memory_limit_mb else {}
        # What TensorRT has no kernel for, CUDA runs, and what that has none for, the CPU.
        below = [(CUDA, cuda | limit), (CPU, {})]
        if self.provider == CUDA:
            return below
        kept = str(cache_folder("onnxruntime-tensorrt"))
        options = {"device_id": number, "trt_engine_cache_enable": "1", "trt_engine_cache_path": kept,
                   "trt_timing_cache_enable": "1", "trt_timing_cache_path": kept}  # fmt: skip
        workspace = {"trt_max_workspace_size": str(self.memory_limit_mb << 20)} if self.memory_limit_mb else {}
        return [(TENSORRT, options | workspace | stream), *below]

    def _options(self, ort: Any) -> Any:
        options = ort.SessionOptions()
        options.log_severity_level = SILENT
        options.intra_op_num_threads = self.threads or 0
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(self.spin)))
        options.add_session_config_entry("session.record_ep_graph_assignment_info", str(int(self.device != "cpu")))
        return options

    def _place(self, session: Any, precision: Precision | None, path: Path, story: str) -> Placement:
        """Where the session runs, read back from it."""
        provider = session.get_providers()[0]
        device, reason = "cpu", "as requested"
        if provider == self.provider and provider != CPU:
            device = f"cuda:{session.get_provider_options()[provider]['device_id']}"
            provider, reason = _steps(session, provider)
            device = device if provider != CPU else "cpu"
        elif self.device != "cpu":
            # TensorRT that gives way to CUDA is a fallback as well, though on the same device.
            device = f"{self.device} without TensorRT" if provider == CUDA else "cpu"
            reason = gpu_problem(self.provider)
        reason = f"{reason}; {story}" if story else reason
        return Placement("onnx", self.device, device, provider, precision or "unknown", reason, path)


def import_ort() -> Any:
    """ONNX Runtime, with its log kept off the terminal; EngineError where it is not installed, or broken."""
    try:
        import onnxruntime as ort

        ort.set_default_logger_severity(SILENT)
    except (ImportError, AttributeError) as e:
        raise EngineError(f"the package onnxruntime cannot be used: {e}; reinstall it: pip install onnxruntime") from e
    return ort


def preload_cuda(ort: Any) -> None:
    """Load the CUDA libraries that came as Python packages, which the dynamic linker does not find by itself."""
    if hasattr(ort, "preload_dlls"):
        # It prints what it does not find; `gpu_problem` says it where it matters.
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()


def _problems(params: Mapping[str, Any]) -> Iterator[str]:
    device, provider = params.get("device", "cpu"), params.get("provider", "cuda")
    if not re.fullmatch(r"cpu|cuda:\d+", str(device)):
        yield f"device: is {device!r}; expected 'cpu', or 'cuda:N' for the GPU number N, such as 'cuda:0'"
    if provider not in PROVIDERS:
        yield f"provider: is {provider!r}; expected {' or '.join(PROVIDERS)}"
    if params.get("precision") == "bf16":
        yield "precision: is 'bf16', which ONNX Runtime hardly has kernels for; take fp32 or fp16, or backend=openvino"
    else:
        yield from word_problems(params, precisions=PRECISIONS, null="what the file holds")


def _remedy(device: Any) -> str:
    return "run: pip install onnxruntime" if device == "cpu" else nvidia.INSTALL


def _library(provider: str) -> Path:
    found = find_spec("onnxruntime")
    name = {CUDA: "cuda", TENSORRT: "tensorrt"}[provider]
    return Path(found.origin or "" if found else "").parent / "capi" / f"libonnxruntime_providers_{name}.so"


def gpu_problem(provider: str = CUDA) -> str:
    """The likely reason why a session that was asked for on a GPU is somewhere else."""
    if not _library(provider).is_file():
        return "the installed onnxruntime is built for the CPU only"
    shared = _library(provider).with_name("libonnxruntime_providers_shared.so")
    problem = nvidia.first_problem(["libcuda.so.1", shared, _library(provider)])
    return problem or "ONNX Runtime does not say why; is the GPU supported by this version of CUDA?"


def _steps(session: Any, provider: str) -> tuple[str, str]:
    """Provider that runs the model's steps, and how many run elsewhere: a session on a GPU leaves some to the CPU."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return provider, "as requested"
    counts: dict[str, int] = {}
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
    total = sum(counts.values())
    if total and not counts.get(provider):
        first = CUDA if counts.get(CUDA) else CPU
        return first, f"{provider} has no kernel for any of the model's steps"
    return provider, f"as requested; {counts.get(provider, 0)} of {total} steps by it"
