"""The engine on PyTorch: eager, compiled, or as CUDA graphs. The reference of accuracy, and the slowest of all.

It runs ONNX files and the weights of `engines.architectures`; a file from elsewhere is read, never executed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from engines import export, nvidia
from engines.base import EngineError, Model, ModelSpec, OutOfMemoryError, Placement, Precision, Tensor
from engines.export import import_torch
from engines.loading import Loader, refuse, word_problems
from engines.sources import Given, given, read_onnx, size_of

if TYPE_CHECKING:
    import torch

    from engines.torch.model import TorchModel

PRECISIONS = ("fp32", "fp16", "bf16")
MODES = ("eager", "compile", "graph")
Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Network:
    """What was found in a file."""

    make: Callable[[Shapes], torch.nn.Module]
    """From the shapes of the inputs to the module that takes them."""
    inputs: Sequence[Tensor]
    output_names: Sequence[str]
    metadata: Mapping[str, str]


class Torch(Loader):
    """Loads ONNX files, .pt, .pth and .safetensors files of known networks, and random weights.

    `device` is "cpu" or "cuda:N", `precision` what is computed in. `mode` is "eager", "compile" (by torch.compile:
    half a minute at the start) or "graph" (a CUDA graph for each batch size: one launch a call). `channels_last` lays
    images out as convolutions like them best. `threads` is the number of threads, of the whole process; None = as many
    as cores. `memory_limit_mb` bounds what PyTorch takes of the GPU's memory in the whole process: all models share it,
    the last one loaded that names a limit sets it, and None leaves it. `priority` of the CUDA stream: lower goes first.
    `warm_up` as for every engine.
    """

    def __init__(
        self,
        device: str = "cpu",
        precision: Precision = "fp32",
        *,
        mode: Literal["eager", "compile", "graph"] = "eager",
        channels_last: bool = False,
        threads: int | None = None,
        memory_limit_mb: int | None = None,
        priority: int = 0,
        warm_up: int = 2,
    ) -> None:
        params = {"device": device, "precision": precision, "mode": mode, "threads": threads, "warm_up": warm_up}
        refuse("engines.torch.Torch", _problems(params | {"memory_limit_mb": memory_limit_mb}))
        super().__init__(device, precision, allow_fallback=False, warm_up=warm_up)
        self.mode, self.channels_last, self.threads = mode, channels_last, threads
        self.memory_limit_mb, self.priority = memory_limit_mb, priority

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Iterable[str]:
        """Mistakes that the parameters show, and packages that are missing; imports nothing heavy."""
        yield from _problems(params)
        if not find_spec("torch"):
            yield "_target_: the package torch is not installed; install the extra: uv sync --extra torch"

    def load(self, spec: ModelSpec) -> Model:
        """See `engines.base.Engine`; OutOfMemoryError where the weights alone are too large for the GPU."""
        if self.device == "cpu":
            return super().load(spec)
        torch = import_torch()
        try:
            self._prepare(torch)
        except EngineError as e:
            raise EngineError(f"{spec.name}: {e}") from e
        from engines.torch import cuda as torch_cuda

        with torch_cuda.limited(self.device, self.memory_limit_mb):
            try:
                return super().load(spec)
            except torch.cuda.OutOfMemoryError as e:
                batch, free = max(spec.batch_sizes, default=1), torch_cuda.free_memory(self.device)
                raise OutOfMemoryError(
                    f"{spec.name}: {self.device} has too little memory to load it for a batch of {batch}: {free}; "
                    "choose precision fp16 or a smaller model, or raise memory_limit_mb"
                ) from e

    def _open(self, spec: ModelSpec) -> TorchModel:
        torch = import_torch()
        from engines.torch.model import CudaModel, TorchModel

        self._prepare(torch)
        source = given(spec)
        network = self._network(spec, source)
        reason = f"as requested; {self.mode}" + ("; random weights" if source.kind == "random" else "")
        at = Placement(
            "torch", self.device, self.device, f"torch {self.mode}", str(self.precision), reason, source.path
        )
        kind = TorchModel if self.device == "cpu" else CudaModel
        return kind(spec.name, at, network, engine=self, first=_first_shapes(spec, network.inputs))

    def _prepare(self, torch: Any) -> None:
        if self.threads:
            torch.set_num_threads(self.threads)
        if self.device == "cpu":
            return
        number = int(self.device.partition(":")[2])
        if not torch.cuda.is_available() or number >= torch.cuda.device_count():
            why = "this PyTorch is built for the CPU only" if torch.version.cuda is None else _driver_problem(torch)
            raise EngineError(f"device {self.device} is asked for, but {why}; set device to cpu, or repair that")
        # What is called fp32 is computed in fp32, not with factors rounded to ten bits.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    def _network(self, spec: ModelSpec, source: Given) -> Network:
        import numpy as np
        import torch

        dtype = self.dtype()
        if source.kind == "onnx":
            from engines.torch.graph import OnnxGraph

            assert source.path is not None
            contents, graph = read_onnx(source.path), OnnxGraph(source.path)

            def program(shapes: Shapes) -> torch.nn.Module:
                return graph.program(shapes, dtype).place(self.device, channels_last=self.channels_last)

            return Network(program, graph.inputs, [t.name for t in graph.outputs], contents.metadata)
        size_wh = export.export_size(spec, size_of(spec))
        module, metadata = export.network(spec, source.path, size_wh)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        placed = module.to(device=self.device, dtype=dtype, memory_format=layout)
        inputs = [Tensor("images", (None, 3, size_wh[1], size_wh[0]), np.dtype("f4"))]
        return Network(lambda shapes: placed, inputs, ["output"], metadata)

    def dtype(self) -> Any:
        """The PyTorch type of `precision`."""
        torch = import_torch()
        return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[str(self.precision)]


def _problems(params: Mapping[str, Any]) -> Iterator[str]:
    device, mode = str(params.get("device", "cpu")), params.get("mode", "eager")
    if not re.fullmatch(r"cpu|cuda:\d+", device):
        yield f"device: is {device!r}; expected 'cpu', or 'cuda:N' for the GPU number N, such as 'cuda:0'"
    if mode not in MODES:
        yield f"mode: is {mode!r}; expected {', '.join(MODES)}"
    elif mode == "graph" and device == "cpu":
        yield "mode: is 'graph', which is a CUDA graph, but device is 'cpu'; take eager or compile"
    yield from word_problems(params, precisions=PRECISIONS)


def _driver_problem(torch: Any) -> str:
    problem = nvidia.load_problem("libcuda.so.1")
    return problem or f"PyTorch finds {torch.cuda.device_count()} GPUs"


def _first_shapes(spec: ModelSpec, inputs: Sequence[Tensor]) -> Shapes | None:
    """The shapes that the model is opened with, to read back its outputs; None where they are not all known."""
    from engines.shapes import shape_problem, warm_up_shapes

    if shape_problem(spec, inputs, ""):
        return None
    shapes = warm_up_shapes(spec, inputs)
    return tuple(shapes[0]) if shapes else None
