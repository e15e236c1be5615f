"""What only TensorRT for RTX has when it runs: kernels are compiled on the user's GPU, and kept in a runtime cache."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from engines.trt.api import TensorRt
from engines.trt.types import Context, CudaEngine

logger = logging.getLogger(__name__)


class RuntimeCache:
    """The kernels that were compiled for one engine, on the disk beside it."""

    def __init__(self, api: TensorRt, engine: CudaEngine, path: Path, *, cuda_graph: bool) -> None:
        self.path, self._before = path, b""
        trt, made = api.module, engine
        with api.failing("make a runtime configuration") as need:
            self._config: Any = need(made.create_runtime_config())  # type: ignore[attr-defined]
            self._cache: Any = need(self._config.create_runtime_cache())
        self._load()
        strategies = trt.CudaGraphStrategy
        self._config.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE if cuda_graph else strategies.DISABLED
        # Each shape is compiled when it first comes, in the warm-up: not beside the frames that follow.
        kinds = trt.DynamicShapesKernelSpecializationStrategy
        self._config.dynamic_shapes_kernel_specialization_strategy = kinds.EAGER
        self._config.set_runtime_cache(self._cache)
        self._api, self._engine = api, engine

    def context(self) -> Context:
        """A context that uses, and adds to, what is kept."""
        with self._api.failing("make an execution context") as need:
            made: Context = need(self._engine.create_execution_context(self._config))
            return made

    def save(self) -> None:
        """Write what is new; that it cannot be written costs only time at the next start."""
        data = self._cache.serialize()
        if data is None or bytes(data) == self._before:
            return
        self._before = bytes(data)
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            part.write_bytes(self._before)
            os.replace(part, self.path)
        except OSError as e:
            logger.info("%s is not kept: %s", self.path, e)

    def _load(self) -> None:
        if not self.path.is_file():
            return
        data = self.path.read_bytes()
        # It is refused where GPU, driver or version are others: then it is made anew.
        if self._cache.deserialize(data):
            self._before = data
        else:
            logger.info("%s does not fit this GPU, driver or version; it is made anew", self.path)
