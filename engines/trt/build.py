"""Builds an engine from an ONNX file: for the GPU that is there or, by TensorRT for RTX, for one that is not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines import onnx_graph
from engines.base import EngineError, Precision
from engines.onnx_graph import Graph
from engines.trt import check as trt_check
from engines.trt.api import TensorRt
from engines.trt.types import Builder, Config, Parser

logger = logging.getLogger(__name__)

Batch = tuple[int, int, int]
"""Least, usual and largest batch that an engine takes, where the file leaves the batch free."""
Progress = Callable[[str, int, int], None]
"""Called with what TensorRT is at, the step that was done, and the number of steps; from any thread."""


@dataclass(frozen=True, slots=True)
class Built:
    """An engine, and what its making took."""

    data: bytes
    seconds: float
    target: str
    batch: Batch | None
    """None where the file fixes the batch."""


def build(
    api: TensorRt,
    onnx: Path,
    *,
    target: str,
    batch: Batch = (1, 1, 4),
    inputs: Mapping[str, tuple[int | None, ...]] | None = None,
    workspace_mb: int | None = None,
    precision: Precision | None = None,
    on_progress: Progress | None = None,
) -> Built:
    """An engine for `target`: "sm75", ... (TensorRT for RTX), or "current".

    `inputs` are shapes that the node will feed, for those that the file leaves free. `precision` is a wish to the
    builder, on TensorRT 10 only, that changes the file's own; None keeps that. EngineError with what the check finds,
    or with TensorRT's own reason.
    """
    graph = read_graph(onnx)
    shapes = merged(graph, inputs or {})
    # "current" is the GPU that is there: what its kind refuses is known to who named it only.
    found = trt_check.problems(
        graph, target=target, rtx=api.rtx and target != "current", free=shapes, unsupported=api.unsupported
    )
    if found:
        raise EngineError(f"{onnx.name} cannot be built for {target}: {'; '.join(found)}")
    builder = api.builder()
    typed = precision is None or not api.takes_flags
    network = api.network(builder, typed=typed)
    _parse(api, api.parser(network), onnx)
    config = _config(api, builder, target, workspace_mb)
    if not typed and precision is not None:
        api.set_precision(config, precision)
    free = {name: shape for name, shape in shapes.items() if None in graph.inputs[name]}
    _add_profile(api, builder, config, free, batch)
    config.progress_monitor = monitor = _monitor(api.module, on_progress)
    began = time.monotonic()
    with api.failing(f"build {onnx.name} for {target}") as need:
        made = builder.build_serialized_network(network, config)
        data = b"" if monitor.error else bytes(need(made))
    if monitor.error:
        raise monitor.error
    return Built(data, time.monotonic() - began, target, batch if _is_free(free) else None)


def read_graph(onnx: Path) -> Graph:
    """The graph of the file; EngineError where it cannot be read."""
    try:
        return onnx_graph.read(onnx)
    except ValueError as e:
        raise EngineError(f"{onnx} cannot be read as an ONNX model: {e}; export or download it again") from e


def merged(graph: Graph, inputs: Mapping[str, tuple[int | None, ...]]) -> dict[str, tuple[int | None, ...]]:
    """Shapes of all inputs of the file; what it leaves free, but for the batch, is what the node feeds."""
    shapes = {}
    for name, have in graph.inputs.items():
        want = inputs.get(name, inputs.get("", have) if len(graph.inputs) == 1 else have)
        known = zip(have[1:], want[1:], strict=False)
        shapes[name] = (*have[:1], *(h if h is not None else w for h, w in known)) if len(want) == len(have) else have
    return shapes


def _parse(api: TensorRt, parser: Parser, onnx: Path) -> None:
    with api.failing(f"read {onnx.name}") as need:
        # From the path, not from bytes: weights may lie in files beside it.
        if not parser.parse_from_file(str(onnx)):
            errors = [parser.get_error(i) for i in range(parser.num_errors)]
            need(False, "; ".join(f"{e.node_name() or 'the model'}: {e.desc().strip()}" for e in errors))


def _config(api: TensorRt, builder: Builder, target: str, workspace_mb: int | None) -> Config:
    with api.failing("make a configuration") as need:
        config: Config = need(builder.create_builder_config())
    api.set_target(config, target)
    api.forbid_tf32(config)
    if workspace_mb is not None:
        api.limit_workspace(config, workspace_mb)
    return config


def _is_free(shapes: Mapping[str, tuple[int | None, ...]]) -> bool:
    return any(shape and shape[0] is None for shape in shapes.values())


def _add_profile(
    api: TensorRt, builder: Builder, config: Config, free: Mapping[str, tuple[int | None, ...]], batch: Batch
) -> None:
    """The range of shapes, for the inputs that the file leaves free."""
    if not free:
        return
    with api.failing(f"take batches of {batch[0]} to {batch[2]}") as need:
        profile = need(builder.create_optimization_profile())
        for name, shape in free.items():
            least, usual, largest = (tuple(n if size is None else size for size in shape) for n in batch)
            profile.set_shape(name, least, usual, largest)
        need(config.add_optimization_profile(profile) >= 0)


def _monitor(trt: Any, on_progress: Progress | None) -> Any:
    """TensorRT's kind of progress monitor. Any error of `on_progress`, and Ctrl-C, stops the build and is kept."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}
            self.error: BaseException | None = None

        def phase_start(self, name: str, parent: str | None, count: int) -> None:
            self.steps[name] = count

        def step_complete(self, name: str, step: int) -> bool:
            try:
                if on_progress:
                    on_progress(name, step + 1, self.steps.get(name, 0))
            except BaseException as e:
                self.error = e
            return self.error is None

        def phase_finish(self, name: str) -> None:
            self.steps.pop(name, None)

    return Monitor()
