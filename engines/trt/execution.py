"""An engine on its device: stream, memory, and one prepared run for each shape that comes.

A run is: copy in, execute, copy out, all put on one stream and waited for once; what was put into its inputs on the
device already is not copied in. The stream is that of the worker, where the worker has one. With `tensorrt` it is
captured as a CUDA graph, and then is a single launch; TensorRT for RTX captures by itself. Each graph has a context of
its own, as it holds the context's shapes; all of them work in the same memory, since they run one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np

from engines.base import Array, EngineError, OutOfMemoryError, Place, Tensor
from engines.cuda import Device
from engines.device.streams import current_stream
from engines.trt import buffers as trt_buffers
from engines.trt.api import TensorRt
from engines.trt.rtx import RuntimeCache
from engines.trt.shapes import common, require_batch, require_memory, shape_range
from engines.trt.types import Context, CudaEngine

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Options:
    """How an engine is to run."""

    cuda_graph: bool = True
    priority: int = 0
    spin: bool = False
    memory_limit_mb: int | None = None


@dataclass(slots=True)
class _Run:
    """What is prepared for one shape of each input."""

    context: Context
    shapes: Shapes
    copies_in: bool = True
    inputs: list[Array] = field(default_factory=list)
    outputs: list[Array] = field(default_factory=list)
    graph: Any = None


class Execution:
    """A loaded engine. Makes everything that it needs, or nothing; `close` gives it back in the right order."""

    def __init__(self, api: TensorRt, device: Device, path: Path, options: Options) -> None:
        self._api, self._device, self._options = api, device, options
        self._runs: dict[tuple[Shapes, bool], _Run] = {}
        self._current: _Run | None = None
        with ExitStack() as stack:
            stack.callback(device.close)
            device.use()
            self._open(path, stack)
            self._stack = stack.pop_all()

    def _open(self, path: Path, stack: ExitStack) -> None:
        api, device = self._api, self._device
        if worker := current_stream(device.number):
            self._stream = worker.handle
        else:
            self._stream = device.open_stream(self._options.priority)
            stack.callback(device.close_stream, self._stream)
        self._done = device.open_event(spin=self._options.spin)
        stack.callback(device.close_event, self._done)
        data = path.read_bytes()
        runtime = api.runtime()
        self._held: list[Any] = [runtime, api.engine(runtime, data)]
        stack.callback(self._drop)
        self._describe(self._engine)
        sizes = [trt_buffers.size_of(shape, dtype) for shape, dtype in self._inputs_at_most().values()]
        require_memory(device, self._engine, len(data) + sum(sizes), limit_mb=self._options.memory_limit_mb)
        self._cache = self._scratch = None
        if api.rtx:
            self._cache = RuntimeCache(
                api, self._engine, path.with_suffix(".cache"), cuda_graph=self._options.cuda_graph
            )
            self._held.append(self._cache)
        elif size := self._engine.device_memory_size_v2:
            self._scratch = device.allocate(size)
            stack.callback(device.free, self._scratch)
        stack.callback(self._forget)
        self._describe_outputs(stack)
        stack.callback(self._forget)  # once more: from here on, graphs go before the memory that they use

    @property
    def _engine(self) -> CudaEngine:
        engine: CudaEngine = self._held[1]
        return engine

    enqueue_ns: int | None = None
    """How long the last call took to put its work on the stream; None before there was one."""

    def __call__(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """Outputs, as arrays of their own, for `inputs` of the right types, in the engine's order."""
        self._device.use()
        run = self._run(tuple(array.shape for array in inputs), copies_in=True)
        for view, array in zip(run.inputs, inputs, strict=True):
            np.copyto(view, array)
        return self._carry_out(run)

    def places(self, shapes: Shapes) -> tuple[Place, ...]:
        """Where inputs of these shapes lie on the device: what is put there on the stream, `run_placed` reads."""
        self._device.use()
        self._run(shapes, copies_in=False)
        device = f"cuda:{self._device.number}"
        return tuple(
            Place(device, self._buffers[tensor.name].address, shape, tensor.dtype, self._stream)
            for tensor, shape in zip(self.inputs, shapes, strict=True)
        )

    def run_placed(self, shapes: Shapes) -> tuple[Array, ...]:
        """Outputs, as arrays of their own, for what lies in the places for these shapes."""
        self._device.use()
        return self._carry_out(self._run(shapes, copies_in=False))

    def _run(self, shapes: Shapes, *, copies_in: bool) -> _Run:
        return self._runs.get((shapes, copies_in)) or self._prepare(shapes, copies_in=copies_in)

    def _carry_out(self, run: _Run) -> tuple[Array, ...]:
        begun = perf_counter_ns()
        if run.graph is not None:
            self._device.launch(run.graph, self._stream)
        else:
            self._select(run)
            self._enqueue(run)
        self.enqueue_ns = perf_counter_ns() - begun
        self._wait()
        return tuple(view.copy() for view in run.outputs)

    def save(self) -> None:
        """Keep what TensorRT for RTX compiled for this GPU."""
        if self._cache:
            self._cache.save()

    def close(self) -> None:
        """Give everything back: graphs, contexts, memory, engine, runtime, stream, device."""
        self._device.use()
        self._stack.close()

    def _describe(self, engine: CudaEngine) -> None:
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        self._dtypes = {name: self._api.dtype(engine, name) for name in names}
        fed = [name for name in names if self._api.is_input(engine, name)]
        given = [name for name in names if name not in fed]
        self._range = {name: shape_range(engine, name) for name in fed}
        self.inputs = tuple(Tensor(name, common(*self._range[name]), self._dtypes[name]) for name in fed)
        self._output_names = given

    def _describe_outputs(self, stack: ExitStack) -> None:
        """Read their shapes back for the least and the largest batch, and make the memory for the largest."""
        context = self._context()
        least, largest = (self._shapes_for(context, at) for at in (0, 1))
        for name, shape in largest.items():
            if any(n < 0 for n in shape):
                raise EngineError(
                    f"the size of output {name!r} depends on what is in the image; export the model without NMS"
                )
        self.outputs = tuple(
            Tensor(name, common(least[name], largest[name]), self._dtypes[name]) for name in self._output_names
        )
        at_most = {name: (shape, self._dtypes[name]) for name, shape in largest.items()}
        self._buffers = trt_buffers.make(self._device, self._inputs_at_most() | at_most, stack)
        self._spare: Context | None = context

    def _shapes_for(self, context: Context, at: int) -> dict[str, tuple[int, ...]]:
        with self._api.failing("take the shapes of its own profile") as need:
            need(context.set_optimization_profile_async(0, self._stream))
            for name, ends in self._range.items():
                need(context.set_input_shape(name, ends[at]))
            return {name: tuple(context.get_tensor_shape(name)) for name in self._output_names}

    def _inputs_at_most(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        return {name: (ends[1], self._dtypes[name]) for name, ends in self._range.items()}

    def _context(self) -> Context:
        if self._cache:
            return self._cache.context()
        return self._api.context(self._engine, scratch=(self._scratch or 0, self._engine.device_memory_size_v2))

    def _prepare(self, shapes: Shapes, *, copies_in: bool) -> _Run:
        """A run for these shapes; the first one, which TensorRT needs before it can be captured, is made here."""
        for tensor, shape in zip(self.inputs, shapes, strict=True):
            require_batch(shape, *self._range[tensor.name])
        capture = self._options.cuda_graph and not self._api.rtx
        context, self._spare = self._spare or self._context(), None
        run = _Run(context, shapes, copies_in)
        if not capture:
            self._spare = context  # one context for all shapes
        self._select(run)
        for tensor, shape in zip(self.inputs, shapes, strict=True):
            run.inputs.append(self._buffers[tensor.name].view(shape))
        for name in self._output_names:
            run.outputs.append(self._buffers[name].view(tuple(context.get_tensor_shape(name))))
        if capture:
            for view in run.inputs:
                view.fill(0)
            self._enqueue(run)
            self._wait()
            run.graph = self._captured(run)
        self._runs[shapes, copies_in] = run
        return run

    def _captured(self, run: _Run) -> Any:
        try:
            return self._device.capture(self._stream, lambda: self._enqueue(run))
        except OutOfMemoryError:
            raise
        except EngineError as e:
            raise EngineError(f"a run cannot be captured as a CUDA graph: {e}; set cuda_graph to false") from e

    def _select(self, run: _Run) -> None:
        """Make the context that of this run: its shapes, and where everything lies."""
        if self._current is run:
            return
        with self._api.failing(f"take inputs of {run.shapes}") as need:
            need(run.context.set_optimization_profile_async(0, self._stream))
            for tensor, shape in zip(self.inputs, run.shapes, strict=True):
                need(run.context.set_input_shape(tensor.name, shape))
            for name, buffer in self._buffers.items():
                need(run.context.set_tensor_address(name, buffer.address))
        self._current = run

    def _enqueue(self, run: _Run) -> None:
        for tensor, view in zip(self.inputs, run.inputs if run.copies_in else (), strict=run.copies_in):
            self._device.upload(self._buffers[tensor.name].address, view, self._stream)
        with self._api.failing("run") as need:
            need(run.context.execute_async_v3(self._stream))
        for name, view in zip(self._output_names, run.outputs, strict=True):
            self._device.download(view, self._buffers[name].address, self._stream)

    def _wait(self) -> None:
        self._device.record(self._done, self._stream)
        self._device.wait(self._done)

    def _forget(self) -> None:
        """Let go of all graphs, and after them of all contexts."""
        self.save()
        for run in self._runs.values():
            if run.graph is not None:
                self._device.close_graph(run.graph)
        self._runs.clear()
        self._current = self._spare = None

    def _drop(self) -> None:
        """Let go of the engine, and after it of the runtime: their destructors run when nobody holds them."""
        self._cache = None
        while self._held:
            self._held.pop()
