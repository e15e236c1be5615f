"""TensorRT as it is installed: `tensorrt` 10.13 or newer, `tensorrt` 11, or `tensorrt_rtx`, behind one face.

TensorRT says why something failed only in its log, and answers None or False: the log is kept, and every failure here
is an EngineError with it. Knows no ONNX and no CUDA device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal

import numpy as np

from engines.base import EngineError, OutOfMemoryError, Precision
from engines.trt.log import Log, plain
from engines.trt.types import Builder, Config, Context, CudaEngine, Network, Parser, Runtime

Package = Literal["auto", "tensorrt", "tensorrt_rtx"]
NAMES: tuple[Literal["tensorrt", "tensorrt_rtx"], ...] = ("tensorrt", "tensorrt_rtx")
OLDEST = (10, 13)
INSTALL = {
    "tensorrt": 'pip install "tensorrt>=10.13" (its libraries come from NVIDIA\'s own index)',
    "tensorrt_rtx": "pip install tensorrt-rtx-cu13",
}
DTYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}
PRECISION_FLAGS = {"fp16": "FP16", "bf16": "BF16", "int8": "INT8"}
OUT_OF_MEMORY = re.compile(r"out of memory|OutOfMemory|cudaErrorMemoryAllocation|cudaError 2\b", re.IGNORECASE)


class TensorRt:
    """One of the packages, imported. `version` is as it says it, such as "10.16.1.11"."""

    def __init__(self, name: str, module: Any) -> None:
        self.name, self.module, self.log = name, module, Log()
        self.version = str(module.__version__)
        if not self.rtx and _numbers(self.version)[:2] < OLDEST:
            raise EngineError(
                f"tensorrt {self.version} is installed, but 10.13 is the oldest that gives right results for the "
                f"attention of these models in fp16; run: {INSTALL['tensorrt']}"
            )
        self._logger = _logger(module, self.log)

    @property
    def rtx(self) -> bool:
        """Whether this is TensorRT for RTX."""
        return self.name == "tensorrt_rtx"

    @property
    def takes_flags(self) -> bool:
        """Whether precision can be a flag of the builder; else it is that of the ONNX file only."""
        return hasattr(self.module.BuilderFlag, "FP16")

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets that it builds for without having one; empty: only for the GPU that is there."""
        known = getattr(getattr(self.module, "ComputeCapability", None), "__members__", {})
        return tuple(name.lower() for name in known if name.startswith("SM"))

    @contextmanager
    def failing(self, what: str) -> Iterator[Callable[..., Any]]:
        """A block whose failure is that of `what`; its value checks answers.

        None and False fail, with the detail that is given to it, if any.
        """
        with self.log.listen() as messages:

            def need(answer: Any, detail: str = "") -> Any:
                if answer is None or answer is False:
                    raise self._error(what, [detail, *messages] if detail else messages)
                return answer

            try:
                yield need
            except (EngineError, KeyboardInterrupt):
                raise
            except Exception as e:  # the bindings raise many kinds
                raise self._error(what, [*messages, str(e)]) from e

    def _error(self, what: str, messages: list[str]) -> EngineError:
        reason = plain(messages) or "it gives no reason"
        kind = OutOfMemoryError if OUT_OF_MEMORY.search(reason) else EngineError
        return kind(f"{self.name} {self.version} cannot {what}: {reason}")

    def builder(self) -> Builder:
        """A builder; needs no GPU on TensorRT for RTX."""
        with self.failing("make a builder") as need:
            made: Builder = need(self.module.Builder(self._logger))
            return made

    def network(self, builder: Builder, *, typed: bool) -> Network:
        """An empty network; `typed`: types are those of the ONNX file, and the builder changes none."""
        flags = 1 << int(self.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if typed else 0
        with self.failing("make a network") as need:
            made: Network = need(builder.create_network(flags))
            return made

    def parser(self, network: Network) -> Parser:
        """A parser into `network`."""
        with self.failing("make a parser") as need:
            made: Parser = need(self.module.OnnxParser(network, self._logger))
            return made

    def unsupported(self, ops: set[str]) -> list[str]:
        """Those of the standard operators that the parser does not know."""
        builder = self.builder()
        parser = self.parser(self.network(builder, typed=True))
        return sorted(op for op in ops if not parser.supports_operator(op))

    def set_target(self, config: Config, target: str) -> None:
        """Build for `target`: "current", or on TensorRT for RTX one of `targets`."""
        if target == "current" and not self.rtx:
            return
        if target != "current" and target not in self.targets:
            known = ", ".join(self.targets) or "the GPU that is there only: target current"
            raise EngineError(f"{self.name} {self.version} builds for {known}; target is {target!r}")
        config.num_compute_capabilities = 1  # type: ignore[attr-defined]
        with self.failing(f"build for {target}") as need:
            need(config.set_compute_capability(getattr(self.module.ComputeCapability, target.upper()), 0))  # type: ignore[attr-defined]

    def set_precision(self, config: Config, precision: Precision) -> None:
        """Let the builder compute in `precision` where that is faster: only where `takes_flags`."""
        if flag := PRECISION_FLAGS.get(precision):
            config.set_flag(getattr(self.module.BuilderFlag, flag))

    def limit_workspace(self, config: Config, megabytes: int) -> None:
        """Bound the memory between the steps of an engine."""
        config.set_memory_pool_limit(self.module.MemoryPoolType.WORKSPACE, megabytes << 20)

    def forbid_tf32(self, config: Config) -> None:
        """What is called fp32 is computed in fp32, not with factors of ten bits."""
        config.clear_flag(self.module.BuilderFlag.TF32)

    def runtime(self) -> Runtime:
        """A runtime; needs a GPU to be of use."""
        with self.failing("make a runtime") as need:
            made: Runtime = need(self.module.Runtime(self._logger))
            return made

    def engine(self, runtime: Runtime, data: bytes) -> CudaEngine:
        """The engine in `data`."""
        with self.failing("load the engine") as need:
            made: CudaEngine = need(runtime.deserialize_cuda_engine(data))
            return made

    def context(self, engine: CudaEngine, *, scratch: tuple[int, int]) -> Context:
        """A context that works in memory of ours: address and size in bytes, which contexts of one stream share."""
        strategy = self.module.ExecutionContextAllocationStrategy.USER_MANAGED
        with self.failing("make an execution context") as need:
            made: Any = need(engine.create_execution_context(strategy))
            if hasattr(made, "set_device_memory"):
                made.set_device_memory(*scratch)
            else:
                made.device_memory = scratch[0]
            context: Context = made
            return context

    def is_input(self, engine: CudaEngine, name: str) -> bool:
        """Whether a tensor of the engine is fed."""
        return bool(engine.get_tensor_mode(name) == self.module.TensorIOMode.INPUT)

    def dtype(self, engine: CudaEngine, name: str) -> np.dtype[Any]:
        """Element type of an input or output; EngineError for one that numpy does not have."""
        kind = engine.get_tensor_dtype(name)
        kind_name = str(getattr(kind, "name", kind)).rpartition(".")[2]
        if kind_name not in DTYPES:
            raise EngineError(f"{name!r} is {kind_name}, which numpy does not have; export the model with float32 ends")
        return np.dtype(DTYPES[kind_name])


@lru_cache
def open_package(package: Package = "auto") -> TensorRt:
    """The package that is asked for, or the first that works; EngineError with the reason for each that does not.

    Made once in a process: TensorRT keeps the first log that it is given, and ignores all later ones.
    """
    problems = []
    for name in NAMES if package == "auto" else (package,):
        try:
            return _opened(name)
        except EngineError as e:
            problems.append(str(e))
    raise EngineError("; ".join(problems))


@lru_cache
def _opened(name: str) -> TensorRt:
    try:
        module = import_module(name)
    except (ImportError, OSError, RuntimeError) as e:
        raise EngineError(f"the package {name} cannot be used: {e}; run: {INSTALL[name]}") from e
    if not hasattr(module, "Builder"):
        raise EngineError(f"the package {name} is damaged: it has no Builder; run: {INSTALL[name]}")
    return TensorRt(name, module)


def _logger(module: Any, log: Log) -> Any:
    """TensorRT's kind of logger, which passes everything on."""

    class Logger(module.ILogger):
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            log.add(severity.name, message)

    return Logger()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version))


def describe(name: Literal["tensorrt", "tensorrt_rtx"]) -> str:
    """What the package can do, in words, after it has really made a builder; EngineError where it cannot."""
    api = open_package(name)
    api.builder()
    builds = ", ".join(api.targets) if api.targets else "the GPU that is there"
    return f"{api.version} makes a builder; builds for {builds}"
