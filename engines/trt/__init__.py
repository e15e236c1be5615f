"""The engine on NVIDIA TensorRT: `tensorrt`, or TensorRT for RTX where that is what is installed.

The engine's file is built from ONNX once, for this kind of GPU, and kept. Nothing falls back: a model runs on the GPU
that was asked for, or does not load. Knows no node and no kind of model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from engines import artifacts, onnx_file
from engines.base import EngineError, ModelSpec, Placement, Precision, Tensor
from engines.cuda import INSTALL as INSTALL_CUDA
from engines.cuda import Device, open_device
from engines.files import sha256_of
from engines.loading import Loader, refuse, word_problems
from engines.onnx_graph import Graph
from engines.shapes import shape_problem
from engines.sources import OnnxSource, onnx_source
from engines.trt import build as trt_build
from engines.trt.api import INSTALL, NAMES, Package, TensorRt, open_package
from engines.trt.build import Batch
from engines.trt.check import target_problem
from engines.trt.execution import Execution, Options
from engines.trt.model import TrtModel

logger = logging.getLogger(__name__)


class Trt(Loader):
    """Loads models onto an NVIDIA GPU by TensorRT, and builds their engines where they are not there yet.

    `device` is "cuda:N". `precision` is that of the weights; None keeps what the file holds. `package` names one of
    NVIDIA's packages, "auto" takes the first that works. `target` is what an engine is built for: "current", or "sm75"
    and so on, which must then be what the device is. `batch` is the least, usual and largest batch where the file
    leaves it free; it grows to what the node feeds. `cuda_graph` launches a run with one call. `priority` is that of
    the stream, lower numbers first. `spin` waits for the GPU on a core. `workspace_mb` bounds what lies between the
    steps of an engine, `memory_limit_mb` all that a model takes of the GPU. `warm_up` is the number of calls with
    zeros, for each batch size, before a model is handed out.
    """

    scheme = "s8s8"

    def __init__(
        self,
        device: str = "cuda:0",
        precision: Precision | None = "fp16",
        *,
        package: Package = "auto",
        target: str = "current",
        batch: Sequence[int] = (1, 1, 4),
        cuda_graph: bool = True,
        priority: int = 0,
        spin: bool = False,
        workspace_mb: int | None = None,
        memory_limit_mb: int | None = None,
        warm_up: int = 2,
    ) -> None:
        given: dict[str, Any] = {
            "device": device,
            "precision": precision,
            "package": package,
            "target": target,
            "batch": batch,
        }
        given |= {"priority": priority, "workspace_mb": workspace_mb, "memory_limit_mb": memory_limit_mb}
        refuse("engines.trt.Trt", _problems(given | {"warm_up": warm_up}))
        super().__init__(device, precision, allow_fallback=False, warm_up=warm_up)
        self.package, self.target, self.batch = package, target, (batch[0], batch[1], batch[2])
        self.options = Options(cuda_graph, priority, spin, memory_limit_mb)
        self.workspace_mb = workspace_mb

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """Mistakes that the parameters show, and packages that are missing; imports nothing heavy."""
        yield from _problems(params)
        package = params.get("package", "auto")
        names = [package] if package in NAMES else list(NAMES)
        if not any(find_spec(name) for name in names):
            remedy = "; or ".join(INSTALL[name] for name in names)
            yield f"_target_: the package {' or '.join(names)} is not installed; run: {remedy}"
        if not find_spec("cuda") or not find_spec("cuda.bindings"):
            yield f"_target_: the package cuda-bindings is not installed; run: {INSTALL_CUDA}"

    def open_package(self) -> TensorRt:
        """The package of NVIDIA's that is used."""
        return open_package(self.package)

    def open_device(self) -> Device:
        """The device that is asked for."""
        return open_device(int(self.device.partition(":")[2]))

    def _open(self, spec: ModelSpec) -> TrtModel:
        api = self.open_package()
        source, flag = self._source(spec, api, self.precision)
        device = self.open_device()
        try:
            target = self._target(api, device)
            graph = self._graph(spec, source)
            path = self._artifact(spec, api, source, graph, flag=flag, target=target, device=device.name)
        except BaseException:
            device.close()
            raise
        execution = Execution(api, device, path, self.options)
        reason = f"as requested: {target}, {device.name}"
        placement = Placement(
            "trt",
            self.device,
            f"cuda:{device.number}",
            f"{api.name} {api.version}",
            flag or source.precision or "unknown",
            f"{reason}; {source.story}" if source.story else reason,
            path,
        )
        return TrtModel(spec.name, execution, placement=placement, metadata=source.metadata)

    def _prepared(self, spec: ModelSpec, precision: Precision | None) -> Path:
        """The engine; TensorRT for RTX builds that of a named target without having such a GPU."""
        api = self.open_package()
        source, flag = self._source(spec, api, precision)
        target, name = self.target, ""
        if not api.rtx or target == "current":
            device = self.open_device()
            device.close()
            target, name = self._target(api, device), device.name
        return self._artifact(spec, api, source, self._graph(spec, source), flag=flag, target=target, device=name)

    def _source(
        self, spec: ModelSpec, api: TensorRt, precision: Precision | None
    ) -> tuple[OnnxSource, Precision | None]:
        """The ONNX file, and the precision that the builder is to change it to: TensorRT 10 has bf16 only so."""
        flag: Precision | None = "bf16" if precision == "bf16" and api.takes_flags else None
        return onnx_source(spec, "fp32" if flag else precision, scheme=self.scheme), flag

    def _target(self, api: TensorRt, device: Device) -> str:
        """What the device is; EngineError where an engine for it is not what is asked for, or cannot be."""
        there = "sm{}{}".format(*device.capability)
        if self.target not in ("current", there):
            raise EngineError(
                f"target {self.target} is asked for, but {self.device} is a {device.name} ({there}), which cannot run "
                "such an engine; set target to current, or device to another GPU"
            )
        if problem := target_problem(there, rtx=api.rtx):
            raise EngineError(problem)
        return there

    def _graph(self, spec: ModelSpec, source: OnnxSource) -> Graph:
        """The graph of the file; EngineError where the node feeds something else: before anything is built."""
        graph = trt_build.read_graph(source.path)
        ends = [Tensor(name, shape, np.dtype(np.void)) for name, shape in graph.inputs.items()]  # any type will do
        if problem := shape_problem(spec, ends, source.path.name):
            raise EngineError(problem)
        return graph

    def _artifact(
        self,
        spec: ModelSpec,
        api: TensorRt,
        source: OnnxSource,
        graph: Graph,
        *,
        flag: Precision | None,
        target: str,
        device: str,
    ) -> Path:
        """The engine of `source` for a target such as "sm75", and a device by name."""
        batch = _widened(self.batch, spec.batch_sizes)
        shapes = trt_build.merged(graph, spec.inputs)
        outside = onnx_file.read(source.path).external
        key = {
            "made": "engine",
            "source": [sha256_of(path) for path in (source.path, *(source.path.parent / name for name in outside))],
            "backend": api.name,
            "version": api.version,
            "target": target,
            # An engine of TensorRT for RTX fits every GPU of its target, one of TensorRT only its own model.
            "device": "" if api.rtx else device,
            "precision": flag or "as the file",
            "inputs": {name: list(shape) for name, shape in shapes.items()},
            "batch": list(batch),
            "workspace_mb": self.workspace_mb or 0,
        }

        def make(path: Path) -> None:
            gpu = f"{target}, {device}" if device else target
            logger.info("%s: building an engine for %s from %s", spec.name, gpu, source.path.name)
            built = trt_build.build(
                api,
                source.path,
                target=target if api.rtx else "current",
                batch=batch,
                inputs=spec.inputs,
                workspace_mb=self.workspace_mb,
                precision=flag,
            )
            path.write_bytes(built.data)
            logger.info("%s: built in %.1f s, %.1f MB", spec.name, built.seconds, len(built.data) / 1e6)

        return artifacts.obtain(key, ".engine", make, title=f"{source.path.stem}-{target}")


