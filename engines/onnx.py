"""The engine on ONNX Runtime, on the CPU or on an NVIDIA GPU.

A model that is not where it was asked to be does not load: the provider is read back from the session and compared,
since ONNX Runtime itself falls back to the CPU with no more than a line of log. Knows no node and no kind of model.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from engines import nvidia, onnx_file
from engines.base import EngineError, Model, ModelSpec, Placement, Precision
from engines.onnx_model import OnnxModel, plain
from engines.shapes import shape_problem
from engines.weights import fetch

logger = logging.getLogger(__name__)

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
SILENT = 4
"""ONNX Runtime's log level "fatal": all that matters comes back as an exception or is read back here."""


class Onnx:
    """Loads .onnx files.

    `device` is "cpu" or "cuda:N". `precision` is what the file must hold (this engine converts nothing); None takes
    any. `allow_fallback` lets a model asked for on CUDA run on the CPU; `Model.placement` then says so. `threads` is
    the number of threads of one call, None = one a physical core. `spin` lets them wait in a busy loop. `warm_up` is
    the number of calls with zeros, for each batch size, before a model is handed out.
    """

    def __init__(
        self,
        device: str = "cpu",
        precision: Precision | None = "fp32",
        *,
        allow_fallback: bool = False,
        threads: int | None = None,
        spin: bool = False,
        warm_up: int = 2,
    ) -> None:
        given = {"device": device, "precision": precision, "threads": threads, "warm_up": warm_up}
        if problems := list(_word_problems(given)):
            raise EngineError(f"engines.onnx.Onnx: {'; '.join(problems)}")
        self.device, self.precision, self.allow_fallback = device, precision, allow_fallback
        self.threads, self.spin, self.warm_up = threads, spin, warm_up

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """Mistakes that the parameters show, and packages that are missing; imports nothing heavy."""
        yield from _word_problems(params)
        device = params.get("device", "cpu")
        if not find_spec("onnxruntime"):
            yield f"_target_: the package onnxruntime is not installed; {_remedy(device)}"
        elif device != "cpu" and not params.get("allow_fallback") and not _cuda_library().is_file():
            yield f"device: is {device!r}, but the installed onnxruntime is built for the CPU only; {_remedy(device)}"

    def load(self, spec: ModelSpec) -> Model:
        """Load `spec`, verify that it is what and where it was asked to be, and warm it up."""
        try:
            model = self._model(spec, fetch(spec.weights))
        except EngineError as e:
            raise EngineError(f"{spec.name}: {e}") from e
        try:
            model.warm_up(spec, runs=self.warm_up)
        except EngineError:
            model.close()
            raise
        at = model.placement
        if at.fallback:
            logger.warning("%s: %s was asked for, it runs on %s: %s", spec.name, self.device, at.device, at.reason)
        logger.info("%s runs on %s (%s, %s)", spec.name, at.device, at.provider, at.precision)
        return model

    def _model(self, spec: ModelSpec, path: Path) -> OnnxModel:
        precision = _read(path).precision
        if None not in (self.precision, precision) and self.precision != precision:
            raise EngineError(
                f"precision {self.precision} is asked for, but the weights in {path.name} are {precision}; "
                f"export the model as {self.precision}, or set precision to {precision} "
                "(null takes what the file holds)"
            )
        session = self._session(path)
        model = OnnxModel(spec.name, session, placement=self._place(session, precision))
        if problem := shape_problem(spec, model.inputs, path.name):
            raise EngineError(problem)
        return model

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
        # TF32 rounds the factors of fp32 products to ten bits: what is called fp32 is computed in fp32.
        return [(CUDA, {"device_id": self.device.partition(":")[2], "use_tf32": "0"}), (CPU, {})]

    def _options(self, ort: Any) -> Any:
        options = ort.SessionOptions()
        options.log_severity_level = SILENT
        options.intra_op_num_threads = self.threads or 0
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(self.spin)))
        options.add_session_config_entry("session.record_ep_graph_assignment_info", str(int(self.device != "cpu")))
        return options

    def _place(self, session: Any, precision: Precision | None) -> Placement:
        """Where the session runs, read back from it; EngineError where that is not allowed."""
        provider = session.get_providers()[0]
        device, reason = "cpu", "as requested"
        if provider == CUDA:
            device = f"cuda:{session.get_provider_options()[CUDA]['device_id']}"
            provider, reason = _steps(session)
            device = device if provider == CUDA else "cpu"
        elif self.device != "cpu":
            reason = cuda_problem()
        if device != self.device and not self.allow_fallback:
            raise EngineError(
                f"device {self.device} is asked for, but ONNX Runtime put the model on {device} ({provider}): "
                f"{reason}; {nvidia.INSTALL}; or set device to {device}, or allow_fallback to true"
            )
        return Placement("onnx", self.device, device, provider, precision or "unknown", reason)


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
        # It prints what it does not find; `cuda_problem` says it where it matters.
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()


