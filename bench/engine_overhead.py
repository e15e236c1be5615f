"""What an engine's model adds to the bare call of its runtime: checks of the inputs, and the tuple of outputs.

python bench/engine_overhead.py
python bench/engine_overhead.py --weights yolo11n.onnx --repeats 1000    # also what spinning costs the other threads

Every backend that is installed: ONNX Runtime's session.run, OpenVINO's infer with shared inputs, the PyTorch module's
call in inference mode. A large input shows that none of them is copied on its way in.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from time import perf_counter_ns
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench import report
from engines.base import Engine, ModelSpec, Weights
from engines.onnx import Onnx
from engines.openvino import OpenVino
from engines.probe import TINY_MODEL
from engines.torch import Torch

ENGINES: dict[str, tuple[str, Callable[[], Engine]]] = {
    "onnx": ("onnxruntime", Onnx),
    "openvino": ("openvino", OpenVino),
    "torch": ("torch", Torch),
}
LIMIT_NS = 50_000
LARGE = (1, 3, 2896, 2896)
"""100 MB of float32."""
MOST_OF_A_COPY = 0.25
BLOCKS = 5
Feed = Sequence[np.ndarray]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="an fp32 ONNX file whose inputs have fixed sizes")
    parser.add_argument("--repeats", type=int, default=2000, help="calls of the tiny model; a tenth for --weights")
    return parser.parse_args()


@contextmanager
def files() -> Iterator[tuple[Path, Path]]:
    """Files of a model that adds a scalar to itself, and of one that gives one value of a large input: no work."""
    import onnx
    from onnx import helper

    shape = [helper.make_tensor_value_info("x", 1, LARGE), helper.make_tensor_value_info("y", 1, (1, 1, 1, 1))]
    ends = {"starts": [0] * 4, "ends": [1] * 4, "axes": [0, 1, 2, 3]}
    held = [helper.make_tensor(name, 7, [4], values) for name, values in ends.items()]
    graph = helper.make_graph([helper.make_node("Slice", ["x", *ends], ["y"])], "large", shape[:1], shape[1:], held)
    with tempfile.TemporaryDirectory() as folder:
        tiny, large = Path(folder) / "tiny.onnx", Path(folder) / "large.onnx"
        tiny.write_bytes(TINY_MODEL)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), large)
        yield tiny, large


def loaded(name: str, path: Path, **options: Any) -> tuple[Any, Feed]:
    """A model, and what to feed it with; a free batch is 1."""
    model: Any = ENGINES[name][1](**options).load(ModelSpec(path.stem, Weights(str(path))))
    return model, [np.zeros(tuple(n or 1 for n in tensor.shape), tensor.dtype) for tensor in model.inputs]


def bare(name: str, model: Any, fed: Feed) -> Callable[[], Any]:
    """The least that its runtime can be asked for to run the model on the same arrays."""
    if name == "onnx":
        names, feed = [t.name for t in model.outputs], {t.name: x for t, x in zip(model.inputs, fed, strict=True)}
        return lambda: model._session.run(names, feed)
    if name == "openvino":
        return lambda: model._idle[0].infer(dict(enumerate(fed)), share_inputs=True, share_outputs=False)
    import torch

    module, tensors = model._forward(tuple(x.shape for x in fed)), [torch.from_numpy(x) for x in fed]

    def run() -> Any:
        with torch.inference_mode():
            return module(*tensors)

    return run


def added(name: str, path: Path, *, repeats: int) -> bool:
    """Time both ways of calling one model in turns; whether the difference of their medians is within the limit."""
    model, fed = loaded(name, path)
    tasks = {"bare": bare(name, model, fed), "model": lambda: model(*fed)}
    samples = report.interleaved(tasks, repeats=repeats, warm_up=20)
    runtime = report.row(f"{name}, {path.stem}: bare", samples["bare"], unit="us")
    ours = report.row(f"{name}, {path.stem}: Model", samples["model"], unit="us")
    model.close()
    return report.limit(f"{name}, {path.stem}: added", ours - runtime, at_most=LIMIT_NS, unit="us")


class Inner:
    """Something of a runtime, with its calls of one method timed."""

    def __init__(self, inner: Any, method: str = "__call__") -> None:
        self.inner, self.method, self.taken_ns = inner, method, 0
        setattr(self, method, self._timed)

    def _timed(self, *args: Any, **options: Any) -> Any:
        begin = perf_counter_ns()
        result = getattr(self.inner, self.method)(*args, **options)
        self.taken_ns = perf_counter_ns() - begin
        return result

    def __call__(self, *args: Any) -> Any:
        return self._timed(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def added_within(name: str, path: Path, *, repeats: int) -> bool:
    """What is added to the runtime's call within one call of a real model, whose time varies by more between calls."""
    model, fed = loaded(name, path)
    if name == "onnx":
        inner = model._session = Inner(model._session, "run")
    elif name == "openvino":
        inner = model._idle[0] = Inner(model._idle[0], "infer")
    else:
        shapes = tuple(x.shape for x in fed)
        inner = model._modules[shapes] = Inner(model._forward(shapes))
    whole, around = [], []
    for _ in range(repeats):
        begin = perf_counter_ns()
        model(*fed)
        whole.append(perf_counter_ns() - begin)
        around.append(whole[-1] - inner.taken_ns)
    model.close()
    report.row(f"{name}, {path.stem}: Model", whole)
    median = report.row(f"{name}, {path.stem}: of which not the runtime's call", around, unit="us")
    if name == "torch":
        print(
            "    PyTorch's call takes and gives tensors: what it needs itself from and to numpy is in there; no limit"
        )
        return True
    return report.limit(f"{name}, {path.stem}: added", median, at_most=LIMIT_NS, unit="us")


