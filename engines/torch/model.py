"""Models in PyTorch: on the CPU, and on CUDA with a stream, kept buffers and graphs. Imported with PyTorch only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter_ns
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from engines.base import Array, DeviceArray, EngineError, Place, Placement, Tensor
from engines.device.streams import current_stream
from engines.model import LoadedModel
from engines.torch import cuda as torch_cuda

if TYPE_CHECKING:
    from engines.torch import Network, Torch

Shapes = tuple[tuple[int, ...], ...]
HALVES = (torch.float16, torch.bfloat16)
CAPTURE_RUNS = 3
"""Runs before a graph is captured: the first ones choose algorithms and take memory."""


class TorchModel(LoadedModel):
    """A module on the CPU. Not for calls from several threads at once."""

    def __init__(
        self,
        name: str,
        placement: Placement,
        network: Network,
        *,
        engine: Torch,
        first: Shapes | None,
    ) -> None:
        super().__init__(name, placement, network.inputs, (), network.metadata)
        self._make, self._dtype, self._mode = network.make, engine.dtype(), engine.mode
        self._is_channels_last = engine.channels_last
        self._modules: dict[Shapes, Any] = {}
        self._priority = engine.priority
        self._open()
        if first is not None:
            outputs = self._first(tuple(np.zeros(s, t.dtype) for s, t in zip(first, self.inputs, strict=True)))
            free = any(t.shape and t.shape[0] is None for t in self.inputs)
            self.outputs = tuple(
                Tensor(name, (None if free else x.shape[0], *x.shape[1:]) if x.ndim else (), x.dtype)
                for name, x in zip(network.output_names, outputs, strict=True)
            )

    def _open(self) -> None:
        """Acquire what a device wants."""

    def _first(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """The first run; where it fails, everything is given back."""
        try:
            return self._run(inputs)
        except Exception as e:
            failure = e if isinstance(e, EngineError) else self._failure(e, inputs)
            self.close()
            raise type(failure)(str(failure).removeprefix(f"{self.name}: ")) from e

    def _run(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        with torch.inference_mode():
            fed = [self._fit(torch.from_numpy(_writable(x))) for x in inputs]
            outputs = self._forward(tuple(x.shape for x in inputs))(*fed)
            return tuple(_own(x, inputs) for x in _tuple(outputs))

    def on_device(self, *inputs: DeviceArray) -> tuple[DeviceArray, ...]:
        """See `engines.base.StaysOnDevice`. The outputs are tensors. Raises EngineError when the run fails."""
        try:
            return self._stay(inputs)
        except Exception as e:
            raise self._failure(e, tuple(inputs)) from e  # type: ignore[arg-type]

    def _stay(self, inputs: Sequence[DeviceArray]) -> tuple[torch.Tensor, ...]:
        with torch.inference_mode():
            fed = [self._fit(torch.from_dlpack(x)) for x in inputs]
            return tuple(_wide(x) for x in _tuple(self._forward(tuple(tuple(x.shape) for x in fed))(*fed)))

    def _forward(self, shapes: Shapes) -> Any:
        if shapes not in self._modules:
            module = self._make(shapes)
            self._modules[shapes] = _compiled(module) if self._mode == "compile" else module
        return self._modules[shapes]

    def _fit(self, x: torch.Tensor) -> torch.Tensor:
        """`x` in the type and layout that the module computes in: itself, where it has them."""
        if x.dtype is not self._dtype and x.is_floating_point():
            x = x.to(self._dtype)
        if self._is_channels_last and x.ndim == 4:
            return x.contiguous(memory_format=torch.channels_last)
        return x.contiguous()

    def _release(self) -> None:
        self._modules.clear()
        self._make = _closed


class CudaModel(TorchModel):
    """A module on a CUDA device: pinned buffers that are kept, and graphs where asked for.

    It runs on the stream of its worker, or on one of its own where the worker has none.
    """

    enqueue_ns: int | None = None
    """How long the last call took to put its work on the stream: what the GPU waits for where it is the longer."""

    def _open(self) -> None:
        self._device = torch.device(self.placement.device)
        worker = current_stream(self._device.index)
        self._is_own_stream = worker is None
        if worker is None:
            self._stream = torch_cuda.STREAMS.take(self._device, self._priority)
        else:
            self._stream = torch.cuda.ExternalStream(worker.handle, self._device)
            # For all that this thread does by PyTorch: by way of the default stream, workers would wait for each other.
            torch.cuda.set_stream(self._stream)
        self._placed: dict[Shapes, list[torch.Tensor]] = {}
        self._pinned: dict[tuple[Shapes, str], list[torch.Tensor]] = {}
        self._graphs: dict[Shapes, tuple[Any, list[torch.Tensor], tuple[torch.Tensor, ...]]] = {}

    def _run(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        shapes = tuple(x.shape for x in inputs)
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            pinned = self._kept((shapes, "in"), [torch.from_numpy(_writable(x)) for x in inputs])
            for buffer, x in zip(pinned, inputs, strict=True):
                np.copyto(buffer.numpy(), x)
            begun = perf_counter_ns()
            outputs = self._compute(shapes, [x.to(self._device, non_blocking=True) for x in pinned])
            return self._fetched(shapes, outputs, begun)

    def _fetched(self, shapes: Shapes, outputs: Sequence[torch.Tensor], begun: int) -> tuple[Array, ...]:
        """The outputs on the host, of a call whose submission began at `begun`."""
        results = self._kept((shapes, "out"), outputs)
        for buffer, x in zip(results, outputs, strict=True):
            buffer.copy_(x, non_blocking=True)
        self.enqueue_ns = perf_counter_ns() - begun
        # The only wait: until the outputs have come down.
        self._stream.synchronize()
        return tuple(np.array(buffer.numpy()) for buffer in results)

    def places(self, *shapes: tuple[int, ...]) -> tuple[Place, ...]:
        """See `engines.base.FedOnDevice`."""
        if shapes not in self._placed:
            with torch.inference_mode(), torch.cuda.stream(self._stream):
                kinds = [torch.from_numpy(np.zeros(0, tensor.dtype)).dtype for tensor in self.inputs]
                made = [torch.zeros(s, dtype=k, device=self._device) for s, k in zip(shapes, kinds, strict=True)]
                self._compute(shapes, made)
                # A graph reads inputs of its own: they are the place.
                self._placed[shapes] = self._graphs[shapes][1] if self._mode == "graph" else made
        return tuple(
            Place(self.placement.device, x.data_ptr(), tuple(x.shape), tensor.dtype, self._stream.cuda_stream)
            for x, tensor in zip(self._placed[shapes], self.inputs, strict=True)
        )

    def run_placed(self, *shapes: tuple[int, ...]) -> tuple[Array, ...]:
        """See `engines.base.FedOnDevice`. Raises EngineError when the run fails."""
        self.places(*shapes)
        try:
            with torch.inference_mode(), torch.cuda.stream(self._stream):
                begun = perf_counter_ns()
                return self._fetched(shapes, self._compute(shapes, self._placed[shapes]), begun)
        except Exception as e:
            raise self._failure(e, tuple(self._placed[shapes])) from e

    def _stay(self, inputs: Sequence[DeviceArray]) -> tuple[torch.Tensor, ...]:
        # In the order of the caller's current stream; the host does not wait.
        given = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(given)
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            fed = [torch.from_dlpack(x) for x in inputs]
            outputs = self._compute(tuple(tuple(x.shape) for x in fed), fed)
            # What a graph writes, it writes again at the next call.
            own = tuple(x.clone() for x in outputs) if self._mode == "graph" else outputs
        given.wait_stream(self._stream)
        for x in own:
            x.record_stream(given)
        return own

    def _compute(self, shapes: Shapes, inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        if self._mode != "graph":
            return self._outputs_of(self._forward(shapes), inputs)
        if shapes not in self._graphs:
            self._graphs[shapes] = self._capture(shapes, inputs)
        graph, fed, outputs = self._graphs[shapes]
        for buffer, x in zip(fed, inputs, strict=True):
            if buffer is not x:
                buffer.copy_(x, non_blocking=True)
        graph.replay()
        return outputs

    def _capture(self, shapes: Shapes, inputs: list[torch.Tensor]) -> tuple[Any, list[torch.Tensor], Any]:
        module, fed = self._forward(shapes), [x.clone() for x in inputs]
        for _ in range(CAPTURE_RUNS):
            self._outputs_of(module, fed)
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # What other threads do meanwhile, such as taking memory, is no error: only this one is watched.
        with torch_cuda.ALONE, torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            outputs = self._outputs_of(module, fed)
        return graph, fed, outputs

    def _outputs_of(self, module: Any, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return tuple(_wide(x) for x in _tuple(module(*[self._fit(x) for x in inputs])))

    def _kept(self, key: tuple[Shapes, str], like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Page-locked host memory, made once for each shape: copies from other memory would block the host."""
        if key not in self._pinned:
            self._pinned[key] = [torch.empty(x.shape, dtype=x.dtype, pin_memory=True) for x in like]
        return self._pinned[key]

    def _is_out_of_memory(self, error: Exception) -> bool:
        return torch_cuda.is_out_of_memory(error)

    def _free_memory(self) -> str:
        return torch_cuda.free_memory(self.placement.device)

    def _release(self) -> None:
        self._stream.synchronize()
        with torch_cuda.ALONE:
            self._graphs.clear()
            self._pinned.clear()
            self._placed.clear()
            super()._release()
            torch_cuda.give_memory_back()
        if self._is_own_stream:
            torch_cuda.STREAMS.give(self._stream, self._priority)


