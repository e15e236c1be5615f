"""What an engine's model adds to the bare call of its runtime: checks of the inputs, and the tuple of outputs.

python bench/engine_overhead.py
python bench/engine_overhead.py --weights yolo11n.onnx --repeats 100    # also what spinning costs the other threads
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread
from time import perf_counter_ns

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench import report
from engines.base import ModelSpec, Weights
from engines.onnx import Onnx
from engines.probe import TINY_MODEL

LIMIT_NS = 50_000
BLOCKS = 5


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="an fp32 ONNX file whose inputs have fixed sizes")
    parser.add_argument("--repeats", type=int, default=2000, help="calls of the tiny model; a tenth for --weights")
    return parser.parse_args()


@contextmanager
def tiny() -> Iterator[Path]:
    """The file of a model that adds a scalar to itself: as good as no time of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.onnx"
        path.write_bytes(TINY_MODEL)
        yield path


def overhead(path: Path, *, repeats: int) -> float:
    """Time both ways of calling one session; the difference of their medians in nanoseconds."""
    model = Onnx().load(ModelSpec(path.stem, Weights(str(path))))
    fed = [np.zeros(tuple(n or 1 for n in tensor.shape), tensor.dtype) for tensor in model.inputs]
    names, feed = [t.name for t in model.outputs], dict(zip([t.name for t in model.inputs], fed, strict=True))
    session = model._session
    tasks = {"bare": lambda: session.run(names, feed), "model": lambda: model(*fed)}
    samples = report.interleaved(tasks, repeats=repeats, warm_up=20)
    runtime = report.row(f"{path.stem}: session.run", samples["bare"], unit="us")
    ours = report.row(f"{path.stem}: Model", samples["model"], unit="us")
    model.close()
    return ours - runtime


def sharing(path: Path, *, repeats: int) -> None:
    """Time the model alone, and with a thread of preprocessing beside it; blocks with and without spinning in turns."""
    samples: dict[str, list[int]] = {}
    for _ in range(BLOCKS):
        for spin in (False, True):
            model = Onnx(spin=spin).load(ModelSpec(path.stem, Weights(str(path))))
            run = partial(model, *(np.zeros(tuple(n or 1 for n in t.shape), t.dtype) for t in model.inputs))
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
    report.header("engine overhead: Model(...) against bare session.run, taking turns")
    with tiny() as path:
        within = report.limit("added", overhead(path, repeats=given.repeats), at_most=LIMIT_NS, unit="us")
    if given.weights:
        # No limit here: the model's own time varies by more from call to call than what is added.
        overhead(given.weights, repeats=max(given.repeats // 10, 10))
        sharing(given.weights, repeats=max(given.repeats // 10, 10))
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