def not_copied(name: str, path: Path) -> bool:
    """Whether a call with a large input takes much less time than a copy of it."""
    model, (x,) = loaded(name, path)
    copy = np.empty_like(x)
    samples = report.interleaved({"copy": lambda: np.copyto(copy, x), "model": lambda: model(x)}, repeats=20)
    copied = report.row(f"np.copyto of {x.nbytes / 1e6:.0f} MB", samples["copy"])
    ours = report.row(f"{name}, the same as an input: Model", samples["model"])
    model.close()
    return report.ratio(f"{name}, input / copy of it", ours / copied, at_most=MOST_OF_A_COPY)


def sharing(path: Path, *, repeats: int) -> None:
    """Time the model alone, and with a thread of preprocessing beside it; blocks with and without spinning in turns."""
    samples: dict[str, list[int]] = {}
    for _ in range(BLOCKS):
        for spin in (False, True):
            model, fed = loaded("onnx", path, spin=spin)
            run = partial(model, *fed)
            alone = report.interleaved({"": run}, repeats=repeats // BLOCKS)[""]
            with neighbour() as steps:
                beside = report.interleaved({"": run}, repeats=repeats // BLOCKS)[""]
            for what, taken in (("alone", alone), ("with a neighbour", beside), ("the neighbour's step", steps)):
                samples.setdefault(f"{path.stem}: spin={spin}, {what}", []).extend(taken)
            model.close()
    for name, taken in sorted(samples.items()):
        report.row(name, taken)


@contextmanager
def neighbour() -> Iterator[list[int]]:
    """A thread that resizes as a preprocessing node would, 30 times a second; the nanoseconds of its steps."""
    import cv2

    steps: list[int] = []
    frame, stop = np.random.default_rng(0).integers(0, 255, (1408, 1408, 3), np.uint8), Event()

    def work() -> None:
        while not stop.wait(1 / 30):
            begin = perf_counter_ns()
            cv2.resize(frame, (640, 640)).astype(np.float32).transpose(2, 0, 1).copy()
            steps.append(perf_counter_ns() - begin)

    thread = Thread(target=work)
    thread.start()
    yield steps
    stop.set()
    thread.join()


def main() -> int:
    given = arguments()
    report.header("engine overhead: Model(...) against the bare call", packages=(*report.PACKAGES, "openvino", "torch"))
    within = True
    with files() as (tiny, large):
        for name, (package, _) in ENGINES.items():
            if find_spec(package) is None:
                print(f"{name}: left out: the package {package} is not installed")
                continue
            within &= added(name, tiny, repeats=given.repeats)
            within &= not_copied(name, large)
            if given.weights:
                within &= added_within(name, given.weights, repeats=max(given.repeats // 10, 10))
    if given.weights:
        sharing(given.weights, repeats=max(given.repeats // 10, 10))
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