def _compiled(module: torch.nn.Module) -> Callable[..., Any]:
    """`module`, compiled when it is called first.

    PyTorch counts what it compiles by the code that is called, and runs the ninth shape or network of the same class
    uncompiled with no more than a warning: each one is called by code of its own.
    """

    def call(*inputs: torch.Tensor) -> Any:
        return module(*inputs)

    own = FunctionType(call.__code__.replace(), call.__globals__, call.__name__, None, call.__closure__)
    compiled: Callable[..., Any] = torch.compile(own, dynamic=False)
    return compiled


def _tuple(outputs: Any) -> tuple[torch.Tensor, ...]:
    return tuple(outputs) if isinstance(outputs, tuple | list) else (outputs,)


def _wide(x: torch.Tensor) -> torch.Tensor:
    """Half precision as fp32, which numpy and the nodes know."""
    return x.float() if x.dtype in HALVES else x


def _own(x: torch.Tensor, inputs: Sequence[Array]) -> Array:
    """`x` as an array whose memory is nobody else's."""
    array: Array = np.ascontiguousarray(_wide(x).numpy())
    return array.copy() if any(np.may_share_memory(array, given) for given in inputs) else array


def _writable(array: Array) -> Array:
    """The same memory as an array that may be written: PyTorch warns of others, though it writes into no input."""
    if array.flags.writeable:
        return array
    there = dict(array.__array_interface__)
    there["data"] = (there["data"][0], False)
    return np.asarray(_Interface(there, array))


class _Interface:
    def __init__(self, there: dict[str, Any], owner: Array) -> None:
        self.__array_interface__, self._owner = there, owner


def _closed(shapes: Shapes) -> Any:
    raise RuntimeError("the model is closed")