def _widened(batch: Batch, sizes: Sequence[int]) -> Batch:
    """The range, so that it holds all sizes that the node feeds."""
    return min(batch[0], *sizes), batch[1], max(batch[2], *sizes)


def _problems(params: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the parameters themselves, whatever is installed."""
    device, target, package = params.get("device", "cuda:0"), params.get("target", "current"), params.get("package")
    if not isinstance(device, str) or not re.fullmatch(r"cuda:\d+", device):
        yield f"device: is {device!r}; TensorRT runs on NVIDIA GPUs only: expected cuda:0, cuda:1, ..."
    yield from word_problems({"precision": "fp16"} | dict(params), null="what the file holds")
    if package not in (None, "auto", *NAMES):
        yield f"package: is {package!r}; expected auto, {', '.join(NAMES)}"
    yield from _target_problems(target, package, params.get("precision", "fp16"))
    yield from _batch_problems(params.get("batch", (1, 1, 4)))
    priority = params.get("priority", 0)
    if isinstance(priority, bool) or not isinstance(priority, int):
        yield f"priority: is {priority!r}; expected a whole number, lower goes first"
    workspace = params.get("workspace_mb")
    if workspace is not None and (isinstance(workspace, bool) or not isinstance(workspace, int) or workspace < 1):
        yield f"workspace_mb: is {workspace!r}; expected a whole number, 1 or more, or null"


def _target_problems(target: Any, package: Any, precision: Any) -> Iterator[str]:
    if not isinstance(target, str) or not re.fullmatch(r"current|sm\d{2,3}", target):
        yield f"target: is {target!r}; expected current, or sm75, sm86, ... as the compute capability of the GPU"
        return
    if package == "tensorrt_rtx" and (problem := target_problem(target, rtx=True)):
        yield f"target: {problem}"
    if precision == "bf16" and target in ("sm70", "sm72", "sm75"):
        yield f"precision: bf16 needs sm80 or newer, target is {target}; set precision to fp16"


def _batch_problems(batch: Any) -> Iterator[str]:
    sizes = list(batch) if isinstance(batch, Sequence) and not isinstance(batch, str) else []
    whole = len(sizes) == 3 and all(isinstance(n, int) and not isinstance(n, bool) for n in sizes)
    if not whole or not 1 <= sizes[0] <= sizes[1] <= sizes[2]:
        yield f"batch: is {batch!r}; expected three whole numbers in order: the least, usual and largest batch"