def _word_problems(params: Mapping[str, Any]) -> Iterator[str]:
    device = params.get("device", "cpu")
    if not re.fullmatch(r"cpu|cuda:\d+", str(device)):
        yield f"device: is {device!r}; expected 'cpu', or 'cuda:N' for the GPU number N, such as 'cuda:0'"
    precision = params.get("precision")
    if precision not in (None, *get_args(Precision)):
        yield f"precision: is {precision!r}; expected {', '.join(get_args(Precision))}, or null for what the file holds"
    for key, least in (("threads", 1), ("warm_up", 0)):
        value = params.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            yield f"{key}: is {value!r}; expected a whole number, {least} or more"


def _remedy(device: Any) -> str:
    return "run: pip install onnxruntime" if device == "cpu" else nvidia.INSTALL


def _cuda_library() -> Path:
    found = find_spec("onnxruntime")
    return Path(found.origin or "" if found else "").parent / "capi" / "libonnxruntime_providers_cuda.so"


def cuda_problem() -> str:
    """The likely reason why a session that was asked for on CUDA is on the CPU."""
    if not _cuda_library().is_file():
        return "the installed onnxruntime is built for the CPU only"
    shared = _cuda_library().with_name("libonnxruntime_providers_shared.so")
    problem = nvidia.first_problem(["libcuda.so.1", shared, _cuda_library()])
    return problem or "ONNX Runtime does not say why; is the GPU supported by this version of CUDA?"


def _steps(session: Any) -> tuple[str, str]:
    """Provider that runs the model's steps, and how many run elsewhere: a session on CUDA leaves some to the CPU."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return CUDA, "as requested"
    counts: dict[str, int] = {}
    for part in session.get_provider_graph_assignment_info():
        counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
    total = sum(counts.values())
    if total and not counts.get(CUDA):
        return CPU, "CUDA has no kernel for any of the model's steps"
    return CUDA, f"as requested; {counts.get(CUDA, 0)} of {total} steps on the GPU"


def _read(path: Path) -> onnx_file.OnnxFile:
    """Contents of the file; EngineError with the remedy where it is no ONNX model that can be loaded."""
    if path.suffix in (".pt", ".pth"):
        raise EngineError(
            f"{path} is a PyTorch file, which this engine does not open. Export it with `yolo export "
            f"model={path.name} format=onnx` (AGPL-3.0 tool) and set detector.weights={path.stem}.onnx, "
            "or choose detector=yolox_nano, whose official file is ONNX"
        )
    if not path.stat().st_size:
        raise EngineError(f"{path} is empty; get the file again")
    try:
        contents = onnx_file.read(path)
    except ValueError as e:
        raise EngineError(f"{path} cannot be read as an ONNX model: {e}; export or download it again") from e
    missing = [name for name in contents.external if not (path.parent / name).is_file()]
    if missing:
        raise EngineError(f"{path} keeps weights in {', '.join(missing)}, which is not in {path.parent}; copy it there")
    return contents
