"""The networks that come with this software, ONNX files with trained weights: by PyTorch, and by ONNX Runtime."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from bench.on_gpu import timing
from bench.on_gpu.run import NotRun, Run
from engines.base import ModelSpec, Weights
from engines.torch import Torch

FILES = ("street_yolo12n.onnx", "street_depth.onnx")
BATCH = 1
AT_MOST = {"fp32": 1e-6, "fp16": 1e-3}


def section(run: Run) -> None:
    """Against PyTorch on the CPU in fp32, with the time of a call."""
    if not find_spec("onnx"):
        raise NotRun("no package onnx")
    for file in FILES:
        run.attempt(file, lambda f=file: compare(run, f))


def compare(run: Run, file: str) -> None:
    """All ways to run one file."""
    run.require_time(5)
    spec = ModelSpec(file.removesuffix(".onnx"), Weights(f"shipped:{file}"))
    reference = Torch("cpu", warm_up=1).load(spec)
    shapes = [tuple(n or BATCH for n in t.shape) for t in reference.inputs]
    rng = np.random.default_rng(0)
    given = [rng.random(s, np.float32) for s in shapes]
    wanted = reference(*given)
    reference.close()
    for precision in ("fp32", "fp16") if run.cuda else ("fp32",):  # a CPU takes half a minute for fp16
        for mode in ("eager", "graph") if run.cuda else ("eager",):
            engine = Torch(run.device, precision, mode=mode)
            run.attempt(f"{file} {precision} {mode}", lambda e=engine: _one(run, e, spec, given, wanted))
    run.attempt(f"{file} by ONNX Runtime", lambda: _by_onnx_runtime(run, spec, given, wanted))


def _by_onnx_runtime(run: Run, spec: ModelSpec, given: list[np.ndarray], wanted: tuple[np.ndarray, ...]) -> None:
    if not find_spec("onnxruntime"):
        raise NotRun("no package onnxruntime")
    import onnxruntime

    from engines.onnx import Onnx

    if run.cuda and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise NotRun("the installed onnxruntime is built for the CPU only")
    _one(run, Onnx(run.device), spec, given, wanted)


def _one(run: Run, engine, spec: ModelSpec, given: list[np.ndarray], wanted: tuple[np.ndarray, ...]) -> None:
    model = engine.load(spec)
    try:
        at = model.placement
        name = f"{spec.name} {at.provider} {at.precision}"
        found = max(
            float(np.mean((got.astype(np.float64) - want) ** 2) / max(float(np.var(want)), 1e-30))
            for got, want in zip(model(*given), wanted, strict=True)
        )
        limit = AT_MOST[at.precision]
        run.check(name, found <= limit, error=found, at_most=limit)
        run.row(name, numpy_ms=timing.wall(run, lambda: model(*given), seconds=0.5))
    finally:
        model.close()
